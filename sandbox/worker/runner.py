"""The program's own process: executes code in `__main__`, and says what came of it.

Everything it says is a claim: the code it ran could have said it instead. It answers on the control channel with one
`display` frame per figure and one `result` frame per execution, and echoes `sync` frames.
"""

from __future__ import annotations

import ast
import base64
import builtins
import errno
import gc
import io
import linecache
import multiprocessing
import multiprocessing.context
import os
import random
import shutil
import signal
import socket
import sys
import threading
import types
from contextlib import suppress
from typing import Any, NoReturn

from . import evidence, root, wire

__all__ = ["prepare", "serve"]

_WARM = [
    "argparse",
    "asyncio",
    "bisect",
    "calendar",
    "collections",
    "collections.abc",
    "concurrent.futures",
    "contextlib",
    "copy",
    "csv",
    "ctypes",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "glob",
    "gzip",
    "hashlib",
    "heapq",
    "html",
    "inspect",
    "io",
    "itertools",
    "json",
    "logging",
    "math",
    "multiprocessing",
    "operator",
    "os",
    "pathlib",
    "pickle",
    "pprint",
    "random",
    "re",
    "shutil",
    "sqlite3",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "tempfile",
    "textwrap",
    "time",
    "timeit",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib.parse",
    "uuid",
    "warnings",
    "xml.etree.ElementTree",
    "zipfile",
    "zoneinfo",
]
"""Modules loaded once, before any program, so that importing them later costs nothing."""
_FIGURE_BYTES = 4 << 20
_settings: dict[str, Any] = {}


def prepare(config: dict[str, Any]) -> None:
    """Warm up, in the zygote: import what programs commonly use and set what every program finds."""
    for name in _WARM:
        __import__(name)
    sys.path[:] = [p for p in sys.path if p] + list(config["paths"])
    sys.dont_write_bytecode = True
    sys.argv = ["program.py"]
    os.umask(0o022)
    _settings.update(value_chars=config["value_chars"], displays=config["displays"])
    # Since 3.14 the default is a server on a socket, which no program may open; forking is what the jail allows.
    default: Any = vars(multiprocessing.context)["_default_context"]
    default._default_context = multiprocessing.get_context("fork")
    os.rename, os.replace = _across_layers(os.rename), _across_layers(os.replace)


def _across_layers(rename: Any) -> Any:
    """`rename`, also for folders that still lie in the read-only layer, where overlayfs answers EXDEV."""

    def wrapper(src: Any, dst: Any, **options: Any) -> None:
        try:
            rename(src, dst, **options)
        except OSError as error:
            if error.errno != errno.EXDEV or options or not os.path.isdir(src) or os.path.exists(dst):
                raise
            shutil.copytree(src, dst, symlinks=True)
            shutil.rmtree(src)

    wrapper.__name__ = rename.__name__
    wrapper.__doc__ = rename.__doc__
    return wrapper


def serve(control: int) -> NoReturn:
    """Answer the host until it hangs up. Never returns."""
    channel = socket.socket(fileno=control)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    random.seed()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=f"{root.WORK}/program.py")
    sys.modules["__main__"] = main
    gc.enable()
    wire.send(channel, {"op": "hello", "pid": os.getpid(), "folder": root.WORK})
    while True:
        channel = _answer(channel, main.__dict__)


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
        case "wake":
            _return_to(message["folder"])
            wire.send(channel, message)
        case "checkpoint":
            return _checkpoint(channel, fds[0])
        case _:
            result = _execute(channel, message, names)
            wire.send(channel, {"op": "result", "id": message["id"], **result})
    return channel


def _checkpoint(channel: socket.socket, fd: int) -> socket.socket:
    """Fork: this process goes on, with its threads and handles; the child is the frozen copy, on the channel `fd`."""
    here = _folder()
    if middle := os.fork():
        os.close(fd)
        os.waitpid(middle, 0)
        return channel
    try:  # pid 1 adopts and reaps the copy: it must not be a child that the program waits for, or a zombie
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(72)
    channel.close()
    os.chdir("/")  # a working directory would keep the overlay that is about to be replaced
    frozen = socket.socket(fileno=fd)
    wire.send(frozen, {"op": "hello", "pid": os.getpid(), "folder": here})
    return frozen


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return root.WORK


def _return_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        os.chdir(root.WORK)


def _execute(channel: socket.socket, message: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Run one program; what it claims: value, error, exit code."""
    name = f"<program {message['id']}>" if message["id"] > 1 else "<program>"
    code: str = message["code"]
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    before = set(threading.enumerate())
    result: dict[str, Any] = {"value": None, "error": None, "exit_code": None}
    try:
        value = _run(code, name, names)
        if value is not None:
            result["value"] = evidence.text_of(value, _settings["value_chars"])
            names["_"] = value
        _join(before)
    except SystemExit as stop:
        result["exit_code"] = _exit_code(stop)
    except BaseException as error:
        result["error"] = evidence.problem(error, name, names, _settings["value_chars"])
    _flush()
    _figures(channel)
    return result


def _run(code: str, name: str, names: dict[str, Any]) -> Any:
    """Execute `code`; the value of its last expression, if it ends in one."""
    tree: Any = compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    last: Any = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)  # noqa: S307


def _join(before: set[threading.Thread]) -> None:
    """Wait for the threads that the program started, as the interpreter does when a script ends."""
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join()


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return int(stop.code or 0) & 0xFF
    print(evidence.text_of(stop.code, 2000, str), file=sys.stderr)  # noqa: T201
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _figures(channel: socket.socket) -> None:
    """Send the figures that are open, as PNG, and close them."""
    plt = sys.modules.get("matplotlib.pyplot")
    if plt is None:
        return
    try:
        for number in plt.get_fignums()[: _settings["displays"]]:
            data = io.BytesIO()
            plt.figure(number).savefig(data, format="png")
            if data.tell() <= _FIGURE_BYTES:
                text = base64.b64encode(data.getvalue()).decode()
                wire.send(channel, {"op": "display", "mime": "image/png", "data": text})
        plt.close("all")
    except Exception:  # a figure that cannot be drawn is no reason to lose the result
        pass
