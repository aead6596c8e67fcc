"""Temporary folders that a killed process leaves behind, and the next one removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

__all__ = ["Scratch"]

_PREFIX = "sandsmith-live-"


class Scratch:
    """A private folder among the temporary files (or in `where`), for as long as this process lives.

    `close` removes it. What `kill -9` has left is removed when the next one is made: the maker of a folder holds a lock
    on it (flock(2)), which the kernel drops with the process. So the folder of a process that lives is safe, also of
    one in another container that shares the temporary files. Raises `OSError` where no folder can be made.
    """

    def __init__(self, where: Path | str | None = None) -> None:
        top = Path(where or tempfile.gettempdir())
        for folder in top.glob(f"{_PREFIX}*"):
            _remove_if_left(folder)
        lock = None
        while lock is None:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=top))
            # An interrupt may come before anybody can close this.
            self._remove = weakref.finalize(self, _remove, self.path, os.getpid())
            self._remove.atexit = False
            lock = _hold(self.path)
        self._lock = lock

    def close(self) -> None:
        """Remove the folder and all in it. Safe to call twice."""
        if self._remove.alive:
            self._remove()
            os.close(self._lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exc: object) -> None:
        self.close()


def _remove(folder: Path, maker: int) -> None:
    """Remove `folder`, in the process that has made it and not in a fork of it."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path) -> int | None:
    """A descriptor that keeps `folder` from being swept; None when one that sweeps has seen it first."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        with suppress(OSError):  # a file system without locks: nobody sweeps there
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(fd), folder.stat()):
            return fd
    except FileNotFoundError:
        pass
    os.close(fd)
    return None


def _remove_if_left(folder: Path) -> None:
    """Remove `folder` if it is this user's and no living process holds it."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(fd)
