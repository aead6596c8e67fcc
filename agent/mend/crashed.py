"""Mends a program where it crashed: a demonstration that fails, an item that does not fit, a number with a comma."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from sandbox import Execution

from ..source import parse, replaced
from ..task import Program
from .before import mended
from .names import top_names

__all__ = ["mend_crash"]

_NOT_A_NUMBER = re.compile(r"(?:could not convert string to float|invalid literal for int\(\) with base 10): '(.*)'")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TEXT_AMONG_NUMBERS = re.compile(
    r"could not convert|cannot perform reduction|does not support|agg function failed|unsupported operand",
    re.IGNORECASE,
)
_STATISTICS = frozenset(("corr", "cov", "mean", "median", "std", "var", "sem", "skew", "kurt", "kurtosis", "quantile"))
"""What is taken of each column of a table."""
_NO_ROUND = re.compile(r"'(?:float|int)' object has no attribute 'round'.*", re.S)
_KEY_FOR_VALUE = re.compile(r"'(?:str|int|tuple)' object (?:has no attribute|is not iterable)|string indices must be")
_A_DICT = re.compile(r"\b(\w+) = (?:default)?dict\b")
"""Among the values that are told with an error."""
_MATCHING = ("search", "match", "fullmatch")
_OF_A_MATCH = ("group", "groups", "groupdict", "start", "end", "span")


def mend_crash(program: Program, execution: Execution, function: str | None) -> Program | None:
    """`program` mended where it crashed; None when there is no mend.

    When a function was asked for, the demo goes; a loop over items of which one does not match a pattern,
    or has no value, skips it; numbers lose their commas; statistics of a table leave out its texts; a plain number is
    rounded as such; a loop that takes the keys of a dict for its values gets those; rows lose the fields that a table
    does not have.
    """
    if execution.ok:
        return None
    if function is not None:
        return _without_demo(program, function)
    mends = (
        _skipping_mismatches,
        _cleaning_numbers,
        _leaving_out_texts,
        _rounding_plainly,
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
    statement = _in_loop(program.code, error.line)
    match = next((m for m in map(_match_used, ast.walk(statement)) if m is not None), None) if statement else None
    if statement is None or match is None:
        return None
    code = _skipping(program.code, statement, f"{ast.unparse(match)} is None")
    return mended(program, code, "skipped items that the pattern does not match")


def _cleaning_numbers(program: Program, execution: Execution) -> Program | None:
    """`float("3,686.67")`: the commas go; `float("")` in a loop: the item has no value and is skipped."""
    error = execution.error
    if error is None or error.line is None or error.type != "ValueError":
        return None
    value = _NOT_A_NUMBER.search(error.message)
    statement = _at_line(parse(program.code), error.line)
    calls = _innermost(n for n in ast.walk(statement) if _is_conversion(n)) if statement and value else []
    if statement is None or value is None or not calls:
        return None
    if _THOUSANDS.fullmatch(value[1].strip()):
        edits = [(call.args[0], f"str({ast.unparse(call.args[0])}).replace(',', '')") for call in calls]
        return mended(program, replaced(program.code, edits), "took the commas out of numbers")
    looped = _in_loop(program.code, error.line)
    if value[1].strip() or looped is None or looped.lineno != statement.lineno:
        return None
    blank = " or ".join(f"not str({ast.unparse(call.args[0])}).strip()" for call in calls)
    return mended(program, _skipping(program.code, looped, blank), "skipped items without a value")


def _leaving_out_texts(program: Program, execution: Execution) -> Program | None:
    """`table.corr()` of a table that holds texts as well: `table.corr(numeric_only=True)`."""
    error = execution.error
    if error is None or error.line is None or not _TEXT_AMONG_NUMBERS.search(error.message):
        return None
    statement = _at_line(parse(program.code), error.line)
    calls = _innermost(n for n in ast.walk(statement) if _is_statistic(n)) if statement else []
    edits = [(call, _with_keyword(call, "numeric_only", True)) for call in calls]
    return mended(program, replaced(program.code, edits), "left texts out of statistics") if edits else None


def _rounding_plainly(program: Program, execution: Execution) -> Program | None:
    """`number.round(2)` of a number that is not numpy's: `round(number, 2)`."""
    error = execution.error
    if error is None or error.line is None or not _NO_ROUND.fullmatch(error.message):
        return None
    statement = _at_line(parse(program.code), error.line)
    calls = _innermost(n for n in ast.walk(statement) if _is_rounding(n)) if statement else []
    edits = [(call, _rounded(call)) for call in calls]
    return mended(program, replaced(program.code, edits), "rounded plain numbers") if edits else None


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
    edits = [(call, _with_keyword(call, "extrasaction", "ignore")) for call in calls]
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


def _innermost(calls: Iterable[ast.Call]) -> list[ast.Call]:
    """Those that no other one stands in."""
    found = list(calls)
    return [one for one in found if not any(other is not one and other in ast.walk(one) for other in found)]


def _is_statistic(node: ast.AST) -> TypeGuard[ast.Call]:
    """`table.mean()`, which does not say yet that it is about numbers only."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=keywords) if name in _STATISTICS:
            return all(keyword.arg != "numeric_only" for keyword in keywords)
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


def _with_keyword(call: ast.Call, name: str, value: bool | str) -> str:
    keywords = [*call.keywords, ast.keyword(name, ast.Constant(value))]
    return ast.unparse(ast.Call(call.func, call.args, keywords))


def _is_conversion(node: ast.AST) -> TypeGuard[ast.Call]:
    """`float(x)` or `int(x)`."""
    match node:
        case ast.Call(func=ast.Name(id="float" | "int"), args=[_], keywords=[]):
            return True
        case _:
            return False


def _at_line(tree: ast.Module, line: int) -> ast.stmt | None:
    """The innermost simple statement at `line`."""
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)
    found = [n for n in ast.walk(tree) if isinstance(n, simple) and n.lineno <= line <= (n.end_lineno or 0)]
    return found[-1] if found else None


def _in_loop(code: str, line: int) -> ast.stmt | None:
    """The innermost simple statement at `line`, if it stands in a loop that `continue` there would go on with."""
    loops = [n for n in ast.walk(parse(code)) if isinstance(n, (ast.For, ast.While))]
    found = [s for loop in loops for s in _statements(loop.body) if s.lineno <= line <= (s.end_lineno or 0)]
    return found[-1] if found else None


def _skipping(code: str, statement: ast.stmt, condition: str) -> str:
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
