"""What a statement does with names, read from its syntax tree: what it reads, binds, and may change in place.

Made to err on the side of too much: a call may change its receiver and its arguments unless it is known not to, two
names may be the same object once one was made from the other, and a function that is mentioned may be called. Where
even that is no help (`exec`, `globals()`, `import *`, `global`, an attribute of a module replaced) a flow is `unclear`.
Not covered: what properties and overloaded operators change behind an object's back. Whoever uses this to leave
statements out runs what is left, and compares.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from . import vocabulary as words

__all__ = ["ALWAYS", "FIGURES", "FILES", "OUTPUT", "Flow", "opened_to_read", "read_flows"]

FILES, OUTPUT, FIGURES, ALWAYS = "<files>", "<output>", "<figures>", "<always>"
"""Names for what programs share without naming it; what changes `ALWAYS` (a setting, the end) is always needed."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Flow:
    """What one statement does with the names of the module, and with `FILES`, `OUTPUT`, `FIGURES` and `ALWAYS`."""

    reads: frozenset[str] = _NOTHING
    binds: frozenset[str] = _NOTHING
    """Names that it may bind anew."""
    kills: frozenset[str] = _NOTHING
    """Those of them that it does bind, whatever they were before."""
    changes: frozenset[str] = _NOTHING
    """Names whose objects it may change in place, also under another name."""
    unclear: bool = False


@dataclass(slots=True)
class _Facts:
    """A flow in the making. `later`: what happens when that which the statement binds is called."""

    reads: set[str] = field(default_factory=set[str])
    binds: set[str] = field(default_factory=set[str])
    changes: set[str] = field(default_factory=set[str])
    shares: list[set[str]] = field(default_factory=list[set[str]])
    """Names that may stand for the same object."""
    unclear: bool = False
    later: _Facts | None = None


@dataclass(slots=True)
class _Program:
    """What is known of the names of a whole program."""

    modules: dict[str, str]
    """Names that stand for modules and what was imported from them, by their full names."""
    defined: dict[str, ast.stmt]
    """Functions and classes, by names that stand for nothing else."""
    methods: set[str]
    """Names of methods, which may do other things than those of the types known here."""
    lazy: set[str]
    """Names of what can be gone through once: whoever reads it changes it."""
    bound: set[str]


def read_flows(statements: Sequence[ast.stmt]) -> list[Flow]:
    """The flow of each of the statements that a program consists of, in their order."""
    program = _survey(statements)
    facts = [_facts(statement, program) for statement in statements]
    later = _later(facts)
    groups = _groups(facts, program, later)
    return [_flow(statement, f, program, later, groups) for statement, f in zip(statements, facts, strict=True)]


# --- what is known of the whole program ---


