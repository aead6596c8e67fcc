"""Runs one check over the names and files that a program left behind.

The text of this file is sent into the sandbox and run there, in a namespace of its own: a check may call the program,
and the program is not trusted. What it reports is therefore a claim of the program, as every result is.
"""

from __future__ import annotations

import ast
import asyncio
import csv
import inspect
import json
import operator
import os
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

SHORT = 200
COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Is: ("is", operator.is_),
    ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda a, b: a in b),
    ast.NotIn: ("not in", lambda a, b: a not in b),
}


def check(kind: str, text: str, names: dict[str, Any]) -> str:
    """The result of one check as JSON: an empty text when it holds, else what is wrong."""
    runners = {"expression": expression, "tests": tests, "file": file, "columns": columns}
    try:
        return json.dumps(runners[kind](text, names))
    except (Exception, SystemExit) as error:
        return json.dumps(f"{text[:SHORT] if kind == 'expression' else kind}: {described(error)}")


def expression(text: str, names: dict[str, Any]) -> str:
    """Empty when the expression is true. Each side of a comparison is evaluated once."""
    node = ast.parse(text.strip(), mode="eval").body
    return "" if holds(node, names, names) else wrong(node, names, names)


def holds(node: ast.expr, names: dict[str, Any], local: dict[str, Any]) -> bool:
    sides = compared(node, names, local)
    if sides is None:
        return bool(value_of(node, names, local))
    left, right, _, compare = sides
    MEMO[id(node)] = (left, right)
    return bool(compare(left, right))


MEMO: dict[int, tuple[Any, Any]] = {}


def wrong(node: ast.expr, names: dict[str, Any], local: dict[str, Any]) -> str:
    """What is wrong about an expression that does not hold: call, got and want."""
    source = ast.unparse(node)
    if id(node) not in MEMO or not isinstance(node, ast.Compare):
        return f"{source[:SHORT]}: this is not true"
    left, right = MEMO.pop(id(node))
    symbol = COMPARISONS[type(node.ops[0])][0]
    call = ast.unparse(node.left)[:SHORT]
    if symbol == "==":
        return f"{call}: got {shown(left)}, want {shown(right)}"
    return f"{source[:SHORT]}: this is not true, the left side is {shown(left)}, the right side {shown(right)}"


def compared(node: ast.expr, names: dict[str, Any], local: dict[str, Any]) -> tuple[Any, Any, str, Any] | None:
    """Both sides of a plain comparison, and how they are compared."""
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    symbol, compare = COMPARISONS[type(node.ops[0])]
    return value_of(node.left, names, local), value_of(node.comparators[0], names, local), symbol, compare


def value_of(node: ast.expr, names: dict[str, Any], local: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<check>", "eval"), names, local)  # noqa: S307


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHORT else text[: SHORT - 3] + "..."


def described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:SHORT] if str(error) else type(error).__name__


def tests(text: str, names: dict[str, Any]) -> str:
    """Empty when the test source, its `test_*` functions and its TestCases all pass."""
    offer_modules(names)
    space = {**names, "__name__": "tests"}
    failures: list[str] = []
    run(lambda: exec(compile(text, "<tests>", "exec"), space), "the tests", text, failures)  # noqa: S102
    for name, value in list(space.items()):
        if names.get(name) is value:
            continue
        if name.startswith("test") and inspect.isfunction(value):
            run(lambda value=value: finished(value()), name, text, failures)
        elif isinstance(value, type) and issubclass(value, unittest.TestCase):
            failures += failures_of(value)
    more = f" (and {len(failures) - 1} more failures)" if len(failures) > 1 else ""
    return failures[0] + more if failures else ""


def offer_modules(names: dict[str, Any]) -> None:
    """Test files import what they test as a module."""
    module = types.ModuleType("solution")
    module.__dict__.update({k: v for k, v in names.items() if not k.startswith("__")})
    for name in ("solution", "program"):
        sys.modules[name] = module


def finished(result: Any) -> None:
    if inspect.isawaitable(result):
        asyncio.run(awaited(result))


async def awaited(result: Any) -> None:
    await result


def run(step: Callable[[], Any], name: str, source: str, failures: list[str]) -> None:
    try:
        step()
    except unittest.SkipTest:
        return
    except AssertionError as error:
        failures.append(f"{name}: {asserted(error, source) or described(error)}")
    except (Exception, SystemExit) as error:
        failures.append(f"{name}: {described(error)}")


def asserted(error: AssertionError, source: str) -> str:
    """What the failing `assert` compared, evaluated again where it stands."""
    if error.args:
        return ""
    frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__) if f.f_code.co_filename == "<tests>"]
    for frame, line in frames[-1:]:
        for node in assertions(source, line):
            if not holds(node.test, frame.f_globals, frame.f_locals):
                return wrong(node.test, frame.f_globals, frame.f_locals)
    return ""


def assertions(source: str, line: int) -> Iterator[ast.Assert]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
            yield node


def failures_of(case: type[unittest.TestCase]) -> list[str]:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    failed = [*result.failures, *result.errors]
    return [f"{test.id().rpartition('.')[2]}: {text.strip().splitlines()[-1][:SHORT]}" for test, text in failed]


def file(path: str, names: dict[str, Any]) -> str:
    """Empty when the path exists and holds something."""
    if not os.path.lexists(path):
        return f"the file {path} was not written"
    empty = not os.listdir(path) if os.path.isdir(path) else os.path.getsize(path) == 0  # noqa: PTH112, PTH202, PTH208
    return f"{path} is empty" if empty else ""


def columns(text: str, names: dict[str, Any]) -> str:
    """Empty when the table of `pay.csv: employee, hours, pay` has these columns, whatever their case and spaces.

    That it is there at all is another check.
    """
    path, _, wanted = text.rpartition(": ")
    if not os.path.isfile(path):  # noqa: PTH113
        return ""
    with open(path, "rb") as table:  # noqa: PTH123
        head = table.readline().rstrip(b"\r\n")
    try:
        line = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        line = head.decode("gb18030", "replace")
    found = [*csv.reader([line], delimiter=max(",;\t", key=line.count)), [""]][0]
    same = [plain(column) for column in found] == [plain(column) for column in wanted.split(", ")]
    return "" if same else f"{path} has the columns {', '.join(found)[:SHORT]}; wanted are {wanted}"


def plain(column: str) -> str:
    return "".join(letter for letter in column.casefold() if letter.isalnum())
