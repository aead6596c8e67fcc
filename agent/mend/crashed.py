"""Mends a program where it crashed: a demonstration that fails, an item that does not fit, a number with a comma."""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

from sandbox import Execution

from ..source import parse, replaced
from ..task import Program
from .before import mended
from .names import top_names
from .numbers import mend_numbers
from .outdated import mend_chained, mend_outdated
from .places import in_loop, innermost, skipping, statement_at, with_keyword

__all__ = ["mend_crash"]

_NO_ROUND = re.compile(r"'(?:float|int)' object has no attribute 'round'.*", re.S)
_FORMATTED_TEXT = re.compile(r"Unknown format code '[a-zA-Z%]' for object of type 'str'")
_KEY_FOR_VALUE = re.compile(r"'(?:str|int|tuple)' object (?:has no attribute|is not iterable)|string indices must be")
_A_DICT = re.compile(r"\b(\w+) = (?:default)?dict\b")
"""Among the values that are told with an error."""
_MATCHING = ("search", "match", "fullmatch")
_OF_A_MATCH = ("group", "groups", "groupdict", "start", "end", "span")


def mend_crash(program: Program, execution: Execution, function: str | None) -> Program | None:
    """`program` mended where it crashed; None when there is no mend.

    When a function was asked for, the demo goes; a loop over items of which one does not match a pattern, or has no
    value, skips it; texts are read as numbers, or left out of a table's statistics; a plain number is rounded as such,
    and a text printed as it is; a loop that takes the keys of a dict for its values gets those; rows lose the fields
    that a table does not have.
    """
    if execution.ok:
        return mend_chained(program, execution)
    if function is not None:
        return mend_outdated(program, execution) or _without_demo(program, function)
    mends = (
        mend_outdated,
        _skipping_mismatches,
        mend_numbers,
        _rounding_plainly,
        _formatting_as_text,
        _looping_over_values,
        _ignoring_extras,
    )
    return next((mended for mend in mends if (mended := mend(program, execution))), None)


def _without_demo(program: Program, function: str) -> Program | None:
    tree = parse(program.code)
    kept = [node for node in tree.body if not _is_demo(node)]
    if len(kept) == len(tree.body) or function not in top_names(tree):
        return None
    code = ast.unparse(ast.Module(kept, [])) + "\n"
    return mended(program, code, "left out the demonstration, which failed")


def _skipping_mismatches(program: Program, execution: Execution) -> Program | None:
    """`re.search(...).group(1)` on an item that does not match: the loop goes on with the next one."""
    error = execution.error
    if error is None or error.line is None or "'NoneType' object" not in error.message:
        return None
    statement = in_loop(program.code, error.line)
    match = next((m for m in map(_match_used, ast.walk(statement)) if m is not None), None) if statement else None
    if statement is None or match is None:
        return None
    code = skipping(program.code, statement, f"{ast.unparse(match)} is None")
    return mended(program, code, "skipped items that the pattern does not match")


def _rounding_plainly(program: Program, execution: Execution) -> Program | None:
    """`number.round(2)` of a number that is not numpy's: `round(number, 2)`."""
    error = execution.error
    if error is None or error.line is None or not _NO_ROUND.fullmatch(error.message):
        return None
    tree = parse(program.code)
    statement = statement_at(tree, error.line)
    nodes = list(ast.walk(statement)) if statement else []
    calls = innermost(node for node in nodes if _is_rounding(node))
    like = {_of_rounded(call) for call in calls} - {""}
    others = [n for n in ast.walk(tree) if _is_rounding(n) and n not in calls and _of_rounded(n) in like]
    edits = [(call, _rounded(call)) for call in innermost([*calls, *others])] if calls else []
    return mended(program, replaced(program.code, edits), "rounded plain numbers") if edits else None


