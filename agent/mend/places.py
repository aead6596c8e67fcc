"""Where a mend is made: the statement at a line, the loop it stands in, the innermost calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ..source import parse

__all__ = ["in_loop", "innermost", "inserted_before", "skipping", "statement_at", "with_keyword"]


def innermost(calls: Iterable[ast.Call]) -> list[ast.Call]:
    """Those that no other one stands in."""
    found = list(calls)
    return [one for one in found if not any(other is not one and other in ast.walk(one) for other in found)]


def with_keyword(call: ast.Call, name: str, value: bool | str) -> str:
    keywords = [*call.keywords, ast.keyword(name, ast.Constant(value))]
    return ast.unparse(ast.Call(call.func, call.args, keywords))


def statement_at(tree: ast.Module, line: int) -> ast.stmt | None:
    """The innermost simple statement at `line`."""
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)
    found = [n for n in ast.walk(tree) if isinstance(n, simple) and n.lineno <= line <= (n.end_lineno or 0)]
    return found[-1] if found else None


def in_loop(code: str, line: int) -> ast.stmt | None:
    """The innermost simple statement at `line`, if it stands in a loop that `continue` there would go on with."""
    loops = [n for n in ast.walk(parse(code)) if isinstance(n, (ast.For, ast.While))]
    found = [s for loop in loops for s in _statements(loop.body) if s.lineno <= line <= (s.end_lineno or 0)]
    return found[-1] if found else None


def skipping(code: str, statement: ast.stmt, condition: str) -> str:
    """`code` with `continue` under `condition` before `statement`."""
    lines = code.splitlines()
    indent = " " * statement.col_offset
    lines.insert(statement.lineno - 1, f"{indent}if {condition}:\n{indent}    continue")
    return "\n".join(lines) + "\n"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Simple statements of a loop's body that `continue` would leave for the loop's next turn, outermost first."""
    for statement in body:
        if isinstance(statement, (ast.If, ast.With, ast.Try)):
            blocks = (getattr(statement, name, []) for name in ("body", "orelse", "finalbody"))
            yield from (inner for block in blocks for inner in _statements(block))
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)):
            yield statement


def inserted_before(code: str, tree: ast.Module, statement: ast.stmt, line: str, table: str) -> str:
    """`code` with `line` before `statement`, or before the loops around it that do not bind `table` themselves."""
    place = statement
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While) and statement in ast.walk(n)]
    for loop in reversed(loops):
        inside = [node for node in ast.walk(loop) if node is not loop]
        if any(isinstance(n, ast.FunctionDef) and statement in ast.walk(n) for n in inside):
            break
        if any(isinstance(n, ast.Name) and n.id == table and isinstance(n.ctx, ast.Store) for n in inside):
            break
        place = loop
    lines = code.splitlines()
    lines.insert(place.lineno - 1, " " * place.col_offset + line)
    return "\n".join(lines) + "\n"
