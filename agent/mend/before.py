"""Mends what is seen without running a program: a forgotten import, a function under another name, a change of a
column that pandas makes to a copy."""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import replace

from ..hints import helpers
from ..source import parse, replaced
from ..task import Program
from .names import import_of, top_names, unbound

__all__ = ["mend_statically", "mend_to_function", "mended", "same_program", "with_head"]

_CHANGES = frozenset(("fillna", "replace", "ffill", "bfill", "interpolate", "clip", "mask", "where"))
"""What changes a column and leaves its length."""


def mend_statically(program: Program, function: str | None = None, held: Collection[str] = ()) -> Program:
    """`program` with the imports it forgot, the helpers it was told of, its changes of columns assigned, and, under
    `function`, the only function it defines. Itself when whole.

    `held`: names that exist before it runs.
    """
    tree = parse(program.code)
    texts = [(node, text) for node in ast.walk(tree) if isinstance(node, ast.Compare) and (text := _of_texts(node))]
    if texts:
        program = mended(program, replaced(program.code, texts), "knew columns of texts by both of their types")
        tree = parse(program.code)
    in_place = [(node, text) for node in ast.walk(tree) if isinstance(node, ast.Expr) and (text := _assigned(node))]
    if in_place:
        program = mended(program, replaced(program.code, in_place), "assigned what was to be changed in place")
        tree = parse(program.code)
    missing = [line for name in sorted(unbound(tree).difference(held)) if (line := import_of(name, tree))]
    if missing:
        program = mended(program, with_head(program.code, tree, missing), "added " + ", ".join(missing))
        tree = parse(program.code)
    helped = [helpers()[name].strip() + "\n\n" for name in sorted(unbound(tree).difference(held)) if name in helpers()]
    if helped:
        program = mended(program, with_head(program.code, tree, helped), "added the functions that it was told of")
    other = _only_function(tree) if function and function not in top_names(tree) else None
    if other and function:
        program = mended(program, f"{program.code.rstrip()}\n\n\n{function} = {other}\n", f"{other} also as {function}")
    return program


def mend_to_function(program: Program, function: str) -> Program:
    """`program` with its imports, `function` and what that uses, and nothing else: a model that is to mend a function
    likes to add a demonstration, or a class of its own for what the function is given. Itself when there is no more."""
    tree = parse(program.code)
    defined = {name: node for node in tree.body for name in _bound_by(node)}
    wanted, found = [function], set[str]()
    while wanted:
        if (name := wanted.pop()) in defined and name not in found:
            found.add(name)
            wanted += unbound(ast.Module([defined[name]], []))
    imports = (ast.Import, ast.ImportFrom)
    kept = [n for n in tree.body if isinstance(n, imports) or not found.isdisjoint(_bound_by(n))]
    alone = ast.Module(kept, [])
    if function not in found or len(kept) == len(tree.body) or unbound(alone) - unbound(tree):
        return program
    code = ast.unparse(alone) + "\n"
    return mended(program, code, f"left out what {function} does not use")


def _bound_by(node: ast.stmt) -> frozenset[str]:
    """The names that a statement at the top level binds."""
    return frozenset(top_names(ast.Module([node], [])))


def same_program(code: str) -> str:
    """A text that two programs share when they differ in comments, spacing or docstrings only."""
    tree = parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            node.body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return ast.dump(tree)


def mended(program: Program, code: str, what: str) -> Program:
    return replace(program, code=code, origin="mend", mends=(*program.mends, what))


def _assigned(statement: ast.Expr) -> str:
    """`table["a"].fillna(0, inplace=True)` as `table["a"] = table["a"].fillna(0)`: the column is a copy from pandas 3
    on (https://pandas.pydata.org/docs/user_guide/copy_on_write.html). Empty for anything else."""
    match statement.value:
        case ast.Call(func=ast.Attribute(value=ast.Subscript(value=ast.Name()) as column, attr=method)) as call:
            kept = [k for k in call.keywords if not _is_in_place(k)]
            if method not in _CHANGES or len(kept) == len(call.keywords):
                return ""
            return f"{ast.unparse(column)} = {ast.unparse(ast.Call(call.func, call.args, kept))}"
        case _:
            return ""


def _of_texts(node: ast.Compare) -> str:
    """`column.dtype == "object"` so that it holds for columns of texts, whose type is `str` from pandas 3 on
    (https://pandas.pydata.org/docs/user_guide/migration-3-strings.html). Empty for anything else."""
    match node:
        case ast.Compare(
            ast.Attribute(attr="dtype" | "dtypes" as attr) as left,
            [ast.Eq() | ast.NotEq() as operator],
            [ast.Constant("object" | "O") | ast.Name("object")],
        ):
            equal = isinstance(operator, ast.Eq)
        case _:
            return ""
    if attr == "dtypes":
        return f"{'' if equal else '~'}{ast.unparse(left)}.astype(str).isin(['object', 'str'])"
    return f"{ast.unparse(left)} {'in' if equal else 'not in'} ('object', 'str')"


def _is_in_place(keyword: ast.keyword) -> bool:
    return keyword.arg == "inplace" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def with_head(code: str, tree: ast.Module, lines: list[str]) -> str:
    """After the docstring and the `__future__` imports, which have to come first."""
    head = 0
    for index, node in enumerate(tree.body):
        docstring = index == 0 and ast.get_docstring(tree, clean=False) is not None
        if docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            head = node.end_lineno or 0
    source = code.splitlines()
    return "\n".join([*source[:head], *lines, *source[head:]]) + "\n"


def _only_function(tree: ast.Module) -> str | None:
    """The one function that can have been meant: the only one, leaving aside `main`, tests and private helpers."""
    names = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    public = [n for n in names if n != "main" and not n.startswith(("_", "test"))]
    return public[0] if len(public) == 1 else None
