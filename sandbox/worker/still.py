"""Tells whether anything has changed in folders, by events of the kernel that nobody can hold back.

Source: inotify(7).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import kernel

__all__ = ["Still"]

_CHANGES = 0xFFF & ~0x31
"""IN_CHANGES (entries made, renamed or removed, attributes and times changed) but IN_OPEN, IN_ACCESS and
IN_CLOSE_NOWRITE."""


class Still:
    """Watches folders themselves, not what is below: nothing comes to be there without a change of the folder."""

    def __init__(self, folders: Sequence[str]) -> None:
        """Raises `OSError` where the user has all the watches that the host allows."""
        self._fd = kernel.syscall("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for folder in folders:
                kernel.syscall("inotify_add_watch", self._fd, os.fsencode(folder), _CHANGES)
        except OSError:
            self.close()
            raise

    def holds(self) -> bool:
        """Whether nothing has changed so far."""
        try:
            return not os.read(self._fd, 4096)
        except BlockingIOError:
            return True

    def close(self) -> None:
        """Watch no more."""
        os.close(self._fd)
