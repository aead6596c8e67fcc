"""A script as a file: its inline metadata (PEP 723), and its input files as command-line arguments.

    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["pandas==2.3.3"]
    #
    # [tool.sandsmith]
    # task = "What is the total?"
    # arguments = { sales = "sales.csv" }
    # ///

What is below `tool.sandsmith` is ours: what was asked for, the checks that held, and what came of it.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, get_args

from .errors import ConfigError
from .slicing import Piece, assemble, split
from .source import parse, replaced
from .task import Author, Check, Kind

__all__ = ["About", "body_of", "command_line", "given_files", "with_about", "with_arguments", "with_files"]

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""As PEP 723 has it."""
_OTHER_INTERFACES = re.compile(r"\b(?:argparse|argv|click|typer|optparse|getopt|fire|docopt)\b")
_POSITIONAL = 3
"""Arguments that go by their place; with more of them each has a name."""


@dataclass(frozen=True, slots=True)
class About:
    """What the metadata of a script say."""

    requires_python: str = ""
    dependencies: tuple[str, ...] = ()
    task: str = ""
    """What was asked for, where the script came from a task."""
    checks: tuple[Check, ...] = ()
    """What held when the script was saved, and has to hold of a repaired one."""
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    """The arguments that stand for input files, with the names of these."""

    @classmethod
    def read(cls, code: str) -> About:
        """The metadata in `code`; empty ones when there are none. Raises `ConfigError` for what cannot be read."""
        blocks = [m["content"] for m in _BLOCK.finditer(code) if m["type"] == "script"]
        if len(blocks) > 1:
            raise ConfigError("the script has more than one block of metadata", hint="see PEP 723")
        try:
            return cls._from(tomllib.loads(_uncommented(blocks[0]))) if blocks else cls()
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"the metadata of the script cannot be read: {error}", hint="see PEP 723") from None

    @classmethod
    def _from(cls, data: Mapping[str, Any]) -> About:
        ours: Mapping[str, Any] = data.get("tool", {}).get("sandsmith", {})
        return cls(
            requires_python=_text(data.get("requires-python", "")),
            dependencies=tuple(map(_text, data.get("dependencies", ()))),
            task=_text(ours.get("task", "")),
            checks=tuple(_check(item) for item in ours.get("checks", ())),
            arguments={name: _text(file) for name, file in ours.get("arguments", {}).items()},
        )

    def block(self) -> str:
        """The metadata as comments."""
        lines = [
            f"requires-python = {_quoted(self.requires_python)}",
            f"dependencies = {_quoted_list(self.dependencies)}",
        ]
        if self.task or self.checks or self.arguments:
            lines += ["", "[tool.sandsmith]"]
        if self.task:
            lines.append(f"task = {_quoted(self.task)}")
        if self.arguments:
            pairs = ", ".join(f"{name} = {_quoted(file)}" for name, file in self.arguments.items())
            lines.append(f"arguments = {{ {pairs} }}")
        for check in self.checks:
            lines += ["", "[[tool.sandsmith.checks]]"]
            lines += [f"{key} = {_quoted(getattr(check, key))}" for key in ("kind", "text", "author")]
        return "".join(f"# {line}".rstrip() + "\n" for line in ["/// script", *lines, "///"])


def with_about(code: str, about: About) -> str:
    """`code` below its metadata."""
    return f"{about.block()}\n{code}"


def body_of(code: str) -> str:
    """`code` without the block that `with_about` puts above it."""
    match = next((m for m in _BLOCK.finditer(code) if m["type"] == "script"), None)
    return code if match is None else code[: match.start()] + code[match.end() :].lstrip("\n")


def with_arguments(
    code: str, files: Iterable[str], purpose: str, known: Mapping[str, tuple[str, str]]
) -> tuple[str, dict[str, str]]:
    """`code` with its input `files`, where it names them literally, as arguments that default to these names.

    `known`: files that have an argument already, by its name and its default. Returns the names of the arguments with
    the files, none for a program that has an interface of its own, or names no file.
    """
    there = set(files)
    found = [node for node in _file_names(parse(code)) if _normal(node.value) in there]
    if not found or _OTHER_INTERFACES.search(code):
        return code, {}
    literals = sorted(dict.fromkeys(str(node.value) for node in found), key=_order(known))
    names = _argument_names(literals, known)
    holder, parser = _free("args", code), _free("parser", code)
    changed = replaced(code, [(node, f"{holder}.{names[str(node.value)]}") for node in found])
    pieces = split([changed])
    head = next((i for i, p in enumerate(pieces) if not (p.is_import or (i == 0 and _is_text(p.node)))), len(pieces))
    defaults = {names[text]: known.get(text, ("", text))[1] for text in literals}
    own = split(["import argparse\n" + _parser(parser, holder, defaults, purpose)])
    start = 1 if head and _is_text(pieces[0].node) else 0
    program = assemble([*pieces[:start], own[0], *pieces[start:head], *own[1:], *pieces[head:]])
    return program, {names[text]: text for text in literals}


