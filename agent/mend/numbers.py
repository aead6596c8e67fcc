"""Mends a program that takes texts for numbers: `1,234`, `$5.20`, `45%`, `6512 [4900-8300]`, and items without a value.

The error tells what the texts look like. A column of which nothing is known yet is taken for plain numbers first; if
that fails, its error tells.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TypeGuard

from sandbox import Execution

from ..hints import helpers
from ..source import parse, replaced
from ..task import Program
from .before import mended, with_head
from .names import top_names
from .places import in_loop, innermost, skipping, statement_at, with_keyword

__all__ = ["mend_numbers"]

_NOT_A_NUMBER = re.compile(
    r"(?:could not convert string to float: |invalid literal for int\(\) with base 10: |Unable to parse string )"
    r"'(.*?)'(?: at position \d+)?|Could not convert '(.*)' to numeric",
    re.DOTALL,
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_BEGINS_WITH_ONE = re.compile(r"\W{0,3}?-?\d[\d,]*(?:\.\d+)?(?![\d.]*[-/:]\d)")
"""No date, time or version."""
_TEXT_AMONG_NUMBERS = re.compile(
    r"could not convert|cannot perform reduction|does not support|agg function failed|unsupported operand"
    r"|numeric_only=True with|has dtype str|with dtype str",
    re.IGNORECASE,
)
_STATISTICS = frozenset(("corr", "cov", "mean", "median", "std", "var", "sem", "skew", "kurt", "kurtosis", "quantile"))
"""What is taken of each column of a table."""
_OF_A_COLUMN = _STATISTICS | {"agg", "transform", "nlargest", "nsmallest"}
_COMPARED = re.compile(r"not supported between instances of 'str' and '(?:int|float)'")
_NUMBERS = ("int", "float", "int64", "float64", "np.int64", "np.float64", "'int'", "'float'", "'int64'", "'float64'")


def mend_numbers(program: Program, execution: Execution) -> Program | None:
    """`program` with texts read as numbers where it took them for such, or left out of statistics; None when there is
    no mend."""
    error = execution.error
    if error is None or error.line is None:
        return None
    statement = statement_at(parse(program.code), error.line)
    if statement is None:
        return None
    if text := _NOT_A_NUMBER.search(error.message):
        told = (text[1] or text[2] or "").strip()
        done = _reading(program, statement, told) if told else _skipping_blanks(program, statement, error.line)
        if done is not None:
            return done
    if _TEXT_AMONG_NUMBERS.search(error.message) or _COMPARED.search(error.message):
        return _converting_columns(program, statement) or _leaving_out_texts(program, statement)
    return None


def _reading(program: Program, statement: ast.stmt, text: str) -> Program | None:
    """Every conversion in `statement` as one that reads the number that a text such as `text` begins with."""
    calls = innermost(n for n in ast.walk(statement) if _is_conversion(n))
    if not calls or not _BEGINS_WITH_ONE.match(text):
        return None
    if _THOUSANDS.fullmatch(text) and all(isinstance(call.func, ast.Name) for call in calls):
        commas = [(call.args[0], f"str({ast.unparse(call.args[0])}).replace(',', '')") for call in calls]
        return mended(program, replaced(program.code, commas), "took the commas out of numbers")
    edits = [(call, _read(call)) for call in calls]
    code, helper = replaced(program.code, edits), helpers()["as_number"].strip()
    tree = parse(code)
    code = code if "as_number" in top_names(tree) else with_head(code, tree, [f"{helper}\n\n"])
    return mended(program, code, "read the numbers that texts begin with")


def _read(call: ast.Call) -> str:
    match call:
        case ast.Call(func=ast.Name(id=kind), args=[text]):
            read = f"as_number({ast.unparse(text)})"
            return f"int({read})" if kind == "int" else read
        case ast.Call(func=ast.Attribute(value=column, attr="astype")):
            return f"{ast.unparse(column)}.map(as_number)"
        case _:
            return f"{ast.unparse(call.args[0])}.map(as_number)"


def _is_conversion(node: ast.AST) -> TypeGuard[ast.Call]:
    """`float(x)`, `int(x)`, `column.astype(float)` or `pd.to_numeric(column)`."""
    match node:
        case ast.Call(func=ast.Name(id="float" | "int"), args=[_], keywords=[]):
            return True
        case ast.Call(func=ast.Attribute(attr="astype"), args=[kind], keywords=[]):
            return ast.unparse(kind) in _NUMBERS
        case ast.Call(func=ast.Attribute(attr="to_numeric"), args=[_]):
            return True
        case _:
            return False


def _skipping_blanks(program: Program, statement: ast.stmt, line: int) -> Program | None:
    """`float("")` in a loop: the item has no value and is skipped."""
    looped = in_loop(program.code, line)
    if looped is None or looped.lineno != statement.lineno:
        return None
    scalars = [n for n in ast.walk(statement) if _is_conversion(n) and isinstance(n.func, ast.Name)]
    blank = " or ".join(f"not str({ast.unparse(call.args[0])}).strip()" for call in innermost(scalars))
    return mended(program, skipping(program.code, looped, blank), "skipped items without a value") if blank else None


def _converting_columns(program: Program, statement: ast.stmt) -> Program | None:
    """`table["a"].mean()` of a column that may hold numbers as texts: those are converted before."""
    columns = list(dict.fromkeys(filter(None, (_column(node) for node in ast.walk(statement)))))
    bound = {arg.arg for node in ast.walk(statement) if isinstance(node, ast.Lambda) for arg in node.args.args}
    lines = [f"{column} = {column}.astype(float)" for column in columns if column.partition("[")[0] not in bound]
    if not lines or any(line in program.code for line in lines):
        return None
    head = program.code.splitlines()
    indent = " " * statement.col_offset
    code = "\n".join([*head[: statement.lineno - 1], *(indent + line for line in lines), *head[statement.lineno - 1 :]])
    return mended(program, code + "\n", "took the texts of a column for numbers")


def _column(node: ast.AST) -> str:
    """The column of a table, as `table['a']`, whose numbers `node` wants."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Subscript(slice=ast.Constant(str(name))) as column, attr=attr)):
            table = _table(column.value) if attr in _OF_A_COLUMN else ""
        case ast.Compare(
            left=ast.Subscript(slice=ast.Constant(str(name))) as column, comparators=[ast.Constant(value)]
        ):
            table = _table(column.value) if isinstance(value, int | float) else ""
        case _:
            return ""
    return f"{table}[{name!r}]" if table else ""


def _table(node: ast.expr) -> str:
    """The variable that `node` is a part or a grouping of."""
    while not isinstance(node, ast.Name):
        match node:
            case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return ""
    return node.id


def _leaving_out_texts(program: Program, statement: ast.stmt) -> Program | None:
    """`table.corr()` of a table that holds texts as well: `table.corr(numeric_only=True)`."""
    calls: Iterable[ast.Call] = (node for node in ast.walk(statement) if _is_statistic(node))
    edits = [(call, with_keyword(call, "numeric_only", True)) for call in innermost(calls)]
    return mended(program, replaced(program.code, edits), "left texts out of statistics") if edits else None


def _is_statistic(node: ast.AST) -> TypeGuard[ast.Call]:
    """`table.mean()`, which does not say yet that it is about numbers only."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=keywords) if name in _STATISTICS:
            return all(keyword.arg != "numeric_only" for keyword in keywords)
        case _:
            return False
