"""The grammar of restricted programs: RestrictedPython's, which refuses every syntax that it does not know, widened by
what programs write all the time, and with names and attributes decided here.

What decides is the *name*, before anything runs. An attribute whose name begins with no underscore is read as it is
written: no object that a program can reach holds a module, a frame or code under such a name, except those that
RestrictedPython lists (`INSPECT_ATTRIBUTES`), and the names in `CHECKED`, which are looked at when they are read. So
what a program reaches, in `modules.py` and `builtins.py`, is chosen by hand. RestrictedPython's guards of iteration and
subscripts have nothing to guard here, and are left out: no object is forbidden to look into, only names are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from RestrictedPython.transformer import INSPECT_ATTRIBUTES, RestrictingNodeTransformer

__all__ = ["CHECKED", "METHODS", "READABLE", "Grammar", "first_line", "is_private", "refused_attribute"]

METHODS = frozenset(
    """
    __abs__ __add__ __and__ __bool__ __bytes__ __call__ __ceil__ __complex__ __contains__ __copy__ __deepcopy__
    __delitem__ __divmod__ __enter__ __eq__ __exit__ __float__ __floor__ __floordiv__ __format__ __ge__ __get__
    __getitem__ __gt__ __hash__ __iadd__ __iand__ __ifloordiv__ __ilshift__ __imatmul__ __imod__ __imul__ __index__
    __init__ __int__ __invert__ __ior__ __ipow__ __irshift__ __isub__ __iter__ __itruediv__ __ixor__ __le__ __len__
    __length_hint__ __lshift__ __lt__ __matmul__ __missing__ __mod__ __mul__ __ne__ __neg__ __new__ __next__ __or__
    __pos__ __post_init__ __pow__ __radd__ __rand__ __rdivmod__ __repr__ __reversed__ __rfloordiv__ __rlshift__
    __rmatmul__ __rmod__ __rmul__ __ror__ __round__ __rpow__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__
    __set__ __setitem__ __str__ __sub__ __truediv__ __trunc__ __xor__
    """.split()
)
"""Special methods that a class may define, and that may be called by their names."""
READABLE = METHODS - {"__init__", "__new__"} | {"__name__", "__qualname__", "__doc__", "__cause__", "__notes__"}
"""Special attributes that any object may be asked for."""
CHECKED = frozenset({"format", "format_map", "obj", "__class__", "__dict__", "__init__", "__new__"})
"""Attributes that depend on the object: see `guards.read`."""
_ENUM = frozenset({"_missing_", "_generate_next_value_", "_ignore_", "_order_"})
_NAMES = _ENUM | {"__doc__", "__all__", "__version__", "__author__", "__slots__"}
_READ_ONLY = frozenset({"__name__", "__file__", "__debug__"})
_NOT_HERE = {
    "AsyncFunctionDef": "there is no asyncio here: write a plain function",
    "AsyncFor": "there is no asyncio here: write a plain `for`",
    "AsyncWith": "there is no asyncio here: write a plain `with`",
    "Await": "there is no asyncio here: call the function without `await`",
    "TryStar": "`except*` is not allowed: write `except`",
    "TypeAlias": "`type X = ...` is not allowed: write `X = ...`",
}
_NO_CALLS = {
    "exec": "`exec` is not allowed: write the code itself",
    "eval": "`eval` is not allowed: use ast.literal_eval for values, or write the expression itself",
    "compile": "`compile` is not allowed: write the code itself",
    "__import__": "`__import__` is not allowed: write an import statement",
    "globals": "`globals` is not allowed: use a dict of your own",
    "locals": "`locals` is not allowed: use a dict of your own",
    "breakpoint": "`breakpoint` is not allowed: print what you want to see",
    "help": "`help` is not allowed",
}


def is_private(name: str) -> bool:
    """Whether an attribute belongs to its object alone, by its name: one underscore, or two that Python mangles."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def refused_attribute(name: str) -> str:
    """Why no program may ask for an attribute of this name, empty when some may."""
    if name in INSPECT_ATTRIBUTES:
        return f"the attribute `{name}` is not allowed: it leads to the code that runs"
    if name.startswith("__") and name.endswith("__") and name not in READABLE | CHECKED:
        return f"the attribute `{name}` is not allowed{_INSTEAD.get(name, '')}"
    return ""


_INSTEAD = {
    "__traceback__": ": print the exception itself",
    "__setattr__": ": assign the attribute, or use setattr",
    "__getattribute__": ": read the attribute, or use getattr",
    "__subclasses__": ": keep a list of your classes",
    "__bases__": ": use isinstance or issubclass",
    "__mro__": ": use isinstance or issubclass",
    "__annotations__": ": use dataclasses.fields",
}


def _call(hook: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(hook, ast.Load()), [*args], [])


