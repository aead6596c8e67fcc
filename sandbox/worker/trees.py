"""Folders that a program made: measured and removed through descriptors, however deep, wide or odd they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

__all__ = ["DEEPEST", "remove", "used"]

DEEPEST = 256
"""Levels of folders that are looked into; what is deeper counts as too much."""
_FILL = 0o300
"""What the owner needs to make something in a folder, which without more cannot be listed."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def used(path: str, most: int) -> tuple[int, int]:
    """Bytes on disk below the folder `path`, and the number of entries; `most` + 1 entries at most are counted.

    What is too deep, or can be filled but not looked into, counts as `most` + 1 entries. Links are not followed.
    """
    total = entries = 0
    open_ones = [os.open(path, _FOLDER)]
    below: list[list[str]] = []
    try:
        while open_ones:
            if len(below) < len(open_ones):
                found, size, number = _look(open_ones[-1], most - entries)
                below.append(found)
                total, entries = total + size, entries + number
            if entries > most or len(open_ones) > DEEPEST:
                return total, most + 1
            if not below[-1]:
                below.pop()
                os.close(open_ones.pop())
                continue
            name = below[-1].pop()
            try:
                open_ones.append(os.open(name, _FOLDER, dir_fd=open_ones[-1]))
            except (FileNotFoundError, NotADirectoryError):
                continue  # the program goes on while we look
            except PermissionError:
                mode = os.stat(name, dir_fd=open_ones[-1], follow_symlinks=False).st_mode
                if mode & _FILL == _FILL:
                    raise
    except OSError:
        return total, most + 1
    finally:
        for fd in open_ones:
            os.close(fd)
    return total, entries


def _look(fd: int, most: int) -> tuple[list[str], int, int]:
    """Folders in the folder `fd`, bytes of what is in it, and how many entries, up to `most` + 1."""
    folders: list[str] = []
    total = number = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            number += 1
            if number > most:
                break
            with suppress(FileNotFoundError):
                info = entry.stat(follow_symlinks=False)
                total += info.st_blocks * 512
                if stat.S_ISDIR(info.st_mode):
                    folders.append(entry.name)
    return folders, total, number


def remove(path: str) -> None:
    """Remove the folder `path` and all below it; nothing may change it meanwhile. Raises `OSError`.

    Folders inside are first moved up to its top, so that neither depth nor the length of a path matters.
    """
    with suppress(FileNotFoundError):
        top = os.open(path, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path)


def _empty(top: int) -> None:
    names = (f".{number}.removed" for number in count())
    todo = _unlink_files(top)
    while todo:
        name = todo.pop()
        os.chmod(name, 0o700, dir_fd=top)
        inner = os.open(name, _FOLDER, dir_fd=top)
        try:
            for folder in _unlink_files(inner):
                os.chmod(folder, 0o700, dir_fd=inner)  # moving it needs permission to write it
                todo.append(_moved(folder, inner, top, names))
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)


def _unlink_files(fd: int) -> list[str]:
    """Unlink what is no folder in the folder `fd`; returns the folders in it."""
    folders: list[str] = []
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if is_folder:
            folders.append(name)
        else:
            os.unlink(name, dir_fd=fd)
    return folders


def _moved(folder: str, inner: int, top: int, names: Iterator[str]) -> str:
    """Move `folder` to the top under the next name that is free there."""
    while True:
        name = next(names)
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=top)  # a folder may be renamed over an empty one
            os.rename(folder, name, src_dir_fd=inner, dst_dir_fd=top)
            return name
