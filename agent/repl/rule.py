"""What an input is: Python, a task or a command; and where it ends.

The rule, which the prompt shows while one types:
    `:word`         a command
    `> ...`         Python, whatever it looks like
    `? ...`         a task, whatever it looks like
    what parses as Python, or would when it went on, is Python,
    but for words alone (with `and or not in is if else` and commas) of which one is no name that exists: a task
    anything else   a task
"""

from __future__ import annotations

import ast
import builtins
import codeop
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..source import try_parse

__all__ = ["Entry", "Kind", "blocks", "is_block", "is_unfinished", "read_entry", "unforced"]

Kind = Literal["python", "task", "command", "nothing"]
_WORDS = (
    *(ast.Expression, ast.Name, ast.Load, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Tuple, ast.IfExp),
    *(ast.Compare, ast.In, ast.NotIn, ast.Is, ast.IsNot),
)
_GOES_ON = re.compile(r"\s|(?:else|elif|except|finally|case)\b")
"""How a line begins that belongs to the block before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One input: what it is, and its text without the prefix."""

    kind: Kind
    text: str


def read_entry(text: str, names: Collection[str] = ()) -> Entry:
    """What `text` is, in a session that holds `names`."""
    stripped = text.strip()
    match stripped[:1]:
        case "":
            return Entry("nothing", "")
        case ":":
            return Entry("command", stripped[1:].strip())
        case ">":
            return Entry("python", unforced(text).rstrip())
        case "?":
            return Entry("task", stripped[1:].strip())
        case _:
            return Entry("python", text.rstrip()) if _is_python(text, names) else Entry("task", stripped)


def unforced(text: str) -> str:
    """Python without the prefix that may force it."""
    return re.sub(r"\A\s*> ?", "", text)


def is_unfinished(code: str) -> bool:
    """Whether `code` is the beginning of Python: an open bracket or string, a block without a body."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Two new lines end a block that could go on, so what is left open then is really open.
            return codeop.compile_command(code + "\n\n", symbol="exec") is None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False


def is_block(code: str) -> bool:
    """Whether `code` ends in a block, which another line might belong to."""
    tree = try_parse(code)
    return tree is not None and bool(tree.body) and hasattr(tree.body[-1], "body")


def blocks(lines: Iterable[str]) -> Iterator[str]:
    """The inputs in a text without prompts: each a line, or a Python block with the lines that belong to it."""
    held: list[str] = []
    for line in (line.rstrip("\r\n") for line in lines):
        if held and line.strip() and not _GOES_ON.match(line) and not is_unfinished(unforced("\n".join(held))):
            yield "\n".join(held).rstrip()
            held = []
        if held or line.strip():
            held.append(line)
        if held and not _waits("\n".join(held)):  # at once: whoever is at the other end may wait for what comes of it
            yield "\n".join(held).rstrip()
            held = []
    if held:
        yield "\n".join(held).rstrip()


def _waits(text: str) -> bool:
    """Whether the next line may belong to `text`."""
    if text.lstrip()[:1] in (":", "?"):
        return False
    return is_unfinished(unforced(text)) or is_block(unforced(text))


def _is_python(text: str, names: Collection[str]) -> bool:
    tree = try_parse(text)
    if tree is None:
        return is_unfinished(text)
    if len(tree.body) != 1:
        return True
    said = tree.body[0]
    if isinstance(said, ast.AnnAssign) and said.value is None:  # `note: total` is rather a sentence
        return False
    if not isinstance(said, ast.Expr) or not all(isinstance(node, _WORDS) for node in ast.walk(said.value)):
        return True
    words = {node.id for node in ast.walk(said.value) if isinstance(node, ast.Name)}
    return all(word in names or hasattr(builtins, word) for word in words)
