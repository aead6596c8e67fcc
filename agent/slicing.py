"""A program without what its result does not depend on: a slice of its top-level statements, as they were written.

What depends on what is read from the syntax (`dataflow`), which errs on the side of keeping too much. A statement is
kept or left out as a whole, with the comments above it. Libraries that find uses of names (beniget, of which `symtable`
is the smaller brother) do not know what a call changes in place, which is most of the work here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .dataflow import ALWAYS, FIGURES, FILES, OUTPUT, Flow, read_flows
from .source import parse, unified

__all__ = ["Piece", "Wanted", "assemble", "bound_names", "slice_pieces", "split"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a program is for."""

    steps: frozenset[int] = frozenset()
    """The steps whose printed output is wanted, counted from 0."""
    files: bool = False
    figures: bool = False
    names: frozenset[str] = frozenset()
    """Names that have to be there in the end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement of the top level, with the comments that belong to it."""

    text: str
    node: ast.stmt
    step: int
    gap: int = 0
    """Blank lines before it."""

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, (ast.Import, ast.ImportFrom))


def split(steps: Sequence[str]) -> list[Piece]:
    """The statements of the programs `steps`, which ran one after the other in one session. Raises `SyntaxError`."""
    return [piece for number, code in enumerate(steps) for piece in _pieces(code, number)]


def slice_pieces(pieces: Sequence[Piece], wanted: Wanted) -> list[Piece]:
    """The pieces that what is wanted may depend on; all of them where that cannot be told."""
    use = ast.Expr(ast.Tuple([ast.Name(name, ast.Load()) for name in sorted(wanted.names)], ast.Load()))
    *flows, used = read_flows([*(piece.node for piece in pieces), use])  # what a function reads is wanted with it
    if any(flow.unclear for flow in flows):
        return list(pieces)
    needed = {*used.reads, *([FILES] if wanted.files else []), *([FIGURES] if wanted.figures else [])}
    kept: list[Piece] = []
    writes = False
    for piece, flow in reversed(list(zip(pieces, flows, strict=True))):
        if _is_needed(piece, flow, needed, wanted.steps) or (piece is pieces[0] and _is_docstring(piece)):
            kept.append(_trimmed(piece, needed))
            needed -= flow.kills
            needed |= flow.reads
            writes |= FILES in flow.changes
    if writes and not wanted.files:  # a file that is read and removed later, say
        return slice_pieces(pieces, replace(wanted, files=True))
    return kept[::-1]


def assemble(pieces: Sequence[Piece]) -> str:
    """The source of a program of these pieces: imports first where that changes nothing, each of them once."""
    first = [p for p in pieces if _is_future(p)]
    imports = _hoisted([p for p in pieces if not _is_future(p)])
    rest = [p for p in pieces if p not in first and p not in imports and not _repeats(p, imports)]
    top = list({ast.unparse(p.node): replace(p, gap=0) for p in (*first, *imports)}.values())
    docstring = rest[:1] if rest and _is_docstring(rest[0]) and rest[0] is pieces[0] else []
    return _joined([*docstring, *top], [] if not docstring else [1]) + _below(rest[len(docstring) :], bool(top))


# --- a program in pieces ---


def _pieces(code: str, step: int) -> Iterator[Piece]:
    source = unified(code)
    lines = source.split("\n")
    body = parse(source).body
    end = 0
    for index, node in enumerate(body):
        after = body[index + 1] if index + 1 < len(body) else None
        start, stop = _first_line(node), node.end_lineno or node.lineno
        alone = start > end and (after is None or _first_line(after) > stop)
        above = lines[end : start - 1] if start > end else []
        gap, comments = _comments(above)
        text = "\n".join(lines[start - 1 : stop]) if alone else ast.get_source_segment(source, node) or ""
        if alone:
            text = text.rstrip().removesuffix(";") if text.rstrip().endswith(";") else text
        yield Piece("\n".join([*comments, text]), node, step, gap)
        end = stop


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _comments(lines: list[str]) -> tuple[int, list[str]]:
    """How many blank lines there are before the comments of a statement, and these comments."""
    blank = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    return blank, [line for line in lines[blank:] if line.strip() not in ("", "\\")]


# --- what is kept ---


def _is_needed(piece: Piece, flow: Flow, needed: set[str], printing: frozenset[int]) -> bool:
    if ALWAYS in flow.changes or _is_future(piece):
        return True
    if OUTPUT in flow.changes and piece.step in printing:
        return True
    return not needed.isdisjoint(flow.binds | flow.changes)


def _trimmed(piece: Piece, needed: set[str]) -> Piece:
    """An import without the names that nobody needs."""
    node = piece.node
    if not isinstance(node, (ast.Import, ast.ImportFrom)) or _is_future(piece) or len(node.names) == 1:
        return piece
    names = [alias for alias in node.names if (alias.asname or alias.name.partition(".")[0]) in needed]
    if len(names) == len(node.names) or not names:
        return piece
    trimmed = ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)
    return replace(piece, node=trimmed, text=ast.unparse(trimmed))


# --- pieces as a program ---


def _is_future(piece: Piece) -> bool:
    return isinstance(piece.node, ast.ImportFrom) and piece.node.module == "__future__"


def _is_docstring(piece: Piece) -> bool:
    match piece.node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _hoisted(pieces: Sequence[Piece]) -> list[Piece]:
    """The imports that can stand first: nothing else binds their names, and nothing has to happen before them."""
    binders: dict[str, set[str]] = {}
    for piece in pieces:
        for name in bound_names(piece.node):
            binders.setdefault(name, set()).add(ast.unparse(piece.node) if piece.is_import else "")
    found: list[Piece] = []
    for piece in pieces:
        if piece.is_import and all(len(binders[name]) == 1 for name in bound_names(piece.node)):
            found.append(piece)
        elif _prepares_imports(piece.node):
            break
    return found


def _repeats(piece: Piece, imports: Sequence[Piece]) -> bool:
    return piece.is_import and ast.unparse(piece.node) in {ast.unparse(p.node) for p in imports}


def _prepares_imports(node: ast.stmt) -> bool:
    """Whether imports after it may depend on it: `sys.path.insert`, `os.environ[...] =`, `matplotlib.use`."""
    return bool(re.search(r"\bsys\.path\b|\benviron\b|\.use\(|\bchdir\(|\bputenv\(", ast.unparse(node)))


def bound_names(node: ast.stmt) -> set[str]:
    """Every name that is bound somewhere in a statement."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in inner.names}
        elif isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            found.add(inner.id)
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(inner.name)
    return found


def _joined(pieces: Sequence[Piece], gaps: Iterable[int] = ()) -> str:
    text = ""
    for piece, gap in zip(pieces, [0, *gaps, *[piece.gap for piece in pieces[1:]]], strict=False):
        text += "\n" * gap + piece.text + "\n"
    return text


def _below(pieces: Sequence[Piece], after: bool) -> str:
    """The pieces below the imports. Between steps there is a blank line, around functions there are two."""
    text = ""
    before: Piece | None = None
    for piece in pieces:
        gap = min(piece.gap, 2)
        if before is None:
            gap = 1 if after else 0
        elif before.step != piece.step:
            gap = max(gap, 1)
        if any(isinstance(p.node, _DEFINITIONS) for p in (piece, before) if p is not None) and (text or after):
            gap = 2
        text += "\n" * gap + piece.text + "\n"
        before = piece
    return text


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
