"""Back to the statement that failed.

A small model that is shown its program as a whole copies it. Begun for it up to the statement that failed, with the
error as a comment, it writes the rest anew, and only the rest costs tokens.
"""

from __future__ import annotations

import ast
import re

from sandbox import Execution

from .hints import helpers
from .source import parse
from .task import Program

__all__ = ["rewound", "without_comments"]

_FAILED, _WHY, _INSTEAD = "# FAILED:", "# BECAUSE:", "# INSTEAD:"
_CHARS = 200
_FRAME = re.compile(r'File "<program>", line (\d+)')
_COMMENT = re.compile(rf"^[ \t]*(?:{_FAILED}|{_WHY}|{_INSTEAD}).*\n?", re.MULTILINE)


def rewound(program: Program, execution: Execution) -> str:
    """`program` up to the statement that failed, which follows as a comment with the error. Empty when it is not
    known which one that was, or when it is the first."""
    error = execution.error
    if error is None or error.line is None:
        return ""
    start = _statement_at(program.code, _own_line(program.code, error.line, error.traceback))
    lines = program.code.splitlines()
    if start is None or lines[start.lineno - 1][: start.col_offset].strip() or start.lineno < 2:
        return ""
    indent = " " * start.col_offset
    failed = " ".join((ast.get_source_segment(program.code, start) or "").split())
    why = " ".join([f"{error.type}: {error.message}", *error.notes[:2]])
    comments = [f"{_FAILED} {failed[:_CHARS]}", f"{_WHY} {' '.join(why.split())[:_CHARS]}", _INSTEAD]
    return "\n".join([*lines[: start.lineno - 1], *(indent + comment for comment in comments)]) + "\n"


def without_comments(code: str) -> str:
    """`code` without the comments that `rewound` put there."""
    return _COMMENT.sub("", code)


def _own_line(code: str, line: int, traceback: str) -> int:
    """The line that failed, or the one that called the helper which failed: that is not the model's to change."""
    helped = [n for n in parse(code).body if isinstance(n, ast.FunctionDef) and n.name in helpers()]
    lines = [line, *map(int, reversed(_FRAME.findall(traceback)))]
    return next((one for one in lines if not any(_covers(node, one) for node in helped)), line)


def _statement_at(code: str, line: int) -> ast.stmt | None:
    """The innermost statement at `line`; of a loop or the like its head."""
    found = [n for n in ast.walk(parse(code)) if isinstance(n, ast.stmt) and _covers(n, line)]
    return max(found, key=lambda n: (n.lineno, n.col_offset), default=None)


def _covers(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)
