"""What a task's program gets to see of the file system: a folder, files from elsewhere, or nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError
from .task import Task

__all__ = ["View", "make_view"]


@dataclass(frozen=True, slots=True)
class View:
    """The folder that is shown, the files shown beside it, and the names under which the program finds them."""

    folder: Path | None = None
    inputs: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    note: str = ""
    """Why the folder that was asked for is not shown."""


def make_view(task: Task) -> View:
    """The view for `task`. Raises `ConfigError` for a file or folder that is not there or cannot be read.

    `/`, the home directory and what lies above it are never shown as a whole: only the files that were named are.
    """
    wanted = _folder(task.folder)
    files = [_file(path, wanted) for path in task.files]
    folder, note = _shown(wanted or _common_parent(files), asked=wanted is not None)
    inside = [f for f in files if folder is not None and f.is_relative_to(folder)]
    outside = tuple(dict.fromkeys(f for f in files if f not in inside))
    _check_inputs(outside, folder)
    names = [str(f.relative_to(folder)) if folder and f in inside else f.name for f in files]
    return View(folder, outside, tuple(dict.fromkeys(names)), note)


def _folder(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not path.is_dir():
        raise ConfigError(f"{path} is {'no folder' if path.exists() else 'not there'}", hint="name an existing folder")
    return path.resolve()


def _file(path: Path, folder: Path | None) -> Path:
    """The file meant by `path`: relative to the folder, else to the current directory."""
    if "\0" in str(path):
        raise ConfigError("the name of a file holds a NUL byte")
    found = next((p for p in ([folder / path] if folder else []) + [path] if p.exists()), None)
    if found is None:
        raise ConfigError(f"there is no file {path}", hint=_close_names(path, folder))
    if not os.access(found, os.R_OK):
        raise ConfigError(f"{path} cannot be read", hint="check its permissions")
    return found.resolve()


def _close_names(path: Path, folder: Path | None) -> str:
    parent = (folder or Path()) / path.parent
    try:
        there = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    except OSError:
        return f"there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, there, 5, 0.4) or there[:5]
    return "there are: " + ", ".join(close) if close else f"{parent} is empty"


def _common_parent(files: Sequence[Path]) -> Path | None:
    return Path(os.path.commonpath([f if f.is_dir() else f.parent for f in files])) if files else None


def _shown(folder: Path | None, *, asked: bool) -> tuple[Path | None, str]:
    """The folder, or None with the reason why it is not shown."""
    if folder is None:
        return None, ""
    if Path.home().resolve().is_relative_to(folder):
        note = f"{folder} is not shown to the program: it is too much to hand over; only files that you name are"
        return None, note if asked else ""
    if not os.access(folder, os.R_OK | os.X_OK):
        return None, f"{folder} is not shown to the program: it cannot be read"
    return folder, ""


def _check_inputs(inputs: Sequence[Path], folder: Path | None) -> None:
    """Files from elsewhere are shown by their own names, so these have to be free."""
    names: set[str] = set()
    for path in inputs:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder outside the working folder", hint="make it the working folder")
        if path.name in names or (folder is not None and (folder / path.name).exists()):
            raise ConfigError(f"two files are called {path.name}", hint="rename one, or name a folder that holds both")
        names.add(path.name)