def _survey(statements: Sequence[ast.stmt]) -> _Program:
    modules: dict[str, set[str]] = {}
    assigned: set[str] = set()
    defined: dict[str, ast.stmt] = {}
    methods: set[str] = set()
    for node in (n for statement in statements for n in ast.walk(statement)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                modules.setdefault(alias.asname or top, set()).add(alias.name if alias.asname else top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                modules.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined[node.name] = node
            methods |= (
                {n.name for n in node.body if isinstance(n, _FUNCTIONS)} if isinstance(node, ast.ClassDef) else set()
            )
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            assigned.add(node.id)
        elif isinstance(node, ast.arg):
            assigned.add(node.arg)
    others = assigned | defined.keys()
    certain = {name: next(iter(full)) for name, full in modules.items() if len(full) == 1 and name not in others}
    functions = {name: node for name, node in defined.items() if name not in assigned | methods | modules.keys()}
    program = _Program(certain, functions, methods, set(), others | modules.keys())
    while found := set(_lazy_names(statements, program)) - program.lazy:
        program.lazy |= found
    return program


def _lazy_names(statements: Sequence[ast.stmt], program: _Program) -> Iterator[str]:
    for node in (n for statement in statements for n in ast.walk(statement)):
        match node:
            case ast.Assign(targets=targets, value=value) if _is_lazy(value, program):
                yield from (name for target in targets for name in _names(target))
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                yield from _names(target) if _is_lazy(value, program) else ()
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                yield from _names(target) if _is_lazy(value, program) else ()
            case _:
                pass


def _is_lazy(node: ast.expr, program: _Program) -> bool:
    """Whether the value may be something that can be gone through once."""
    match node:
        case ast.GeneratorExp():
            return True
        case ast.Name():
            return node.id in program.lazy
        case ast.Call(func=ast.Name(id=name)) if name in words.EAGER and name not in program.defined:
            return False
        case ast.Call(func=func):
            last = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
            called = program.defined.get(last)
            full = _full_name(func, program)
            return (
                last in words.LAZY
                or full.startswith(("itertools.", "csv."))
                or (called is not None and _makes_lazy(called))
                or any(_is_lazy(child, program) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
            )
        case ast.ListComp() | ast.SetComp():
            return _is_lazy(node.elt, program)
        case _:
            return any(_is_lazy(child, program) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _makes_lazy(function: ast.stmt) -> bool:
    kinds = (ast.Yield, ast.YieldFrom, ast.GeneratorExp)
    return any(isinstance(n, kinds) or (isinstance(n, ast.Name) and n.id in words.LAZY) for n in ast.walk(function))


def _full_name(node: ast.expr, program: _Program) -> str:
    """`numpy.random.rand` for `np.random.rand`; empty for what does not begin with an imported name."""
    match node:
        case ast.Name():
            return program.modules.get(node.id, "")
        case ast.Attribute():
            start = _full_name(node.value, program)
            return f"{start}.{node.attr}" if start else ""
        case _:
            return ""


def _is_of(full: str, modules: Iterable[str]) -> bool:
    return any(full == module or full.startswith(f"{module}.") for module in modules)


# --- the facts of one statement ---


def _facts(statement: ast.stmt, program: _Program) -> _Facts:
    facts = _Facts()
    _Reader(program, facts, ()).visit(statement)
    return facts


class _Reader(ast.NodeVisitor):
    """Collects facts. `hidden`: the names of the scopes around, innermost last, and whether each is a class's."""

    def __init__(self, program: _Program, facts: _Facts, hidden: tuple[tuple[frozenset[str], bool], ...]) -> None:
        self._program, self._facts, self._hidden = program, facts, hidden

    def _is_hidden(self, name: str) -> bool:
        return any(name in names for names, _ in self._hidden)

    def _read(self, name: str) -> None:
        if not self._is_hidden(name):
            self._facts.reads.add(name)
            if name in self._program.lazy:
                self._facts.changes.add(name)

    def _bind(self, name: str) -> None:
        if not self._is_hidden(name):
            self._facts.binds.add(name)

    def _change(self, *nodes: ast.expr) -> None:
        """The objects that these expressions lead to may be changed in place."""
        names = {name for node in nodes for name in _owners(node)}
        self._facts.changes |= {n for n in names if not self._is_hidden(n) and n not in self._program.modules}

    def _effect(self, *names: str) -> None:
        self._facts.changes.update(names)

    def _share(self, *nodes: ast.expr, more: Iterable[str] = ()) -> None:
        names = {n for node in nodes for n in _names(node) if not self._is_hidden(n)}
        self._facts.shares.append(names | set(more))

    # names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        else:
            self._bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._set(node)
        elif node.attr in words.MUTATORS and not _full_name(node, self._program):
            self._change(node.value)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._set(node)
        self.generic_visit(node)

    def _set(self, node: ast.Attribute | ast.Subscript) -> None:
        """An attribute or an item is set or deleted."""
        full = next(filter(None, (_full_name(n, self._program) for n in ast.walk(node) if isinstance(n, ast.expr))), "")
        root = _root(node)
        if not full or not isinstance(root, ast.Name) or root.id not in self._program.modules:
            self._change(node.value)
        elif _is_of(full, words.FIGURE_MODULES):
            self._effect(FIGURES)
        else:
            self._effect(ALWAYS)
            self._facts.unclear |= isinstance(node, ast.Attribute) and "options" not in full.split(".")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
            self._change(node.target)
        self._share(node.target, *_shared(node.value, self._program))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._bound_to(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bound_to([node.target], node.value)
            self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bound_to([node.target], node.value)
        self.generic_visit(node)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._bound_to([node.target], node.iter)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        self._change(node.context_expr)
        if node.optional_vars is not None:
            self._bound_to([node.optional_vars], node.context_expr)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        captured = [_name(n) for n in ast.walk(node) if isinstance(n, (ast.MatchAs, ast.MatchStar)) and n.name]
        rests = [ast.Name(n.rest, ast.Store()) for n in ast.walk(node) if isinstance(n, ast.MatchMapping) and n.rest]
        self._bound_to([*captured, *rests], node.subject)
        for name in (*captured, *rests):
            self._bind(name.id)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def _bound_to(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        self._share(*targets, *_shared(value, self._program), more=self._outside(value))

    def _outside(self, value: ast.expr) -> Iterator[str]:
        """What of `FILES` and `FIGURES` the value is a handle of."""
        for node in ast.walk(value):
            if isinstance(node, ast.Call):
                full = _full_name(node.func, self._program)
                writes = isinstance(node.func, ast.Name) and node.func.id == "open" and not opened_to_read(node)
                if writes or _reaches_out(node, full):
                    yield FILES
                if _is_of(full, words.FIGURE_MODULES):
                    yield FIGURES

    # imports, scopes

    def visit_Import(self, node: ast.Import) -> None:
        self._facts.unclear |= any(_is_of(alias.name, words.LOOKING_BACK) for alias in node.names)
        for alias in node.names:
            self._bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._facts.unclear |= node.names[0].name == "*" or _is_of(node.module or "", words.LOOKING_BACK)
        for alias in node.names:
            self._bind(alias.asname or alias.name)

    def visit_Global(self, node: ast.Global) -> None:
        self._facts.unclear = True

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        quiet = all(_last_name(d) in words.QUIET_DECORATORS for d in node.decorator_list)
        keeps = any(not isinstance(d, ast.Constant) for d in (*node.args.defaults, *node.args.kw_defaults) if d)
        later = self._deferred(node, node.body)
        if (keeps or not quiet) and not self._is_hidden(node.name):
            later.changes.add(node.name)
        for outside in (*node.decorator_list, node.args, *([node.returns] if node.returns else [])):
            self.visit(outside)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._deferred(node, [node.body])
        self.visit(node.args)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None:
            self.visit(node.annotation)

    def _deferred(self, scope: _Scope, body: Sequence[ast.AST]) -> _Facts:
        """Read what happens when the function is called."""
        later = self._facts.later = self._facts.later or _Facts()
        outer = tuple(h for h in self._hidden if not h[1])
        inner = _Reader(self._program, later, (*outer, (_locals_of(scope), False)))
        for node in body:
            inner.visit(node)
        return later

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        own = frozenset(_bound_in(node.body))
        inner = _Reader(self._program, self._facts, (*self._hidden, (own, True)))
        for statement in node.body:
            inner.visit(statement)

    def _visit_comprehension(self, node: _Comprehension) -> None:
        own = frozenset(name for generator in node.generators for name in _names(generator.target))
        self.visit(node.generators[0].iter)
        inner = _Reader(self._program, self._facts, (*self._hidden, (own, False)))
        inner.generic_visit(node)
        if isinstance(node, ast.GeneratorExp):
            later = self._facts.later = self._facts.later or _Facts()
            _Reader(self._program, later, (*self._hidden, (own, False))).generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    # calls

    def visit_Expr(self, node: ast.Expr) -> None:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call):
            if self._is_unknown(node.value):
                self._effect(OUTPUT, FILES)
            elif _is_for_its_effect(_full_name(node.value.func, self._program)):
                self._effect(ALWAYS)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._effect(ALWAYS)
        self.generic_visit(node)

    def _is_unknown(self, call: ast.Call) -> bool:
        """Whether a call that nothing is made of may do anything at all."""
        match call.func:
            case ast.Name(id=name):
                known = name in self._program.defined or name in self._program.modules or self._is_hidden(name)
                return not known and (name not in words.BUILTINS or name in self._program.bound) and name != "print"
            case ast.Attribute(attr=name):
                doing = words.DOING | self._program.methods
                known = name in words.MUTATORS | words.WRITERS | words.PURE | words.PLOTTERS and name not in doing
                return not known and not _full_name(call.func, self._program)
            case _:
                return True

    def visit_Call(self, node: ast.Call) -> None:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        full = _full_name(node.func, self._program)
        if full:
            self._call_imported(node, full, arguments)
        elif isinstance(node.func, ast.Name):
            self._call_name(node, node.func.id, arguments)
        elif isinstance(node.func, ast.Attribute):
            self._call_method(node, node.func, arguments)
        else:
            self._change(node.func, *arguments)
            self._effect(OUTPUT, FILES)
        self.generic_visit(node)

    def _call_name(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> None:
        if name in self._program.bound:
            self._change(*arguments, *([] if name in self._program.defined else [node.func]))
        elif name in words.UNCLEAR:
            self._facts.unclear = True
        elif name == "print":
            target = [k.value for k in node.keywords if k.arg == "file"]
            self._change(*target)
            self._effect(FILES if target else OUTPUT)
        elif name == "open":
            self._open(node)
        elif name in ("exit", "quit"):
            self._effect(ALWAYS)
        elif name in words.MUTATING_BUILTINS:
            self._change(*arguments[:1])
        elif name not in words.BUILTINS:
            self._change(*arguments)
            self._effect(OUTPUT)

    def _open(self, node: ast.Call) -> None:
        self._facts.reads.add(FILES)
        if not opened_to_read(node):
            self._effect(FILES)

    def _call_method(self, node: ast.Call, function: ast.Attribute, arguments: list[ast.expr]) -> None:
        name = function.attr
        opens = name == "open" and not opened_to_read(node, 0)
        if name in words.WRITERS or (name == "replace" and len(arguments) == 1) or opens:
            self._change(function.value, *arguments)
            self._effect(FILES)
        if name in words.READERS or name in words.WRITERS:
            self._facts.reads.update((FILES, FIGURES) if name.startswith("save") else (FILES,))
        if name in words.PLOTTERS:
            self._effect(FIGURES)
        if any(keyword.arg == "inplace" for keyword in node.keywords):
            self._change(function.value)
        if name in words.MUTATORS:
            self._share(function.value, *arguments)
        elif not self._is_looking(name, arguments):
            self._change(function.value, *arguments)
            self._share(function.value, *arguments)

    def _is_looking(self, name: str, arguments: list[ast.expr]) -> bool:
        """Whether a method of this name leaves its object and its arguments alone."""
        if name in self._program.methods or name in words.MOVING or (name in words.DOING and not arguments):
            return False
        return name in words.PURE | words.WRITERS | words.PLOTTERS

    def _call_imported(self, node: ast.Call, full: str, arguments: list[ast.expr]) -> None:
        """A function of a module, or a method of something imported."""
        last = full.rpartition(".")[2]
        parts = full.split(".")
        root = _root(node.func)
        if not words.RANDOM.isdisjoint(parts) and isinstance(root, ast.Name):
            self._facts.changes.add(root.id)
        if last in words.WRITERS or _reaches_out(node, full):
            self._effect(FILES)
        if (
            last in words.READERS
            or last.startswith("read_")
            or last in words.WRITERS
            or _is_of(full, words.OUTER_MODULES)
        ):
            self._facts.reads.add(FILES)
        if _is_of(full, words.FIGURE_MODULES):
            self._facts.reads.add(FIGURES)
            self._effect(FIGURES)
        elif last in words.CHANGING or last in words.WRITERS or not _is_of(full, words.PURE_MODULES):
            self._change(*arguments)
        if last in words.TELLING or full.startswith(("sys.stdout.", "logging.", "subprocess.")):
            self._effect(OUTPUT)
        if full == "sys.exit" or _is_setting(full):
            self._effect(ALWAYS)


_SETTINGS = ("set", "use", "seed", "filterwarnings", "simplefilter", "basicConfig", "chdir", "insert", "register")


def _is_setting(full: str) -> bool:
    """`pandas.set_option`, `locale.setlocale`, `warnings.filterwarnings`, `sys.path.insert`, ..."""
    last = full.rpartition(".")[2]
    if _is_of(full, words.FIGURE_MODULES) or not words.RANDOM.isdisjoint(full.split(".")):
        return False
    return last.startswith(_SETTINGS) or full.startswith(("sys.path.", "os.environ."))


def _is_for_its_effect(full: str) -> bool:
    """Whether an imported function that nothing is made of does something that is not known here."""
    known = words.PURE_MODULES | words.OUTER_MODULES | words.FIGURE_MODULES | words.CHANGE_ARGUMENTS
    last = full.rpartition(".")[2]
    here = _is_of(full, known) or not words.RANDOM.isdisjoint(full.split(".")) or full.startswith("sys.stdout.")
    return bool(full) and not here and last not in words.TELLING | words.WRITERS


def _reaches_out(node: ast.Call, full: str) -> bool:
    """Whether a function of this full name may change what is outside of the program."""
    last = full.rpartition(".")[2]
    if not _is_of(full, words.OUTER_MODULES) or _is_of(full, words.PURE_MODULES) or last in words.LOOKING:
        return False
    return not (last in words.OPENING and opened_to_read(node))


def opened_to_read(node: ast.Call, at: int = 1) -> bool:
    """Whether a call of `open`, whose mode is the argument number `at`, certainly only reads."""
    modes = [*node.args[at : at + 1], *(k.value for k in node.keywords if k.arg == "mode")]
    if not modes:
        return not any(isinstance(a, ast.Starred) for a in node.args) and all(k.arg for k in node.keywords)
    mode = modes[0]
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and not set("wax+") & set(mode.value)


def _shared(value: ast.expr, program: _Program) -> Iterator[ast.expr]:
    """The parts of an expression that its value may share an object with."""
    match value:
        case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.UnaryOp():
            return
        case ast.Call(func=ast.Name(id=name)) if name in words.SCALARS and name not in program.bound:
            return
        case ast.Call(func=ast.Attribute(attr=name)) if name in words.TEXT - program.methods:
            if _full_name(value.func, program):
                yield value
        case ast.BinOp(left=left, right=right, op=op) if not isinstance(op, ast.Mult):
            if not any(
                isinstance(side, ast.Constant) and isinstance(side.value, (int, float)) for side in (left, right)
            ):
                yield from (left, right)
        case _:
            yield value


def _root(node: ast.expr) -> ast.expr:
    """Where a chain of attributes and items begins."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        node = node.value
    return node


def _owners(node: ast.expr) -> Iterator[str]:
    """The names whose objects `node` may be, or be a part of."""
    root = _root(node)
    if isinstance(root, ast.Name):
        yield root.id
    elif not isinstance(root, (ast.Constant, ast.JoinedStr, ast.Compare)):
        yield from (n.id for n in ast.walk(root) if isinstance(n, ast.Name))


def _names(node: ast.expr) -> Iterator[str]:
    yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _name(node: ast.MatchAs | ast.MatchStar) -> ast.Name:
    return ast.Name(node.name or "", ast.Store())


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _locals_of(scope: _Scope) -> frozenset[str]:
    a = scope.args
    arguments = {arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if arg}
    return frozenset(arguments | (set() if isinstance(scope, ast.Lambda) else _bound_in(scope.body)))


def _bound_in(body: Sequence[ast.stmt]) -> set[str]:
    """Names that a scope's own statements bind, but for those that it declares to be of another scope."""
    found: set[str] = set()
    others: set[str] = set()
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                found |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
                continue
            case ast.Name(ctx=ast.Store() | ast.Del()):
                found.add(node.id)
            case ast.Import() | ast.ImportFrom():
                found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            case ast.Nonlocal() | ast.Global():
                others |= set(node.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
            case _:
                pass
        todo += ast.iter_child_nodes(node)
    return found - others


# --- from facts to flows ---


def _later(facts: Sequence[_Facts]) -> dict[str, _Facts]:
    """For each name, what may happen when it is used: the functions that it is, holds or was made by are called."""
    later: dict[str, _Facts] = {}
    feeds: dict[str, set[str]] = {}
    for f in facts:
        for name in f.binds | f.changes:
            feeds.setdefault(name, set()).update(f.reads)
            if f.later is not None:
                _merge(later.setdefault(name, _Facts()), f.later)
                feeds[name] |= f.later.reads
    changed = True
    while changed:
        changed = False
        for name, sources in feeds.items():
            mine = later.get(name, _Facts())
            size = len(mine.reads) + len(mine.changes)
            for source in sources & later.keys():
                _merge(mine, later[source])
            if len(mine.reads) + len(mine.changes) > size:
                later[name] = mine
                changed = True
    return later


def _merge(into: _Facts, other: _Facts) -> None:
    into.reads |= other.reads
    into.changes |= other.changes
    into.unclear |= other.unclear


def _groups(facts: Sequence[_Facts], program: _Program, later: dict[str, _Facts]) -> dict[str, frozenset[str]]:
    """For each name those that may stand for the same object, or for a part of it."""
    groups: dict[str, set[str]] = {}
    for shared in (group for f in facts for part in (f, f.later) if part is not None for group in part.shares):
        names = {inner for name in shared for inner in _state_of(name, program, later)}
        merged = set(names).union(*(groups.get(name, set()) for name in names))
        for name in merged:
            groups[name] = merged
    return {name: frozenset(group) for name, group in groups.items()}


def _state_of(name: str, program: _Program, later: dict[str, _Facts]) -> Iterator[str]:
    """A module is nobody's part, and of a function it is what it reads from outside."""
    if name in program.modules:
        full = program.modules[name]
        yield from (FIGURES,) if _is_of(full, words.FIGURE_MODULES) else ()
    elif name in program.defined and name in later:
        known = program.modules.keys() | program.defined.keys()
        yield from (inner for inner in later[name].reads - known if inner in program.bound)
    else:
        yield name


def _flow(
    statement: ast.stmt,
    facts: _Facts,
    program: _Program,
    later: dict[str, _Facts],
    groups: dict[str, frozenset[str]],
) -> Flow:
    whole = _Facts(set(facts.reads), set(facts.binds), set(facts.changes), unclear=facts.unclear)
    for name in facts.reads & later.keys():
        _merge(whole, later[name])
    if facts.later is not None:
        whole.unclear |= facts.later.unclear
    changes = whole.changes.union(*(groups.get(name, _NOTHING) for name in whole.changes))
    return Flow(
        frozenset(whole.reads),
        frozenset(whole.binds),
        frozenset(_killed(statement)),
        frozenset(changes),
        whole.unclear,
    )


def _killed(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.Assign(targets=targets):
            for target in targets:
                parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
                yield from (part.id for part in parts if isinstance(part, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        case _:
            pass
