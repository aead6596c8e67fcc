"""What the next call needs, made while nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Ahead"]

_Made = TypeVar("_Made")


class Ahead(Generic[_Made]):
    """One thing made in advance, in a thread of its own, when nobody holds the `lock` of whom it is for."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._thread: ThreadPoolExecutor | None = None
        self._made: _Made | None = None

    def begin(self, make: Callable[[], _Made | None]) -> None:
        """Have it made, with the lock held, unless somebody is there who will make it without us. `make` gives None
        for what cannot be had in advance."""
        self._thread = self._thread or ThreadPoolExecutor(1, "sandsmith-ahead")
        self._thread.submit(self._try, make)

    def _try(self, make: Callable[[], _Made | None]) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._made = self._made or make()
            finally:
                self._lock.release()

    def take(self) -> _Made | None:
        """What was made, for the holder of the lock."""
        made, self._made = self._made, None
        return made

    def end(self) -> None:
        """Make no more; waits for what is being made."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
