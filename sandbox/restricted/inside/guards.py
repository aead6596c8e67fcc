"""The guards that `grammar` puts into programs, and the built-in functions that take the name of an attribute.

An object is the program's *own* when its class is: only of those can private attributes be read, and only those, and
containers, can be written to.
"""

from __future__ import annotations

import collections
import decimal
import string
import types
from collections.abc import Callable
from typing import Any, cast

from .grammar import CHECKED, is_private, refused_attribute

__all__ = [
    "Kind",
    "Type",
    "attributes",
    "delete",
    "has",
    "listed",
    "own",
    "place",
    "places",
    "read",
    "type_of",
    "write",
]

_MISSING = object()
_TUPLES = frozenset({"_asdict", "_replace", "_fields", "_make", "_field_defaults"})
"""What a named tuple has for everybody, in spite of its name."""
_WRITABLE = {
    *(dict, list, bytearray, memoryview, decimal.Context),
    *(collections.defaultdict, collections.OrderedDict, collections.Counter, collections.deque),
    *(collections.ChainMap, collections.UserDict, collections.UserList),
}
_shown: set[type] = {
    *(bool, int, float, complex, str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset, range, slice),
    *(type(None), type(...), type(NotImplemented), object, property, staticmethod, classmethod, enumerate, zip, map),
    *(filter, reversed, types.GeneratorType),
}
"""Classes that a program may have for asking what something is. That of a file, say, would open any other."""
_main: list[dict[str, Any]] = []


def places(names: dict[str, Any], classes: set[type]) -> None:
    """Say what the program's global names are, and which classes it can import."""
    _main[:] = [names]
    _shown.update(classes)


def _is_made_here(kind: type) -> bool:
    """Whether a class is the program's: the class statement notes where, and no program can set that."""
    return vars(kind).get("__module__") == "__main__"


def _is_own(value: Any) -> bool:
    """Whether `value` is a class of the program, an object of one, or a function of the program."""
    kind = cast("type[Any]", type(value))
    if kind is super:
        return _is_own(value.__self__)
    if kind is types.FunctionType:
        return bool(_main) and value.__globals__ is _main[0]
    return _is_made_here(value if issubclass(kind, type) else kind)


def own(value: Any, name: str) -> Any:
    """`value`, of which a private attribute is to be read, as the compiler has it. Raises `AttributeError` when that is
    not of the program's making: what its classes inherit from others is none of its business."""
    if (_is_own(value) and _has_made(value, name)) or (name in _TUPLES and _is_named_tuple(value)):
        return value
    raise AttributeError(f"a {type(value).__name__} has no private attribute {name!r} of yours")


def _has_made(value: Any, name: str) -> bool:
    """Whether an attribute stands in an object of the program, or in one of its classes."""
    bound: Any = value if cast("type[Any]", type(value)) is not super else value.__self__
    kind = cast("type[Any]", bound if isinstance(bound, type) else type(bound))
    made = any(name in vars(one) for one in kind.__mro__ if _is_made_here(one))
    return made or (kind is not bound and name in getattr(bound, "__dict__", ()))


def _is_named_tuple(value: Any) -> bool:
    kind = cast("type[Any]", value if isinstance(value, type) else type(value))
    return "_fields" in vars(kind) and tuple in kind.__mro__


def write(value: Any) -> Any:
    """`value`, which is to be written to. Raises `TypeError` when it may not."""
    if type(value) in _WRITABLE or _is_own(value):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be written to here: only containers and objects of your classes")


def read(value: Any, name: str, default: Any = _MISSING) -> Any:
    """The built-in `getattr`, for names that a program may ask for. Raises `AttributeError`, `TypeError`."""
    _check_name(value, name)
    match name:
        case "__class__":
            if not _is_own(value):
                raise AttributeError("the attribute `__class__` is not allowed: use type(...)")
            return type_of(value)
        case "__dict__":
            if not _is_own(value) or isinstance(value, (type, types.FunctionType)):
                raise AttributeError("the attribute `__dict__` is not allowed")
            return cast("dict[str, Any]", vars(value))
        case "__init__" | "__new__" if not (isinstance(value, type) or _is_own(value)):
            raise AttributeError(f"the attribute `{name}` of a {type(value).__name__} is not allowed")
        case "obj" if isinstance(value, BaseException) or _is_subclass(value, BaseException):
            raise AttributeError("the attribute `obj` of an exception is not allowed")
        case _:
            found = getattr(value, name) if default is _MISSING else getattr(value, name, default)
            return _formatting(found) if name in ("format", "format_map") else found


