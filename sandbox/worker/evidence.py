"""What to tell about an exception, gathered where it happened: the failing line, a few locals, what was available.

Nothing here may fail, however hostile the objects are: every look at one is guarded and capped.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import linecache
import os
import reprlib
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from itertools import islice
from types import FrameType
from typing import Any, cast

__all__ = ["names_of", "prepare", "problem", "text_of"]

_LOCALS = 6
_CHOICES = 25
_SHORT = 80
_MOST_NAMES, _PREVIEW = 500, 300
_NETWORKING = ("asyncio", "http", "socket", "urllib")
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/"
"""Where our own code lies: what guards a restricted program is called by it."""
_hosts: list[str] = []
"""What the network leads to."""


def prepare(hosts: Iterable[str]) -> None:
    """Make the first exception as fast as the next ones. `hosts` is what the network leads to."""
    _hosts[:] = hosts
    try:
        raise ValueError("warm")
    except ValueError as error:
        problem(error, "<none>", {}, 100)


def text_of(value: Any, limit: int, how: Callable[[Any], str] = repr) -> str:
    """`repr` of any object, cut to `limit` characters; never raises."""
    try:
        text = str.__str__(how(value))
    except BaseException as error:  # a hostile __repr__ may raise anything
        text = f"<unrepresentable {type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: max(0, limit - 20)]} ... ({len(text)} chars)"


def names_of(names: dict[str, Any]) -> list[list[str]]:
    """Name, type and preview of what a program has defined. Only objects of known types are looked into: the `repr` of
    another one is the program's code, and may take for ever."""
    found: list[list[str]] = []
    for name, value in list(names.items()):
        if not name.startswith("_") and len(found) < _MOST_NAMES:
            found.append([name[:_SHORT], type(value).__name__[:_SHORT], _preview(value)[:_PREVIEW]])
    return found


def _preview(value: Any) -> str:
    kind = cast("type[Any]", type(value))
    try:
        match kind.__module__.partition(".")[0], kind.__name__:
            case "pandas", "DataFrame":
                return f"{len(value)} rows, columns {_listed(list(value.columns[:_CHOICES]))}"
            case "pandas", "Series":
                return f"{len(value)} values of {value.dtype}"
            case "numpy", "ndarray":
                return f"shape {value.shape} of {value.dtype}"
            case "builtins", "function":
                return f"{value.__name__}{inspect.signature(value)}"
            case ("builtins", "type") | (_, "module"):
                return value.__name__
            case ("builtins" | "datetime" | "decimal" | "fractions" | "pathlib", _):
                return reprlib.repr(value)
            case _:
                return ""
    except BaseException:  # whatever the program has made of them
        return ""


