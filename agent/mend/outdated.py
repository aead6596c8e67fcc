"""Mends what newer versions of libraries no longer have: models have learned from code that is years old.

What is gone and what it is now is data, in `outdated.toml`. The error names it, so nothing is changed that would still
work.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from sandbox import Execution

from ..source import parse, replaced
from ..task import Program
from .before import mended, with_head
from .names import import_of, unbound
from .places import innermost, inserted_before

__all__ = ["mend_chained", "mend_outdated"]

_GONE = re.compile(r"(?:'([\w.]+)' object|module '([\w.]+)'|type object '(\w+)') has no attribute '(\w+)'")
_GONE_FROM_NUMPY = re.compile(r"`np\.(\w+)` was removed in .*?[Uu]se `([^`]+)`")
_NO_ARGUMENT = re.compile(r"got an unexpected keyword argument '(\w+)'")
_TOO_MANY = re.compile(r"(?:DataFrame|Series)\.(drop|pivot)\(\) takes .* positional arguments? but")
_POSITIONAL = {"drop": ("labels", "axis"), "pivot": ("index", "columns", "values")}
_FREQUENCY = re.compile(r"Invalid frequency: ([\w-]+).*?(?:use '(\w+)' instead|Did you mean (\w+))", re.DOTALL)
_OF_TEXT = "bad operand type for abs(): 'str'"
_OTHER_TYPE = re.compile(r"Invalid value '(.*?)' for dtype '(\w+)'", re.DOTALL)
_LOCATORS = ("loc", "at")
_CHAINED = re.compile(r"<program[^>]*>:(\d+): ChainedAssignmentError")
_FILLS = {"ffill": "ffill", "pad": "ffill", "bfill": "bfill", "backfill": "bfill"}


def mend_outdated(program: Program, execution: Execution) -> Program | None:
    """`program` with what its libraries no longer have replaced by what they have now, where the error names it; None
    when there is no mend."""
    error = execution.error
    if error is None or error.line is None:
        return None
    tree = parse(program.code)
    here = [n for n in ast.walk(tree) if isinstance(n, ast.expr) and n.lineno <= error.line <= (n.end_lineno or 0)]
    edits = (
        _attributes(tree, here, error.message)
        or _arguments(here, error.message)
        or _frequencies(here, error.message)
        or _keys(here, error.message)
    )
    if edits:
        return _with_imports(program, tree, replaced(program.code, edits))
    return _of_another_type(program, tree, error.line, error.message)


def mend_chained(program: Program, execution: Execution) -> Program | None:
    """`table["a"][rows] = x`, which changes nothing from pandas 3 on and says so on the standard error, as
    `table.loc[rows, "a"] = x` (https://pandas.pydata.org/docs/user_guide/copy_on_write.html)."""
    lines = {int(line) for line in _CHAINED.findall(execution.stderr)}
    assignments = [n for n in ast.walk(parse(program.code)) if isinstance(n, ast.Assign) and n.lineno in lines]
    edits = [(n.targets[0], text) for n in assignments if (text := _located(n.targets[0]))]
    if not edits:
        return None
    return mended(program, replaced(program.code, edits), "assigned to the table itself, not to a copy of its column")


def _located(target: ast.expr) -> str:
    match target:
        case ast.Subscript(value=ast.Subscript(value=table, slice=ast.Constant(str(column))), slice=rows):
            return f"{ast.unparse(table)}.loc[{ast.unparse(rows)}, {column!r}]"
        case _:
            return ""


_Edits = list[tuple[ast.expr, str]]


@cache
def _now() -> Mapping[str, Any]:
    return tomllib.loads(resources.files(__package__ or "agent.mend").joinpath("outdated.toml").read_text("utf-8"))


def _with_imports(program: Program, tree: ast.Module, code: str) -> Program:
    new = parse(code)
    lines = [line for name in sorted(unbound(new) - unbound(tree)) if (line := import_of(name, new))]
    return mended(program, with_head(code, new, lines) if lines else code, "replaced what newer libraries do not have")


def _attributes(tree: ast.Module, here: Sequence[ast.expr], message: str) -> _Edits:
    """Attributes that are gone: of a module wherever they stand, of another object in the line that failed."""
    removed, gone = _GONE_FROM_NUMPY.search(message), _GONE.search(message)
    if removed is not None:
        name, now = removed.groups()
        return _replacements(tree, here, "numpy", name, "{x}." + now.removeprefix("np.") if "np." in now else now)
    if gone is None:
        return []
    owner, name = gone[2] or (gone[1] or gone[3]).rpartition(".")[2], gone[4]
    if owner == "DataFrame" and name == "append":
        return [(call, text) for call in _calls(here, "append") if (text := _appended(call))]
    templates = _now()["attributes"]
    if template := templates.get(f"{owner}.{name}()"):
        return [(call, _filled(template, call)) for call in innermost(_calls(here, name))]
    if owner == "ndarray" and name in _now()["array"]["methods"]:
        return _replacements(tree, here, owner, name, f"pd.Series({{x}}).{name}")
    return _replacements(tree, here, owner, name, templates.get(f"{owner}.{name}", ""))


def _replacements(tree: ast.Module, here: Sequence[ast.expr], owner: str, name: str, template: str) -> _Edits:
    found = [node for node in here if isinstance(node, ast.Attribute) and node.attr == name]
    if not template or not found:
        return []
    of_module = {ast.unparse(node) for node in found if isinstance(node.value, ast.Name) and owner.islower()}
    everywhere = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n) in of_module]
    return [(node, template.format(x=ast.unparse(node.value))) for node in (everywhere or found[:1])]