class Grammar(RestrictingNodeTransformer):
    """Checks a program's tree and puts in the guards. What it refuses is in `problems`, with the line."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[tuple[str, ast.AST]] = []
        self._classes: list[str] = []
        """The names of the classes around what is visited, the innermost last."""

    def error(self, node: ast.AST, info: str) -> None:
        self.problems.append((info, node))

    def not_allowed(self, node: ast.AST) -> None:
        kind = type(node).__name__
        self.error(node, _NOT_HERE.get(kind, f"{kind} is not allowed"))

    # -- names -----------------------------------------------------------------------------------------------------

    def check_name(self, node: Any, name: str | None, allow_magic_methods: bool = False) -> None:
        if name is None or name in _NAMES | METHODS or not name.strip("_"):
            return
        if name.endswith("__roles__") or (name.startswith("__") and name.endswith("__")):
            what = "method" if allow_magic_methods else "name"
            self.error(node, f"the {what} `{name}` is not allowed")
        elif name.startswith("_") and name.endswith("_"):
            self.error(node, f"the name `{name}` is not allowed: leave out the underscore at its end")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in _NO_CALLS:
            self.error(node, _NO_CALLS[node.id])
        elif not (isinstance(node.ctx, ast.Load) and node.id in _READ_ONLY):
            self.check_name(node, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    def check_import_names(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        if getattr(node, "is_lazy", 0):
            self.error(node, "lazy imports are not allowed: write a plain import")
        for alias in node.names:
            if alias.name == "*":
                self.error(node, "`import *` is not allowed: name what you import")
            elif alias.asname or isinstance(node, ast.ImportFrom):
                self.check_name(node, alias.asname or alias.name)
            else:
                self.check_name(node, alias.name.partition(".")[0])
        return node

    # -- attributes ------------------------------------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`a._b` becomes `_own_(a)._b`, `a.format` `_read_(a, "format")`, `a.b = c` `_write_(a).b = c`."""
        if why := refused_attribute(node.attr):
            self.error(node, why)
        stored = not isinstance(node.ctx, ast.Load)
        if stored and node.attr.startswith("__") and not is_private(node.attr):
            self.error(node, f"the attribute `{node.attr}` cannot be set")
        node = self.node_contents_visit(node)
        new: ast.expr = node
        if stored:
            node.value = self._placed(_call("_write_", node.value), node.value)
        elif is_private(node.attr):
            name = ast.Constant(self._mangled(node.attr))
            node.value = self._placed(_call("_own_", node.value, name), node.value)
        elif node.attr in CHECKED:
            new = self._placed(_call("_read_", node.value, ast.Constant(node.attr)), node)
        return new

    def _mangled(self, name: str) -> str:
        """The name as the compiler makes it in a class: `__x` is another one in each."""
        owner = self._classes[-1].lstrip("_") if self._classes else ""
        return f"_{owner}{name}" if owner and name.startswith("__") else name

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`a[b] = c` becomes `_write_(a)[b] = c`."""
        node = self.node_contents_visit(node)
        if not isinstance(node.ctx, ast.Load):
            node.value = self._placed(_call("_write_", node.value), node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """`a[b] += c` becomes `_write_(a)[b] += c`, which evaluates everything once and in order, as before."""
        if isinstance(node.target, ast.Attribute) and node.target.attr in CHECKED:
            self.error(node, f"the attribute `{node.target.attr}` cannot be changed in place: choose another name")
        return self.node_contents_visit(node)

    @staticmethod
    def _placed(new: ast.expr, old: ast.expr) -> ast.expr:
        return ast.fix_missing_locations(ast.copy_location(new, old))

    # -- definitions -----------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._no_type_parameters(node)
        self.check_name(node, node.name, allow_magic_methods=True)
        self.check_function_argument_names(node)
        return self.node_contents_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._no_type_parameters(node)
        self.check_name(node, node.name)
        abstract = False
        for keyword in [*node.keywords]:
            if keyword.arg is None:
                self.error(node, "`**` is not allowed in the head of a class")
            elif keyword.arg == "metaclass":
                node.keywords.remove(keyword)
                if "ABCMeta" not in ast.unparse(keyword.value):
                    self.error(node, "`metaclass` is not allowed: write a class decorator, or derive from ABC")
                abstract = True
        self._classes.append(node.name)
        node = self.node_contents_visit(node)
        self._classes.pop()
        if abstract:
            node.bases.append(ast.copy_location(ast.Name("_ABC_", ast.Load()), node))
        return node

    def _no_type_parameters(self, node: ast.AST) -> None:
        if getattr(node, "type_params", None):
            self.error(node, "type parameters are not allowed: leave them out, or use typing.TypeVar")

    # -- what RestrictedPython would rewrite or refuse ---------------------------------------------------------------

    def _as_it_is(self, node: Any) -> Any:
        return self.node_contents_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.Module:
        return self.node_contents_visit(node)

    visit_Assign = visit_Call = visit_For = visit_With = _as_it_is  # type: ignore[assignment]
    visit_Match = visit_match_case = visit_MatchValue = visit_MatchSingleton = visit_MatchSequence = _as_it_is
    visit_MatchOr = _as_it_is

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        if node.is_async:
            self.error(node.iter, "there is no asyncio here: write a plain `for`")
        return self.node_contents_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        return self.node_contents_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        """A pattern reads attributes without a guard, so that only plain names are allowed in it."""
        for name in node.kwd_attrs:
            if name.startswith("_") or name in CHECKED or refused_attribute(name):
                self.error(node, f"the attribute `{name}` is not allowed in a pattern")
        return self.node_contents_visit(node)


def first_line(problems: Iterable[tuple[str, ast.AST]]) -> tuple[str, int, int]:
    """The first of the problems, with its line and column."""
    placed = [(getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, text) for text, node in problems]
    line, column, text = min(placed)
    return text, line, column