def problem(error: BaseException, name: str, names: dict[str, Any], limit: int) -> dict[str, Any]:
    """The claim about an exception: type, message, line, source, traceback, notes."""
    frame, line = _place(error, name)
    if isinstance(error, SyntaxError) and error.filename == name:
        line = error.lineno
    source = linecache.getline(name, line).strip() if line else ""
    return {
        "type": type(error).__name__[:200],
        "message": text_of(error, limit // 4, str),
        "line": line,
        "source": source[:500],
        "traceback": _traceback(error, name)[-limit:],
        "notes": _notes(error, frame, source, names),
    }


def _place(error: BaseException, name: str) -> tuple[FrameType | None, int | None]:
    """The innermost frame of the program itself, and its line."""
    frame, line, trace = None, None, error.__traceback__
    for _ in range(10_000):
        if trace is None:
            break
        if trace.tb_frame.f_code.co_filename == name:
            frame, line = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return frame, line


def _traceback(error: BaseException, name: str) -> str:
    """The traceback from the program's first frame on: none of ours."""
    try:
        whole = traceback.TracebackException.from_exception(error, limit=-30, compact=True)
        ours = [i for i, entry in enumerate(whole.stack) if entry.filename.startswith("<program")]
        shown = whole.stack[ours[0] :] if ours else []
        whole.stack[:] = [entry for entry in shown if not entry.filename.startswith(_OURS)]
        return "".join(whole.format(chain=False))
    except BaseException:
        return f"{type(error).__name__}"


def _notes(error: BaseException, frame: FrameType | None, source: str, names: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    for gather in (_choices, _network, _values):
        try:
            notes += gather(error, frame, source, names)
        except BaseException:  # noqa: S112
            continue
    return [note[:600] for note in notes[:8]]


def _scope(frame: FrameType | None, names: dict[str, Any]) -> dict[str, Any]:
    return {**names, **frame.f_locals} if frame else dict(names)


def _choices(error: BaseException, frame: FrameType | None, source: str, names: dict[str, Any]) -> list[str]:
    """The admissible alternatives to what failed."""
    scope = _scope(frame, names)
    if isinstance(error, KeyError):
        return _keys(error, source, scope)
    if isinstance(error, FileNotFoundError):
        return _files(error)
    if isinstance(error, AttributeError):
        return _attributes(error)
    if isinstance(error, NameError):
        return _close("close names", error.name, [*scope, *dir(builtins)])
    if isinstance(error, ImportError):
        return _imports(error)
    if isinstance(error, TypeError):
        return _signatures(source, scope)
    if isinstance(error, ValueError):
        return _conversions(str(error))
    return []


def _close(label: str, wanted: Any, available: Iterable[Any]) -> list[str]:
    texts = [str(a) for a in available]
    found = difflib.get_close_matches(str(wanted), texts, n=5, cutoff=0.5)
    lowered = [t for t in texts if t.lower().strip() == str(wanted).lower().strip() and t not in found]
    return [f"{label}: {', '.join(map(repr, lowered + found))}"] if found or lowered else []


def _keys(error: KeyError, source: str, scope: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    wanted = error.args[0] if error.args else ""
    for name in _names_in(source):
        what, keys = _subscripts(scope.get(name))
        if what:
            notes.append(f"{name} has the {what}: {_listed(keys)}")
            notes += _close(f"close {what}", wanted, keys)
    return notes[:4]


def _subscripts(value: Any) -> tuple[str, list[Any]]:
    """What `value` can be subscripted with, and what those are called."""
    match type(value).__name__:
        case "DataFrame":
            return "columns", list(value.columns[:2000])
        case "Series":
            return "index", list(value.index[:2000])
        case _ if isinstance(value, dict):
            return "keys", list(islice(cast("dict[Any, Any]", value), 2000))
        case _ if isinstance(value, list) and value and isinstance(value[0], dict):
            return "keys in each item", list(islice(cast("dict[Any, Any]", value[0]), 2000))
        case _:
            return "", []


def _names_in(source: str) -> list[str]:
    """Variable names in a line of code, whether or not it is whole."""
    for text in (source, source.rstrip(":") + ": pass", source + " pass", "if x:pass\n" + source):
        try:
            tree = ast.parse(text.strip())
        except SyntaxError:
            continue
        return list(dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)))
    words = "".join(c if c.isidentifier() or c.isdigit() else " " for c in source).split()
    return list(dict.fromkeys(words))


def _listed(items: list[Any]) -> str:
    shown = ", ".join(text_of(i, _SHORT) for i in items[:_CHOICES])
    return shown + (f", ... ({len(items)} in all)" if len(items) > _CHOICES else "")


def _files(error: FileNotFoundError) -> list[str]:
    wanted = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    here = [os.path.join(top, f)[2:] for top, _, files in _walk(".") for f in files]
    return [f"the files are: {_listed(sorted(here))}", *_close("close names", wanted, here)]


def _walk(top: str) -> Iterable[tuple[str, list[str], list[str]]]:
    for count, entry in enumerate(os.walk(top)):
        if count > 50:
            return
        entry[1][:] = [d for d in entry[1] if not d.startswith(".")]
        yield entry


def _attributes(error: AttributeError) -> list[str]:
    owner = error.obj
    if error.name is None:  # raised by hand
        return []
    if owner is None:
        return [f"what stands before .{error.name} is None here: check for None first, and skip such items"]
    label = f"{getattr(owner, '__name__', type(owner).__name__)} has"
    return _close(label, error.name, [a for a in dir(owner) if not a.startswith("_")])


def _imports(error: ImportError) -> list[str]:
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").split(".")[0]
        return [
            f"the package {top} is not installed; use the standard library or another package",
            *_close("close names", top, sys.stdlib_module_names),
        ]
    module = sys.modules.get(error.name or "")
    wanted = str(error).split("'")[1] if "'" in str(error) else ""
    return _close(f"{error.name} has", wanted, [a for a in dir(module) if not a.startswith("_")]) if module else []


def _network(error: BaseException, frame: FrameType | None, source: str, names: dict[str, Any]) -> list[str]:
    """What can be reached, where the cause of the error is that something else was asked for."""
    cause: BaseException | None = error
    for _ in range(20):
        if cause is None:
            break
        if _is_of_network(cause):
            there_is = f"from here only {', '.join(_hosts)} can be reached" if _hosts else "there is no network here"
            return [f"{there_is} (--allow-host NAME:PORT lets programs reach a host)"]
        cause = cause.__cause__ or cause.__context__
    return []


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        return True
    if not isinstance(error, PermissionError):
        return "--allow-host" in text_of(error, 2000, str)  # what the proxy says
    trace, modules = error.__traceback__, set[str]()
    while trace is not None:
        modules.add(str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    return error.filename is None and not modules.isdisjoint(_NETWORKING)


def _conversions(message: str) -> list[str]:
    """What to do about a value that is no number or date as it stands."""
    value = message.partition(": ")[2].strip("'\"")
    if message.startswith("time data"):
        return ["dates come in more than one form: try each form"]
    if "could not convert string to float" not in message and "invalid literal for int" not in message:
        return []
    if not value.strip():
        return ["some values are blank: skip them"]
    if "," in value:
        return ["numbers are written with commas: remove them before converting"]
    if any(c.isdigit() for c in value):
        return ["numbers come with other characters: remove those before converting"]
    return ["some values are no numbers: skip them"]


def _signatures(source: str, scope: dict[str, Any]) -> list[str]:
    """Signatures of the functions called on the line."""
    notes: list[str] = []
    try:
        calls = [n.func for n in ast.walk(ast.parse(source.rstrip(":"))) if isinstance(n, ast.Call)]
    except SyntaxError:
        return []
    for func in calls[:3]:
        value = scope.get(func.id) if isinstance(func, ast.Name) else None
        if inspect.isfunction(value):
            notes.append(f"signature: {value.__name__}{inspect.signature(value)}")
    return notes


def _values(error: BaseException, frame: FrameType | None, source: str, names: dict[str, Any]) -> list[str]:
    """Values of the variables on the failing line."""
    scope = _scope(frame, names)
    shown: list[str] = []
    for name in _names_in(source):
        value = scope.get(name, _values)
        if value is _values or callable(value) or inspect.ismodule(value):
            continue
        shown.append(f"{name} = {_describe(value)}")
    return ["; ".join(shown[:_LOCALS])] if shown else []


def _describe(value: Any) -> str:
    kind = type(value).__name__
    if kind in ("DataFrame", "ndarray"):
        return f"{kind} of shape {value.shape}"
    return (
        text_of(value, _SHORT)
        if isinstance(value, (str, int, float, bool, type(None)))
        else f"{kind} {text_of(value, _SHORT)}"
    )
