"""The program's own process: executes code in `__main__`, and says what came of it.

Everything it says is a claim: the code it ran could have said it instead. It answers on the control channel with one
`display` frame per figure (the figure, or why there is none) and one `result` frame per execution, and echoes `sync`
frames.
"""

from __future__ import annotations

import ast
import base64
import builtins
import gc
import importlib
import io
import linecache
import os
import random
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol, cast

from . import copies, everyday, evidence, forking, root, wire

__all__ = ["Language", "prepare", "serve", "speak"]

_WARM = [
    "bisect",
    "calendar",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "csv",
    "ctypes",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "glob",
    "heapq",
    "inspect",
    "io",
    "itertools",
    "json",
    "math",
    "multiprocessing",
    "operator",
    "os",
    "pathlib",
    "pickle",
    "random",
    "re",
    "shutil",
    "string",
    "struct",
    "subprocess",
    "tempfile",
    "textwrap",
    "time",
    "traceback",
    "types",
    "typing",
    "urllib.parse",
    "warnings",
]
"""Modules loaded once, before any program, so that importing them later costs nothing. Each costs a little of every
session, since forking copies the page tables: those are left out that fewer programs need, and take a millisecond or
two to import. asyncio, which brings ssl, would take a quarter of a session's time."""
_settings: dict[str, Any] = {}


class Language(Protocol):
    """What programs are written in."""

    builtins: Any
    """What a program finds as `__builtins__`."""

    def begin(self, names: dict[str, Any], folder: str) -> None:
        """Begin with a program's global names, in its folder."""
        ...

    def parse(self, code: str, name: str) -> Any:
        """The tree (`ast.Module`) of a program. Raises `SyntaxError`."""
        ...


class _Python:
    """The whole language."""

    builtins: Any = builtins

    def begin(self, names: dict[str, Any], folder: str) -> None:
        pass

    def parse(self, code: str, name: str) -> Any:
        return compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)


_python = _Python()
_spoken: list[Language] = [_python]


def speak(language: Language) -> None:
    """Have programs be of `language`, all but those that the host says are its own."""
    _spoken[:] = [language]


def prepare(config: dict[str, Any]) -> None:
    """Warm up, in the zygote: import what programs commonly use and set what every program finds."""
    for name in _WARM:
        __import__(name)
    sys.path[:] = [*(p for p in sys.path if p), *config["paths"]]
    sys.dont_write_bytecode = True
    sys.argv = ["program.py"]
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the host may have been started with it ignored
    _preload(config["preload"])
    names = ("value_chars", "displays", "display_bytes", "displays_bytes", "display_pixels")
    _settings.update({name: config[name] for name in names})
    _streams()
    everyday.install()


def serve(control: int, folder: str = root.WORK) -> NoReturn:
    """Answer the host until it hangs up. `folder` is the program's view. Never returns."""
    channel = socket.socket(fileno=control)
    forking.register()
    random.seed()
    sys.path.append(folder)  # last: a file of the user never takes the place of a module or package
    path = f"{folder}/program.py"  # there is no such file, but data files are beside it
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path)
    _spoken[0].begin(main.__dict__, folder)
    sys.modules["__main__"] = main
    everyday.begin(path)
    gc.enable()
    _touch(channel)
    wire.send(channel, {"op": "hello", "pid": os.getpid()})
    while True:
        channel = _answer(channel, main.__dict__)


def _touch(channel: socket.socket) -> None:
    """Execute nothing: what a first execution takes in page faults is then taken before anybody waits for it."""
    result = _execute(channel, {"id": 0, "code": "print(end='')\n0"}, {})
    wire.encode({"op": "result", "id": 0, **result})


def _preload(names: list[str]) -> None:
    """Import what the policy asks for. Raises `ImportError`; `RuntimeError` for what starts threads, which no fork
    takes along."""
    for name in names:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError(f"{', '.join(names)}: a module started a thread")