def _of_rounded(call: ast.Call) -> str:
    """The method whose result is rounded, as `mean` of `x.mean().round(2)`: of one kind all are plain numbers."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Attribute(attr=method), args=[], keywords=[])):
            return method
        case _:
            return ""


def _formatting_as_text(program: Program, execution: Execution) -> Program | None:
    """`f"{name:.2f}"` of a text: the text as it is."""
    error = execution.error
    if error is None or error.line is None or not _FORMATTED_TEXT.fullmatch(error.message):
        return None
    statement = statement_at(parse(program.code), error.line)
    nodes = list(ast.walk(statement)) if statement else []
    values = [node for node in nodes if isinstance(node, ast.FormattedValue) and node.format_spec]
    if len(values) != 1:
        return None
    whole = next(node for node in nodes if isinstance(node, ast.JoinedStr) and values[0] in node.values)
    plain = ast.FormattedValue(values[0].value, values[0].conversion)
    text = ast.JoinedStr([plain if value is values[0] else value for value in whole.values])
    return mended(program, replaced(program.code, [(whole, ast.unparse(text))]), "printed a text as it is")


def _looping_over_values(program: Program, execution: Execution) -> Program | None:
    """`for group in groups: group.append(...)` where `groups` is a dict: `for group in groups.values()`."""
    error = execution.error
    if error is None or error.line is None or not _KEY_FOR_VALUE.search(error.message):
        return None
    tree, dicts = parse(program.code), set(_A_DICT.findall("\n".join(error.notes)))
    loops = [n for n in ast.walk(tree) if isinstance(n, (ast.For, ast.comprehension)) and _takes_keys(n, tree)]
    edits = [(n.iter, f"{n.iter.id}.values()") for n in loops if isinstance(n.iter, ast.Name) and n.iter.id in dicts]
    return mended(program, replaced(program.code, edits), "went through the values of a dict") if edits else None


def _takes_keys(loop: ast.For | ast.comprehension, tree: ast.Module) -> bool:
    """Whether it goes through a variable, and what it takes from there is no key to that."""
    if not isinstance(loop.iter, ast.Name) or not isinstance(loop.target, ast.Name):
        return False
    key = f"{loop.iter.id}[{loop.target.id}]"
    return not any(isinstance(node, ast.Subscript) and ast.unparse(node) == key for node in ast.walk(tree))


def _ignoring_extras(program: Program, execution: Execution) -> Program | None:
    """Rows with more than the `fieldnames` of a `csv.DictWriter`: it leaves out the others."""
    error = execution.error
    if error is None or not error.message.startswith("dict contains fields not in fieldnames"):
        return None
    calls = [node for node in ast.walk(parse(program.code)) if _is_dict_writer(node)]
    edits = [(call, with_keyword(call, "extrasaction", "ignore")) for call in calls]
    return (
        mended(program, replaced(program.code, edits), "left out fields that the table does not have")
        if edits
        else None
    )


def _is_dict_writer(node: ast.AST) -> TypeGuard[ast.Call]:
    """`csv.DictWriter(...)`, which does not say yet what becomes of other fields."""
    match node:
        case ast.Call(func=ast.Attribute(attr="DictWriter") | ast.Name(id="DictWriter"), keywords=keywords):
            return all(keyword.arg != "extrasaction" for keyword in keywords)
        case _:
            return False


def _is_rounding(node: ast.AST) -> TypeGuard[ast.Call]:
    """`number.round(2)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="round"), keywords=[]):
            return True
        case _:
            return False


def _rounded(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return f"round({', '.join(map(ast.unparse, [call.func.value, *call.args]))})"


def _match_used(node: ast.AST) -> ast.expr | None:
    """The match object whose groups `node` takes, if it does."""
    if isinstance(node, ast.Attribute) and node.attr in _OF_A_MATCH:
        return node.value
    match node:
        case ast.Subscript(value=ast.Call(func=ast.Attribute(attr=name)) as call) if name in _MATCHING:
            return call
        case _:
            return None


def _is_demo(node: ast.stmt) -> bool:
    """A call, an assertion or an `if __name__ == "__main__"` at the top level; docstrings and imports stay."""
    if isinstance(node, ast.If):
        return any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
