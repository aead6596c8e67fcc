"""Mends mechanical errors by code, without asking the model: a missing import, another name, a demo that crashes."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TypeGuard

from sandbox import Execution

from .task import Program

__all__ = ["mend_crash", "mend_statically", "same_program"]

_MODULES = sys.stdlib_module_names | {"numpy", "openpyxl", "pandas", "scipy"}
_FROM: dict[str, str] = {
    **dict.fromkeys(("Counter", "defaultdict", "deque", "namedtuple", "OrderedDict", "ChainMap"), "collections"),
    **dict.fromkeys(("reduce", "lru_cache", "partial", "wraps", "cmp_to_key"), "functools"),
    **dict.fromkeys(("permutations", "combinations", "product", "chain", "groupby", "accumulate"), "itertools"),
    **dict.fromkeys(("timedelta", "timezone"), "datetime"),
    **dict.fromkeys(("sqrt", "ceil", "floor", "factorial", "gcd", "comb", "isclose"), "math"),
    **dict.fromkeys(("heappush", "heappop", "heapify"), "heapq"),
    **dict.fromkeys(("bisect_left", "bisect_right", "insort"), "bisect"),
    **dict.fromkeys(("mean", "median", "stdev"), "statistics"),
    **dict.fromkeys(("dataclass", "field"), "dataclasses"),
    **dict.fromkeys(("Path", "PurePath"), "pathlib"),
    **dict.fromkeys(("Decimal", "ROUND_HALF_UP"), "decimal"),
    **dict.fromkeys(("Any", "Callable", "Deque", "Dict", "Generator", "Iterable", "Iterator", "List"), "typing"),
    **dict.fromkeys(("Literal", "Mapping", "NamedTuple", "Optional", "Sequence", "Set", "Tuple", "Union"), "typing"),
    "Fraction": "fractions",
    "Enum": "enum",
    "StringIO": "io",
    "BytesIO": "io",
    "TestCase": "unittest",
    "ThreadPoolExecutor": "concurrent.futures",
    "Image": "PIL",
    "dedent": "textwrap",
}
_NOT_A_NUMBER = re.compile(r"(?:could not convert string to float|invalid literal for int\(\) with base 10): '(.*)'")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MATCHING = ("search", "match", "fullmatch")
_OF_A_MATCH = ("group", "groups", "groupdict", "start", "end", "span")
_ALIASES = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
    "dt": "import datetime as dt",
    "ET": "import xml.etree.ElementTree as ET",
    "tk": "import tkinter as tk",
}


def mend_statically(program: Program, function: str | None = None, held: Collection[str] = ()) -> Program:
    """`program` with the imports it forgot and, under `function`, the only function it defines. Itself when whole.

    `held`: names that exist before it runs.
    """
    tree = _parse(program.code)
    missing = [line for name in sorted(_unbound(tree).difference(held)) if (line := _import_of(name, tree))]
    if missing:
        program = _mended(program, _with_imports(program.code, tree, missing), "added " + ", ".join(missing))
    other = _only_function(tree) if function and function not in _top_names(tree) else None
    if other and function:
        program = _mended(
            program, f"{program.code.rstrip()}\n\n\n{function} = {other}\n", f"{other} also as {function}"
        )
    return program


def mend_crash(program: Program, execution: Execution, function: str | None) -> Program | None:
    """`program` mended where it crashed; None when there is no mend.

    When a function was asked for, the demo goes; a loop over items of which one does not match a pattern,
    or has no value, skips it; numbers lose their commas.
    """
    if execution.ok:
        return None
    if function is not None:
        return _without_demo(program, function)
    return _skipping_mismatches(program, execution) or _cleaning_numbers(program, execution)


def _without_demo(program: Program, function: str) -> Program | None:
    tree = _parse(program.code)
    kept = [node for node in tree.body if not _is_demo(node)]
    if len(kept) == len(tree.body) or function not in _top_names(tree):
        return None
    code = ast.unparse(ast.Module(kept, [])) + "\n"
    return _mended(program, code, "left out the demonstration, which failed")


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
    return _mended(program, code, "skipped items that the pattern does not match")


def _cleaning_numbers(program: Program, execution: Execution) -> Program | None:
    """`float("3,686.67")`: the commas go; `float("")` in a loop: the item has no value and is skipped."""
    error = execution.error
    if error is None or error.line is None or error.type != "ValueError":
        return None
    value = _NOT_A_NUMBER.search(error.message)
    statement = _at_line(_parse(program.code), error.line)
    calls = [n for n in ast.walk(statement) if _is_conversion(n)] if statement and value else []
    if statement is None or value is None or not calls:
        return None
    if _THOUSANDS.fullmatch(value[1].strip()):
        for call in calls:
            call.args = [ast.parse(f"str({ast.unparse(call.args[0])}).replace(',', '')", mode="eval").body]
        return _mended(program, _replaced(program.code, statement), "took the commas out of numbers")
    looped = _in_loop(program.code, error.line)
    if value[1].strip() or looped is None or looped.lineno != statement.lineno:
        return None
    blank = " or ".join(f"not str({ast.unparse(call.args[0])}).strip()" for call in calls)
    return _mended(program, _skipping(program.code, looped, blank), "skipped items without a value")


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
    loops = [n for n in ast.walk(_parse(code)) if isinstance(n, (ast.For, ast.While))]
    found = [s for loop in loops for s in _statements(loop.body) if s.lineno <= line <= (s.end_lineno or 0)]
    return found[-1] if found else None


def _skipping(code: str, statement: ast.stmt, condition: str) -> str:
    """`code` with `continue` under `condition` before `statement`."""
    lines = code.splitlines()
    indent = " " * statement.col_offset
    lines.insert(statement.lineno - 1, f"{indent}if {condition}:\n{indent}    continue")
    return "\n".join(lines) + "\n"


def _replaced(code: str, statement: ast.stmt) -> str:
    """`code` with the lines of `statement` written anew."""
    lines = code.splitlines()
    text = ast.unparse(statement).replace("\n", "\n" + " " * statement.col_offset)
    lines[statement.lineno - 1 : statement.end_lineno] = [" " * statement.col_offset + text]
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


def same_program(code: str) -> str:
    """A text that two programs share when they differ in comments, spacing or docstrings only."""
    tree = _parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            node.body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return ast.dump(tree)


def _mended(program: Program, code: str, what: str) -> Program:
    return replace(program, code=code, origin="mend", mends=(*program.mends, what))


def _parse(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _import_of(name: str, tree: ast.Module) -> str | None:
    if name in _ALIASES:
        return _ALIASES[name]
    if name == "datetime":
        return "from datetime import datetime" if _called_on(tree, name, "now today strptime") else "import datetime"
    if name == "date":
        return "from datetime import date" if _called_on(tree, name, "today fromisoformat") else None
    if name in _MODULES and _has_attribute(tree, name):
        return f"import {name}"
    return f"from {_FROM[name]} import {name}" if name in _FROM else None


def _attributes(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr


def _has_attribute(tree: ast.Module, name: str) -> bool:
    return any(True for _ in _attributes(tree, name))


def _called_on(tree: ast.Module, name: str, methods: str) -> bool:
    return any(attribute in methods.split() for attribute in _attributes(tree, name))


def _unbound(tree: ast.Module) -> set[str]:
    """Names that are used and nowhere bound; a star import may bind anything."""
    used: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return set()
        else:
            bound.update(_names_bound_by(node))
    return used - bound


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _with_imports(code: str, tree: ast.Module, lines: list[str]) -> str:
    """After the docstring and the `__future__` imports, which have to come first."""
    head = 0
    for index, node in enumerate(tree.body):
        docstring = index == 0 and ast.get_docstring(tree, clean=False) is not None
        if docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            head = node.end_lineno or 0
    source = code.splitlines()
    return "\n".join([*source[:head], *lines, *source[head:]]) + "\n"


def _top_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            names.update(_names_bound_by(node))
        elif isinstance(node, ast.Assign):
            names.update(n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return names


def _only_function(tree: ast.Module) -> str | None:
    """The one function that can have been meant: the only one, leaving aside `main`, tests and private helpers."""
    names = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    public = [n for n in names if n != "main" and not n.startswith(("_", "test"))]
    return public[0] if len(public) == 1 else None


def _is_demo(node: ast.stmt) -> bool:
    """A call, an assertion or an `if __name__ == "__main__"` at the top level; docstrings and imports stay."""
    if isinstance(node, ast.If):
        return any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
