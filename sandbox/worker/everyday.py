"""Makes everyday code work inside the wall as a script does outside: renames, processes, executors, the end.

A convenience for the program and no part of the wall: what it could not do without this module it cannot do with it.
"""

from __future__ import annotations

import atexit
import errno
import functools
import inspect
import linecache
import multiprocessing
import multiprocessing.context
import multiprocessing.spawn
import multiprocessing.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from typing import Any

from . import meeting

__all__ = ["begin", "file", "finish", "install", "tolerate_fixed_attributes"]

_EXECUTORS = {
    "joblib.externals.loky.process_executor": "_global_shutdown",
    "concurrent.futures.process": "_global_shutdown",
    "concurrent.futures.thread": "_shutdown",
}
"""Modules whose executors wait for the end of the script, and what each then sets."""
_last: list[functools.partial[Any]] = []
"""What the program has registered to be called at its end."""
_file: list[str] = [""]


def install() -> None:
    """Put in place, in the zygote, what every program finds."""
    # Since 3.14 the default is a server on a socket, which no program may open; forking is what the jail allows.
    default: Any = vars(multiprocessing.context)["_default_context"]
    default._default_context = multiprocessing.get_context("fork")
    for module in (subprocess, multiprocessing.util):  # the flags of this process would hide the packages
        vars(module)["_args_from_interpreter_flags"] = list
    spawn: Any = vars(multiprocessing.spawn)
    spawn["get_preparation_data"] = _with_a_file(spawn["get_preparation_data"])
    meeting.install()
    atexit.register, atexit.unregister = _until_the_end(atexit.register, atexit.unregister)
    os.rename, os.replace = _across_layers(os.rename), _across_layers(os.replace)


def begin(path: str) -> None:
    """Say where the program believes that it lies."""
    _file[0] = path


def file() -> str:
    """Where the program believes that it lies; there is no such file."""
    return _file[0]


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


def tolerate_fixed_attributes() -> None:
    """Have copies of files be made also where no program may set a mode or a time: they keep those of new files."""
    shutil.copymode, shutil.copystat = _if_permitted(shutil.copymode), _if_permitted(shutil.copystat)


def _if_permitted(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> None:
        with suppress(PermissionError):
            function(*args, **options)

    return wrapper


def _with_a_file(prepare: Any) -> Any:
    """`get_preparation_data` of `multiprocessing.spawn`, for processes that import the program anew, from a file."""

    def wrapper(name: str) -> dict[str, Any]:
        data = prepare(name)
        if data.get("init_main_from_path") == (path := file()):
            source = "".join(linecache.getlines(path))
            with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8", delete=False) as stub:
                stub.write(f"__file__ = {path!r}\nexec(compile({source!r}, __file__, 'exec', dont_inherit=True))\n")
            data["init_main_from_path"] = stub.name
        return data

    return wrapper


def finish(before: set[threading.Thread]) -> None:
    """Do what the interpreter does when a script ends: wait for what it started, and call what it registered."""
    if _waited_for(before):
        _end_executors()
    for thread in _waited_for(before):
        thread.join()
    while _last:
        try:
            _last.pop()()
        except Exception:
            traceback.print_exc()
    for child in multiprocessing.active_children():
        if not child.daemon and vars(child)["_parent_pid"] == os.getpid():  # after going back, some are another's
            child.join()


def _waited_for(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


def _end_executors() -> None:
    """Let every executor end its threads once its work is done, as at the end of a script; later ones work as ever."""
    for name, flag in _EXECUTORS.items():
        if module := sys.modules.get(name):
            vars(module)["_python_exit"]()
            setattr(module, flag, False)


def _until_the_end(register: Any, unregister: Any) -> tuple[Any, Any]:
    """`atexit`'s two functions, for which the end of an execution is the end of the program."""

    def keep(func: Any, *args: Any, **options: Any) -> Any:
        frame = inspect.currentframe()
        if not (frame and frame.f_back and frame.f_back.f_globals.get("__name__") == "__main__"):
            return register(func, *args, **options)
        _last.append(functools.partial(func, *args, **options))
        return func

    def forget(func: Any) -> None:
        _last[:] = [call for call in _last if call.func != func]
        unregister(func)

    return keep, forget
