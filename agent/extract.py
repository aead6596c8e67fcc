"""Finds the program in a model's reply, whatever the model put around it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .source import parse, try_parse

__all__ = ["Extract", "extract", "find_error", "parses", "plain_reply"]

_THINK = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(
    r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+.#-]*)[^\n`]*\n(.*?)(?:^[ \t]*(?:```+|~~~+)[ \t]*$|\Z)", re.DOTALL | re.M
)
_TAGS = {"python", "python3", "py", "py3", "python-repl", "pycon", "ipython"}
_FOREIGN = {
    "bash",
    "sh",
    "shell",
    "console",
    "text",
    "txt",
    "output",
    "csv",
    "json",
    "yaml",
    "toml",
    "diff",
    "html",
    "sql",
}
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u200b": "", "\ufeff": ""})
_DROPPED_LINES = 60
"""At most this many lines of prose are dropped at either end of a reply without a fence."""


@dataclass(frozen=True, slots=True)
class Extract:
    """The code found (empty when none parses), and then why not."""

    code: str
    problem: str = ""


def extract(reply: str, function: str | None = None) -> Extract:
    """The program in `reply`. Among several blocks: the one that defines `function`, else the longest that parses,
    or all of them joined when only together they define what they use."""
    text = plain_reply(reply)
    blocks = _blocks(text)
    programs = [code for code in map(_repaired, blocks or [text]) if code]
    if not programs:
        return Extract("", _problem(blocks or [text]))
    return Extract(_best(programs, function))


def plain_reply(reply: str) -> str:
    """`reply` without what the model thought aloud, its lines ended by newlines alone."""
    return _THINK.sub("", reply).replace("\r\n", "\n").replace("\r", "\n")


def parses(code: str) -> bool:
    """Whether `code` is Python with at least one statement."""
    return find_error(code) is None


def _blocks(text: str) -> list[str]:
    """The fenced blocks that may be Python, in their order; an unfinished last one counts."""
    found = [(tag.lower(), body) for tag, body in _FENCE.findall(text) if body.strip()]
    python = [body for tag, body in found if tag in _TAGS]
    return python or [body for tag, body in found if tag not in _FOREIGN]


def _repaired(block: str) -> str | None:
    """The first variant of a block that parses."""
    return next((code.strip("\n") + "\n" for code in _variants(block) if parses(code)), None)


def _variants(block: str) -> Iterator[str]:
    block = _untagged(block.strip("\n"))
    yield block
    for variant in (textwrap.dedent(block), _without_prompts(block), block.expandtabs(4), block.translate(_QUOTES)):
        if variant != block:
            yield variant
    yield from _shortened(textwrap.dedent(block).translate(_QUOTES) if "“" in block else textwrap.dedent(block))


def _untagged(block: str) -> str:
    first, _, rest = block.partition("\n")
    return rest if first.strip().lower() in _TAGS else block


def _without_prompts(block: str) -> str:
    """The input lines of an interpreter session."""
    lines = textwrap.dedent(block).splitlines()
    if not any(line.startswith(">>>") for line in lines):
        return block
    return "\n".join(line[4:] for line in lines if line.startswith((">>>", "...")))


def _shortened(block: str) -> Iterator[str]:
    """`block` with lines of prose (or a statement cut short) dropped, from the end and then also from the beginning."""
    lines = block.splitlines()
    for start in _starts(lines):
        for end in range(len(lines), max(start, len(lines) - _DROPPED_LINES), -1):
            if _is_substantial("\n".join(lines[start:end])):
                yield "\n".join(lines[start:end])


def _starts(lines: list[str]) -> Iterator[int]:
    """The beginning, then each early line that begins like Python."""
    yield 0
    for number, line in enumerate(lines[1:_DROPPED_LINES], 1):
        if re.match(r"(import|from|def|class|for|if|with|try|print|#|@|[A-Za-z_]\w*\s*=|[A-Za-z_]\w*\()", line):
            yield number


def _is_substantial(code: str) -> bool:
    """More than names and texts: prose such as `Sure` parses as Python too."""
    if (tree := try_parse(code)) is None:
        return False
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in tree.body)


def _best(programs: list[str], function: str | None) -> str:
    defining = [p for p in programs if function and _defines(p, function)]
    if len(programs) > 1:
        joined = "\n\n".join(programs)
        if not defining and any(_used(p) & _defined_before(programs, i) - _defined(p) for i, p in enumerate(programs)):
            return joined
    return max(defining or programs, key=len)


def _defines(code: str, function: str) -> bool:
    tree = try_parse(code)
    return tree is not None and any(
        function in _bound(node) for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))
    )


def _defined_before(programs: list[str], index: int) -> set[str]:
    return {name for program in programs[:index] for name in _defined(program)}


def _defined(code: str) -> set[str]:
    """Names of the functions, classes, imports and variables of a program's top level."""
    tree = try_parse(code)
    return set() if tree is None else {name for node in tree.body for name in _bound(node)}


def _bound(node: ast.stmt) -> Iterable[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _used(code: str) -> set[str]:
    tree = try_parse(code)
    return set() if tree is None else {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def _problem(blocks: list[str]) -> str:
    text = max(blocks, key=len)
    if not text.strip():
        return "the reply is empty"
    if "```" not in text and not re.search(r"^\s*(import|from|def|class|for|print)\b", text, re.M):
        return "the reply holds no code"
    return find_error(_untagged(text.strip("\n"))) or "the reply holds no code"


def find_error(code: str) -> str | None:
    """Why `code` is no program, or None when it is one."""
    try:
        tree = parse(code)
    except SyntaxError as error:
        source = (error.text or "").strip()
        where = f" (line {error.lineno}{': ' + source if source else ''})" if error.lineno else ""
        return f"{type(error).__name__}: {error.msg}{where}"
    return None if tree.body else "there is no statement in it"