def _calls(here: Sequence[ast.expr], name: str) -> list[ast.Call]:
    return [n for n in here if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == name]


def _filled(template: str, call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return template.format(x=ast.unparse(call.func.value), args=", ".join(map(ast.unparse, call.args)))


def _appended(call: ast.Call) -> str:
    """`table.append(rows, ignore_index=True)` as `pd.concat([table, rows], ignore_index=True)`."""
    if len(call.args) != 1 or not isinstance(call.func, ast.Attribute):
        return ""
    table, rows = ast.unparse(call.func.value), ast.unparse(call.args[0])
    match call.args[0]:
        case ast.Dict():
            rows = f"pd.DataFrame([{rows}])"
        case ast.List():
            rows = f"pd.DataFrame({rows})"
        case _:
            rows = f"{rows} if isinstance({rows}, pd.DataFrame) else pd.DataFrame([{rows}])"
    options = [f"{keyword.arg}={ast.unparse(keyword.value)}" for keyword in call.keywords if keyword.arg]
    return f"pd.concat({', '.join([f'[{table}, {rows}]', *options])})"


def _arguments(here: Sequence[ast.expr], message: str) -> _Edits:
    """Arguments that are gone, and those that have to be named."""
    if many := _TOO_MANY.search(message):
        return [(call, _named(call, _POSITIONAL[many[1]])) for call in innermost(_calls(here, many[1]))]
    if (gone := _NO_ARGUMENT.search(message)) is None:
        return []
    calls = [node for node in here if isinstance(node, ast.Call) and any(k.arg == gone[1] for k in node.keywords)]
    return [(call, text) for call in innermost(calls) if (text := _without(call, gone[1]))]


def _named(call: ast.Call, names: Sequence[str]) -> str:
    keywords = [ast.keyword(name, value) for name, value in zip(names, call.args, strict=False)]
    return ast.unparse(ast.Call(call.func, [], [*keywords, *call.keywords]))


def _without(call: ast.Call, argument: str) -> str:
    """`call` as it is written without `argument` now; empty where nobody knows."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    template = _now()["arguments"].get(f"{function}.{argument}")
    if template is None:
        return ""
    value = next(keyword.value for keyword in call.keywords if keyword.arg == argument)
    kept = [keyword for keyword in call.keywords if keyword.arg != argument]
    rest = ast.unparse(ast.Call(call.func, call.args, kept))
    if function == "fillna":
        how = _FILLS.get(str(value.value)) if isinstance(value, ast.Constant) else None
        return f"{_receiver(call)}.{how}()" if how else ""
    if argument == "squared" and isinstance(value, ast.Constant) and value.value:
        return rest
    if "{x}" in template or "{call}" in template:
        return template.format(x=_receiver(call), call=rest, value=ast.unparse(value))
    new = template.format(value=ast.unparse(value))
    empty = not call.args and not kept
    return f"{rest[:-1]}{'' if empty or not new else ', '}{new})"


def _receiver(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _frequencies(here: Sequence[ast.expr], message: str) -> _Edits:
    """`"M"` as `"ME"`, `"2H"` as `"2h"`, where pandas says so."""
    found = _FREQUENCY.search(message)
    if found is None:
        return []
    old, new = found[1], found[2] or found[3]
    count = re.match(r"-?\d*", old)
    texts = [n for n in here if isinstance(n, ast.Constant) and n.value == old]
    return [(node, repr((count[0] if count else "") + new.lstrip("-0123456789"))) for node in texts]


def _keys(here: Sequence[ast.expr], message: str) -> _Edits:
    """`max(found, key=abs)` of a dict with texts for keys: by its values."""
    if message != _OF_TEXT:
        return []
    edits: _Edits = []
    for node in here:
        match node:
            case ast.Call(ast.Name("max" | "min" | "sorted"), [ast.Name(found)], [*_, ast.keyword("key", key)]):
                if isinstance(key, ast.Name) and key.id == "abs":
                    edits.append((key, f"lambda name: abs({found}[name])"))
            case _:
                pass
    return edits


def _of_another_type(program: Program, tree: ast.Module, line: int, message: str) -> Program | None:
    """`table.loc[rows, "a"] = 1` of a column of texts: from pandas 3 on a column keeps its type unless it is told."""
    found = _OTHER_TYPE.search(message)
    assignments = [n for n in ast.walk(tree) if isinstance(n, ast.Assign | ast.AugAssign)]
    at = next((n for n in assignments if n.lineno <= line <= (n.end_lineno or 0)), None)
    column = _column_set(at) if found and at else ""
    if not found or at is None or not column:
        return None
    kind = "float" if found[2].startswith("int") and "." in found[1] else "object"
    code = inserted_before(program.code, tree, at, f"{column} = {column}.astype({kind})", column.partition("[")[0])
    return mended(program, code, "let a column hold values of another type")


def _column_set(statement: ast.Assign | ast.AugAssign) -> str:
    """The column that a part of is set, as `table['a']`."""
    target = statement.target if isinstance(statement, ast.AugAssign) else statement.targets[0]
    match target:
        case ast.Subscript(
            value=ast.Attribute(value=ast.Name(table), attr=attr),
            slice=ast.Tuple(elts=[_, ast.Constant(str(column))]),
        ) if attr in _LOCATORS:
            return f"{table}[{column!r}]"
        case _:
            return ""
