"""What `worker.runner` asks about the programs that it runs: their syntax tree, and what their names begin with."""

from __future__ import annotations

import ast
import builtins
from typing import Any

from RestrictedPython import Guards

from . import files, guards, modules
from .grammar import Grammar, first_line

__all__ = ["Restricted"]

_PLAIN = """
    NotImplemented all any ascii bin bytearray bytes classmethod dict enumerate filter format frozenset input iter list
    map max memoryview min next object print property reversed set sorted staticmethod sum super tuple zip
    BlockingIOError BrokenPipeError ChildProcessError ConnectionError EncodingWarning
    FileExistsError FileNotFoundError InterruptedError IsADirectoryError ModuleNotFoundError NotADirectoryError
    PermissionError ProcessLookupError RecursionError ResourceWarning StopAsyncIteration TimeoutError
    """.split()
"""Built-in functions and classes that take no name of an attribute."""


def _exit(code: Any = None) -> None:
    raise SystemExit(code)


class Restricted:
    """The language of restricted programs."""

    def __init__(self) -> None:
        modules.load()
        plain = {name: getattr(builtins, name) for name in _PLAIN}
        self.builtins: dict[str, Any] = {
            **vars(Guards)["safe_builtins"],
            **plain,
            "__import__": modules.import_module,
            "__name__": "builtins",
            "_ABC_": modules.import_module("abc").ABC,
            "_own_": guards.own,
            "_read_": guards.read,
            "_write_": guards.write,
            "delattr": guards.delete,
            "dir": guards.listed,
            "exit": _exit,
            "getattr": guards.read,
            "hasattr": guards.has,
            "open": files.open_file,
            "quit": _exit,
            "setattr": guards.place,
            "type": guards.Type,
            "vars": guards.attributes,
        }

    def begin(self, names: dict[str, Any], folder: str) -> None:
        """Begin with a program's global names, in its folder."""
        guards.places(names, modules.classes())
        files.begin(folder)

    def parse(self, code: str, name: str) -> Any:
        """The tree of a program, with the guards in it. Raises `SyntaxError` for what it may not say."""
        tree: Any = compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        grammar = Grammar()
        grammar.visit(tree)
        if grammar.problems:
            text, line, column = first_line(grammar.problems)
            source = code.splitlines()[line - 1] if line <= len(code.splitlines()) else ""
            raise SyntaxError(text, (name, line, column, source))
        return tree