def command_line(arguments: Mapping[str, str]) -> tuple[str, ...]:
    """The command line that gives these files to these arguments."""
    if len(arguments) <= _POSITIONAL:
        return tuple(arguments.values())
    return tuple(f"--{name.replace('_', '-')}={file}" for name, file in arguments.items())


def given_files(defaults: Mapping[str, str], line: Sequence[str]) -> dict[str, str]:
    """The files that a command line gives to these arguments; the default where it gives none."""
    if len(defaults) <= _POSITIONAL:
        given = zip(defaults, (text for text in line if not text.startswith("--")), strict=False)
        return {**defaults, **dict(given)}
    files = dict(defaults)
    for text, after in zip(line, [*line[1:], ""], strict=True):
        option, equals, value = text.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and name in files:
            files[name] = value if equals else after
    return files


def with_files(code: str, arguments: Mapping[str, str]) -> str:
    """`code` as it was before `with_arguments`, with these files: arguments and the names of files."""
    pieces = split([code])
    parser = next((p for p in pieces if ".ArgumentParser(" in p.text and isinstance(p.node, ast.Assign)), None)
    holder = next((p for p in pieces if p.text.rstrip().endswith(".parse_args()")), None)
    if parser is None or holder is None or not arguments:
        return code
    name, own = _target(holder), {_target(parser), _target(holder)}
    kept = [p for p in pieces if not _is_of_parser(p.node, own) and p.text.strip() != "import argparse"]
    rest = assemble(kept)
    attributes = [n for n in ast.walk(parse(rest)) if isinstance(n, ast.Attribute) and _is_argument(n, name)]
    return replaced(rest, [(n, _quoted(arguments[n.attr])) for n in attributes if n.attr in arguments])


# --- metadata ---


def _uncommented(content: str) -> str:
    return "".join(line[2:] if line.startswith("# ") else line[1:] for line in content.splitlines(keepends=True))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _check(data: Mapping[str, Any]) -> Check:
    kind, author = data["kind"], data["author"]
    if kind not in get_args(Kind) or author not in get_args(Author):
        raise ValueError("an unknown check")
    return Check(kind, _text(data["text"]), author)


def _quoted(text: str) -> str:
    """A string for TOML and for Python: as JSON has it, but what would not show is written out."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)


def _quoted_list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


# --- arguments ---


def _file_names(tree: ast.Module) -> Iterator[ast.Constant]:
    """The texts that may be replaced by any other expression, and that are handed on rather than compared or shown."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                continue
            case ast.Call():
                values = [*node.args, *(keyword.value for keyword in node.keywords)]
            case ast.Assign(value=value) | ast.NamedExpr(value=value) | ast.AnnAssign(value=ast.expr() as value):
                values = [value]
            case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values) | ast.Dict(values=values):
                pass
            case ast.arguments():
                values = [*node.defaults, *(d for d in node.kw_defaults if d is not None)]
            case _:
                continue
        yield from (v for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str))


def _normal(name: Any) -> str:
    return str(PurePosixPath(str(name)))


def _order(known: Mapping[str, tuple[str, str]]) -> Callable[[str], int]:
    """The place of a file: those with an argument keep their order, the others follow."""
    places = {file: number for number, file in enumerate(known)}
    return lambda file: places.get(file, len(places))


def _argument_names(files: Sequence[str], known: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """A name for each file: the one it has, or its own without the ending, made fit and unique."""
    names = {file: known[file][0] for file in files if file in known}
    for file in (f for f in files if f not in known):
        stem = re.sub(r"\W+", "_", PurePosixPath(file).stem, flags=re.ASCII).strip("_").lower()
        plain = stem if stem and not stem[0].isdigit() and not keyword.iskeyword(stem) else f"file_{stem}".rstrip("_")
        names[file] = next(n for n in _numbered(plain) if n not in names.values())
    return names


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in range(2, 1000):
        yield f"{name}_{number}"


def _free(name: str, code: str) -> str:
    return next(n for n in _numbered(name) if not re.search(rf"\b{n}\b", code))


def _parser(parser: str, holder: str, arguments: Mapping[str, str], purpose: str) -> str:
    """The statements that read the command line. In a description only `%(prog)` would be taken for something else."""
    described = " ".join(purpose.split()).replace("%(", "% (")
    lines = [f"{parser} = argparse.ArgumentParser(description={_quoted(described)})"]
    for name, file in arguments.items():
        where = f'"{name}", nargs="?"' if len(arguments) <= _POSITIONAL else f'"--{name.replace("_", "-")}"'
        shown = f'metavar="FILE", default={_quoted(file)}, help="input file (default: %(default)s)"'
        lines.append(f"{parser}.add_argument({where}, {shown})")
    return "\n".join([*lines, f"{holder} = {parser}.parse_args()"])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _target(piece: Piece) -> str:
    node = piece.node
    return node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""


def _is_of_parser(node: ast.stmt, own: set[str]) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in own
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in own
        case _:
            return False


def _is_argument(node: ast.Attribute, holder: str) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == holder