def _is_subclass(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


def _check_name(value: Any, name: str) -> None:
    if type(name) is not str:  # a subclass could be another name the next time it is looked at
        raise TypeError("the name of an attribute must be a plain str")
    if why := refused_attribute(name):
        raise AttributeError(why)
    if is_private(name):
        own(value, name)


def has(value: Any, name: str) -> bool:
    """The built-in `hasattr`."""
    try:
        read(value, name)
    except AttributeError:
        return False
    return True


def place(value: Any, name: str, new: Any) -> None:
    """The built-in `setattr`."""
    _check_placed(value, name)
    setattr(write(value), name, new)


def delete(value: Any, name: str) -> None:
    """The built-in `delattr`."""
    _check_placed(value, name)
    delattr(write(value), name)


def _check_placed(value: Any, name: str) -> None:
    _check_name(value, name)
    if name.startswith("__") or name in CHECKED - {"format", "obj"}:
        raise AttributeError(f"the attribute {name!r} cannot be set")


def listed(value: Any = _MISSING) -> list[str]:
    """The built-in `dir`, without what cannot be asked for."""
    names: list[str] = sorted(_main[0]) if value is _MISSING else dir(value)
    return [name for name in names if not name.startswith("_")]


def attributes(value: Any) -> dict[str, Any]:
    """The built-in `vars`."""
    return read(value, "__dict__")


# -- formats ---------------------------------------------------------------------------------------------------------


_split: Callable[[str], tuple[Any, list[tuple[bool, Any]]]] = vars(string)["_string"].formatter_field_name_split


class _Formatter(string.Formatter):
    """`str.format`, whose fields lead only where a program may go."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        first, rest = _split(field_name)
        value = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            value = read(value, key) if is_attribute else value[key]
        return value, first


_formatter = _Formatter()


def _formatting(found: Any) -> Any:
    """In the place of a method of `str` that formats, one that looks at attributes by the guard."""
    text = getattr(found, "__self__", None)
    if isinstance(found, types.BuiltinFunctionType) and isinstance(text, str):
        return _format_map(text) if found.__name__ == "format_map" else _format(text)
    if isinstance(found, types.MethodDescriptorType) and found.__objclass__ is str:
        return _format_of if found.__name__ == "format" else _format_map_of
    return found


def _format_of(text: str, *args: Any, **values: Any) -> str:
    return _format(str(text))(*args, **values)


def _format_map_of(text: str, mapping: Any) -> str:
    return _format_map(str(text))(mapping)


def _format(text: str) -> Callable[..., str]:
    def format(*args: Any, **values: Any) -> str:
        return _formatter.vformat(text, args, values)

    return format


def _format_map(text: str) -> Callable[[Any], str]:
    def format_map(mapping: Any) -> str:
        return _formatter.vformat(text, (), mapping)

    return format_map


# -- types -----------------------------------------------------------------------------------------------------------


class Kind:
    """A class that a program may compare and name, and not call."""

    __slots__ = ("__name__", "__qualname__", "_is")

    def __init__(self, kind: type) -> None:
        self.__name__ = self.__qualname__ = kind.__name__
        self._is = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and self._is is other._is

    def __hash__(self) -> int:
        return hash(self._is)

    def __repr__(self) -> str:
        return repr(self._is)


class _Classes(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return issubclass(type(value), type)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, type)

    def __call__(cls, *args: Any) -> Any:
        if len(args) != 1:
            raise TypeError("`type` makes no classes here: write a class statement")
        return type_of(args[0])

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __repr__(cls) -> str:
        return "<class 'type'>"

    def __or__(cls, other: Any) -> Any:
        return cls


class Type(metaclass=_Classes):
    """The built-in `type`, with one argument."""

    def __init_subclass__(cls) -> None:
        raise TypeError("metaclasses are not allowed")


Type.__name__ = Type.__qualname__ = "type"


def type_of(value: Any) -> Any:
    """The class of `value`, or what stands for it."""
    kind = cast("type[Any]", type(value))
    if issubclass(kind, type):
        return Type
    return kind if _is_made_here(kind) or kind in _shown or issubclass(kind, BaseException) else Kind(kind)
