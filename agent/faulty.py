"""A function that a task holds with a mistake in it, which is to be mended."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from .source import parse, try_parse

__all__ = ["Faulty", "find_faulty"]

_WRONG = re.compile(
    r"\b(?:bugs?|buggy|fix(?:es|ed)?|debug|broken|faulty|incorrect|mistakes?|wrong|repair|mend"
    r"|does(?:n't| not) work|errors? in)\b|修复|修正|改正|错误|有误|调试",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Faulty:
    """The function as it is, and what it is for."""

    code: str
    """Its source as it stands in the text."""
    fresh: str
    """The task to write it anew: its head, and what else the text says; empty where it says nothing else."""

    def is_same(self, program: str) -> bool:
        """Whether `program` is the function as it is, whatever it imports."""
        return _bare(program) == _bare(self.code)


def find_faulty(text: str, function: str) -> Faulty | None:
    """The whole `function` in a text that says there is something wrong with it; None for any other text."""
    begin = re.search(rf"^(?:async )?def {re.escape(function)}\s*\(", text, re.M)
    if begin is None:
        return None
    code = _source(text[begin.start() :])
    before, after = text[: begin.start()], text[begin.start() + len(code) :]
    node = _function(code)
    if node is None or not _body(node) or not _WRONG.search(before + after):
        return None
    asked = [line for line in before.splitlines() if not _WRONG.search(line)]
    told = "\n".join([*asked, after]).replace("```python", "").replace("```", "").strip()
    head = "\n".join(code.splitlines()[: _body(node)[0].lineno - 1])
    return Faulty(code, f"Write this function:\n\n{head}\n\n{told}" if told else "")


def _source(text: str) -> str:
    """The function that `text` begins with, down to the next line at the margin."""
    lines = text.splitlines(keepends=True)
    margin = (n for n, line in enumerate(lines) if n and line.strip() and line[0] not in " \t)]}")
    return "".join(lines[: next(margin, len(lines))]).rstrip()


def _function(code: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    tree = try_parse(code)
    match tree.body if tree else []:
        case [ast.FunctionDef() | ast.AsyncFunctionDef() as node]:
            return node
        case _:
            return None


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """What it does: its statements without the docstring; empty for one that is still to be written."""
    steps = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return [] if all(isinstance(step, ast.Pass) or _is_dots(step) for step in steps) else steps


def _is_dots(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is ...


def _bare(code: str) -> str:
    """The syntax of a program without its imports and docstrings."""
    tree = parse(code)
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = _body(node) or node.body
    return ast.dump(tree)
