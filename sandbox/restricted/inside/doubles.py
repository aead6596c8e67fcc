"""What stands in for functions of the standard library that would lead past the guards."""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from . import files, guards

__all__ = ["NOW", "THINGS", "harden"]

_DEEPEST = 20_000
"""Calls within calls: more would need more stack than there is."""


def attrgetter(*paths: str) -> Callable[[Any], Any]:
    """`operator.attrgetter`, by the guard."""

    def get(value: Any) -> Any:
        found = tuple(functools.reduce(guards.read, path.split("."), value) for path in paths)
        return found[0] if len(found) == 1 else found

    return get


def methodcaller(name: str, /, *args: Any, **values: Any) -> Callable[[Any], Any]:
    """`operator.methodcaller`, by the guard."""
    return lambda value: guards.read(value, name)(*args, **values)


def wraps(wrapped: Any) -> Callable[[Any], Any]:
    """`functools.wraps`, for functions of the program, and what is told of them."""

    def decorate(wrapper: Any) -> Any:
        if guards.write(wrapper) is wrapper and isinstance(wrapper, types.FunctionType):
            for name in ("__name__", "__qualname__", "__doc__"):
                if isinstance(text := getattr(wrapped, name, None), str):
                    setattr(wrapper, name, text)
        return wrapper

    return decorate


def total_ordering(made: type) -> type:
    """`functools.total_ordering`, for classes of the program."""
    return functools.total_ordering(guards.write(made))


def dataclass(made: Any = None, /, **options: Any) -> Any:
    """`dataclasses.dataclass`, for classes of the program."""
    if made is None:
        return functools.partial(dataclass, **options)
    for name in guards.write(made).__annotations__:
        if not name.isidentifier():  # they are written into code; those of a TypedDict may be anything
            raise TypeError(f"the name {name!r} of a field is not allowed")
    return dataclasses.dataclass(made, **options)


def set_recursion_limit(limit: int) -> None:
    """`sys.setrecursionlimit`, within reason."""
    sys.setrecursionlimit(min(limit, _DEEPEST))


def exit_program(code: Any = None) -> None:
    """`sys.exit`."""
    raise SystemExit(code)


def harden() -> None:
    """Have enumerations made by a call take plain names only: one could make a class with any special method."""
    kind: Any = enum.EnumType
    create = kind._create_

    def checked(cls: Any, class_name: str, names: Any, **options: Any) -> Any:
        if isinstance(names, str):
            names = names.replace(",", " ").split()
        names = [*names.items()] if isinstance(names, dict) else [*names]
        members = [name if type(name) is str else tuple(name) for name in names]
        for member in members:
            name: Any = member if type(member) is str else member[0]
            if type(name) is not str or name.startswith("_"):
                raise TypeError(f"the name {name!r} of a member is not allowed")
        return create(cls, class_name, members, **options)

    kind._create_ = checked


class _Streams:
    """`sys.stdout` and the like, as they are at the time: what the program's process has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, text: str) -> int:
        return getattr(sys, self._name).write(text)

    def flush(self) -> None:
        getattr(sys, self._name).flush()

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


class _Input:
    """`sys.stdin`, which is at its end."""

    def read(self, size: int = -1) -> str:
        return sys.stdin.read(size)

    def readline(self) -> str:
        return sys.stdin.readline()

    def readlines(self) -> list[str]:
        return sys.stdin.readlines()

    def __iter__(self) -> Any:
        return iter(self.readlines())

    def isatty(self) -> bool:
        return False


THINGS: dict[str, dict[str, Any]] = {
    "abc": {"ABCMeta": "ABCMeta"},
    "dataclasses": {"dataclass": dataclass},
    "functools": {"wraps": wraps, "total_ordering": total_ordering},
    "glob": {"glob": files.find, "iglob": files.find},
    "operator": {"attrgetter": attrgetter, "methodcaller": methodcaller},
    "os": dict(files.FUNCTIONS),
    "os.path": dict(files.PATH_FUNCTIONS),
    "pathlib": dict.fromkeys(("Path", "PurePath", "PosixPath", "PurePosixPath"), files.Path),
    "sys": {
        "exit": exit_program,
        "setrecursionlimit": set_recursion_limit,
        "stdout": _Streams("stdout"),
        "stderr": _Streams("stderr"),
        "stdin": _Input(),
    },
}
"""By module and name."""
NOW: dict[str, dict[str, Callable[[], Any]]] = {"sys": {"argv": lambda: list(sys.argv)}}
"""What is asked for each time."""
