"""Programs as text: parsed quietly, compared, and with parts replaced."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

__all__ = ["parse", "replaced", "try_parse", "unified"]


def parse(code: str) -> ast.Module:
    """`ast.parse` without the warnings, which are the program's business. Raises `SyntaxError`, also for what is too
    deep or holds a NUL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SyntaxError):
                raise
            raise SyntaxError(str(error)) from None


def try_parse(code: str) -> ast.Module | None:
    """What `parse` gives, None for code that is none."""
    try:
        return parse(code)
    except SyntaxError:
        return None


def replaced(code: str, edits: Sequence[tuple[ast.expr | ast.stmt, str]]) -> str:
    """`code` with these nodes of its syntax tree, none within another, replaced by texts."""
    lines = [line.encode() for line in unified(code).split("\n")]  # columns count bytes
    for node, text in sorted(edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        changed = lines[first][: node.col_offset] + text.encode() + lines[last][node.end_col_offset :]
        lines[first : last + 1] = [changed]
    return "\n".join(line.decode() for line in lines)


def unified(code: str) -> str:
    """With line ends as the parser counts them."""
    return code.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
