"""Mends what a program prints where only its form is wrong: the place of an answer called by its value."""

from __future__ import annotations

import ast
import re

from ..source import replaced, try_parse
from ..task import Program, Verdict
from .before import mended

__all__ = ["mend_printed"]

_NOT_PRINTED = re.compile(r"(@[\w-]+)\[\.\.\.\] was not printed")


def mend_printed(program: Program, verdict: Verdict) -> Program | None:
    """`program` with `f"@{best}[{best}]"` as `f"@country[{best}]"`, where `@country` is the only place of the answer
    that was not printed; None when there is no such mend."""
    missing = [m[1] for result in verdict.results if (m := _NOT_PRINTED.match(result.detail))]
    tree = try_parse(program.code)
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) and _called(n) is not None] if tree else []
    if len(missing) != 1 or len(texts) != 1:
        return None
    at = _called(texts[0])
    values = [ast.Constant(missing[0][1:]) if number == at else value for number, value in enumerate(texts[0].values)]
    code = replaced(program.code, [(texts[0], ast.unparse(ast.JoinedStr(values)))])
    return mended(program, code, f"printed {missing[0]} by its name")


def _called(text: ast.JoinedStr) -> int | None:
    """Which part of `text` stands between an `@` and a bracket, in the place of a name."""
    for number in range(1, len(text.values) - 1):
        match text.values[number - 1 : number + 2]:
            case [ast.Constant(str(before)), ast.FormattedValue(), ast.Constant(str(after))]:
                if before.endswith("@") and after.startswith("["):
                    return number
            case _:
                pass
    return None