def _streams() -> None:
    """What programs print to and read from: descriptors 0 to 2, whatever they will be in the program's process."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _stream(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _answer(channel: socket.socket, names: dict[str, Any]) -> socket.socket:
    """Answer one request; returns the channel to go on with, another one in a checkpoint."""
    got = wire.receive(channel)
    if got is None:
        os._exit(0)
    message, fds = got
    match message["op"]:
        case "sync":
            wire.send(channel, message)
        case "checkpoint":
            return _copy(channel, fds, copies.freeze)
        case "branch":
            return _copy(channel, fds, copies.branch)
        case "names":
            wire.send(channel, {"op": "names", "id": message["id"], "names": evidence.names_of(names)})
        case _:
            result = _execute(channel, message, names)
            mapped = "mmap" in sys.modules
            wire.send(channel, {"op": "result", "id": message["id"], "mapped": mapped, **result})
    return channel


def _copy(
    channel: socket.socket, fds: list[int], make: Callable[[list[int], str], copies.Copy | None]
) -> socket.socket:
    """Make a copy of this process; returns the channel to go on with, in a copy that was woken its own."""
    try:
        copy = make(fds, _folder())
    except copies.CannotCopy as error:
        with socket.socket(fileno=fds.pop(0)) as asked:
            wire.send(asked, {"op": "failed", "step": "checkpoint", "message": str(error)})
        copy = None
    if copy is None:
        for fd in fds:
            os.close(fd)
        return channel
    channel.close()
    if (got := wire.receive(copy.channel)) is None:
        os._exit(0)
    copy.wake()
    wire.send(copy.channel, got[0])
    return copy.channel


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return root.WORK


def _execute(channel: socket.socket, message: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Run one program; what it claims: value, error, exit code."""
    name = f"<program {message['id']}>" if message["id"] > 1 else "<program>"
    code: str = message["code"]
    lines = (len(code), None, code.splitlines(keepends=True), name)
    linecache.cache[name] = linecache.cache[everyday.file()] = lines
    before = set(threading.enumerate())
    language = _spoken[0]
    if message.get("own") and language is not _python:  # what it defines is no concern of the program's
        language, names = _python, {"__name__": "__main__", "__file__": everyday.file()}
    result: dict[str, Any] = {"value": None, "error": None, "exit_code": None}
    value: Any = None
    try:
        value = _run(code, name, names, language)
        if value is not None:
            result["value"] = evidence.text_of(value, _settings["value_chars"])
            names["_"] = value
        everyday.finish(before)
    except SystemExit as stop:
        result["exit_code"] = _exit_code(stop)
        everyday.finish(before)
    except BaseException as error:
        result["error"] = evidence.problem(error, name, names, _settings["value_chars"])
    _flush()
    displays = _Displays(channel)
    displays.figures()
    displays.picture(value)
    return result


def _run(code: str, name: str, names: dict[str, Any], language: Language) -> Any:
    """Execute `code`; the value of its last expression, if it ends in one."""
    tree: Any = language.parse(code, name)
    names["__builtins__"] = language.builtins
    last: Any = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)  # noqa: S307


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return int(stop.code or 0) & 0xFF
    print(evidence.text_of(stop.code, 2000, str), file=sys.stderr)  # noqa: T201
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


class _LeftOut(Exception):
    """A figure that is not sent; the message says why."""


class _Displays:
    """Sends the figures of one execution, or why one is not sent: what the host would refuse costs nobody anything."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._wanted, self._left = _settings["displays"], _settings["displays_bytes"]

    def figures(self) -> None:
        """Send the figures of matplotlib that are open, and close them."""
        plt = sys.modules.get("matplotlib.pyplot")
        if plt is None:
            return
        try:
            for number in plt.get_fignums():
                self._send(lambda n=number: _drawn(plt.figure(n)))
            plt.close("all")
        except BaseException:  # whatever the program has made of pyplot
            pass

    def picture(self, value: Any) -> None:
        """Send the picture that a value makes of itself, as notebooks show it: an image of Pillow, for example."""
        try:
            draw = getattr(cast("type[object]", type(value)), "_repr_png_", None)
            data = None if draw is None else draw(value)
        except BaseException:
            return
        if isinstance(data, bytes):
            self._send(lambda: data)

    def _send(self, draw: Callable[[], bytes]) -> None:
        message: dict[str, Any] = {"op": "display", "mime": "image/png"}
        try:
            if self._wanted == 0:
                raise _LeftOut(f"there are more than {_settings['displays']}")
            message["data"] = base64.b64encode(self._fitting(draw())).decode()
        except _LeftOut as why:
            message["problem"] = str(why)
        except BaseException as error:  # a figure that cannot be drawn is no reason to lose the result
            text = evidence.text_of(error, 150, str)
            message["problem"] = f"it could not be drawn: {type(error).__name__}: {text}"
        wire.send(self._channel, message)

    def _fitting(self, data: bytes) -> bytes:
        limit = _settings["display_bytes"]
        if len(data) > limit:
            raise _LeftOut(f"it has {len(data)} bytes, over the limit of {limit}")
        if len(data) > self._left:
            raise _LeftOut(f"together they have more than {_settings['displays_bytes']} bytes")
        self._wanted, self._left = self._wanted - 1, self._left - len(data)
        return data


def _drawn(figure: Any) -> bytes:
    """A figure of matplotlib as PNG. Raises `_LeftOut` for one that is too large to be drawn."""
    width, height = figure.get_size_inches() * figure.dpi
    limit = _settings["display_pixels"]
    if width * height > limit:
        raise _LeftOut(f"it has {width:.0f} x {height:.0f} pixels, over the limit of {limit}")
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
