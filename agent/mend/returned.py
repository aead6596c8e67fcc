"""Mends what a function returns where only its form is wrong: a list instead of a tuple, more digits than asked for."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..source import parse, replaced, try_parse
from ..task import CheckResult, Program, Verdict
from .before import mended

__all__ = ["mend_returned"]

_SEPARATORS = ("", " ", ", ", ",", "\n")
_ROUNDED_PI = ("3.14", "3.1415", "3.1416", "3.14159", "3.141592")
"""As the examples of schoolbooks have it."""
_Pair = tuple[Any, Any]
"""What a call returned, and what it should have returned."""


def mend_returned(program: Program, verdict: Verdict, function: str | None) -> Program | None:
    """`program` with the results of `function` converted, where that is all that examples in `verdict` want: another
    kind of sequence, joined or split text, a number or its text, rounding, a rounded pi. None when there is no such
    mend. Whether the examples hold then, and none is lost, shows when it is run."""
    pairs = _pairs(verdict, function)
    tree = try_parse(program.code)
    if not pairs or tree is None or function is None:
        return None
    if conversion := next((c for c in _conversions(*pairs[0]) if all(_gives(c, *pair) for pair in pairs)), ""):
        returns = _returns(tree, function)
        edits = [(value, conversion.format(ast.unparse(value))) for value in returns]
        what = f"{function} returns {conversion.format('...')}"
        return mended(program, replaced(program.code, edits), what) if edits else None
    pi = next((p for p in _ROUNDED_PI if all(_is_by(p, *pair) for pair in pairs)), "")
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and ast.unparse(node) in ("math.pi", "pi")]
    return mended(program, replaced(program.code, [(n, pi) for n in uses]), f"took {pi} as pi") if pi and uses else None


def _pairs(verdict: Verdict, function: str | None) -> list[_Pair]:
    """What the function returned and should have returned, of the examples that fail; none if one failed otherwise."""
    failed = [result for result in verdict.results if not result.passed]
    pairs = [pair for result in failed if (pair := _pair(result, function)) is not None]
    return pairs if len(pairs) == len(failed) else []


def _pair(result: CheckResult, function: str | None) -> _Pair | None:
    match parse(result.check.text.strip()).body if result.check.kind == "expression" else []:
        case [ast.Expr(ast.Compare(ast.Call(ast.Name(name)) as call, [ast.Eq()], [right]))] if name == function:
            begins, ends = f"{ast.unparse(call)}: got ", ", want "
        case _:
            return None
    said = result.detail
    try:
        want = ast.literal_eval(right)
        got = said.removeprefix(begins).removesuffix(f"{ends}{want!r}")
        return (ast.literal_eval(got), want) if said == f"{begins}{got}{ends}{want!r}" else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _conversions(got: Any, want: Any) -> Iterator[str]:
    """What may make `want` of `got`, as templates."""
    kind = type(want).__name__
    if isinstance(got, set) and isinstance(want, list):
        yield "sorted({})"
    if isinstance(got, list | tuple | set | frozenset) and isinstance(want, list | tuple | set):
        yield f"{kind}({{}})"
    if isinstance(got, list | tuple) and isinstance(want, str):
        yield from (f"{separator!r}.join(map(str, {{}}))" for separator in _SEPARATORS)
    if isinstance(got, str) and isinstance(want, list):
        yield from ("list({})", "{}.split()", "{}.splitlines()")
    if _is_number(got) and isinstance(want, str):
        yield "str({})"
    if isinstance(got, str) and _is_number(want):
        yield f"{kind}({{}})"
    if isinstance(got, float) and isinstance(want, float):
        yield f"round({{}}, {len(repr(want).partition('.')[2])})"


def _gives(conversion: str, got: Any, want: Any) -> bool:
    """Whether `conversion` makes `want` of `got`. `got` is a literal, so nothing of the program is run."""
    try:
        made = eval(conversion.format(f"({got!r})"), {})  # noqa: S307
    except (ValueError, TypeError, SyntaxError):
        return False
    return type(made) is type(want) and made == want


def _is_by(pi: str, got: Any, want: Any) -> bool:
    """Whether `want` is `got` with that for pi."""
    if not isinstance(got, float) or not _is_number(want):
        return False
    return got != want and math.isclose(got / math.pi * float(pi), want, rel_tol=1e-12)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _returns(tree: ast.Module, function: str) -> Sequence[ast.expr]:
    """What `function` returns, apart from None; nothing for a generator."""
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    own = list(_own(defined[-1].body)) if defined else []
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own):
        return []
    values = [node.value for node in own if isinstance(node, ast.Return) and node.value is not None]
    return [value for value in values if not (isinstance(value, ast.Constant) and value.value is None)]


def _own(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of a function's body that belong to no function within it."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _own(list(ast.iter_child_nodes(node)))
