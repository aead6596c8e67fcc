"""Runs work in a thread, so that the main thread always hears a signal: model runtimes block for seconds in C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Generic, TypeVar

__all__ = ["Pump"]

T = TypeVar("T")
_GRACE = 0.8
"""Seconds that cancelled work has to end by itself."""
_TURN = 0.2
"""Seconds of one wait. A signal that arrives just before a wait does not interrupt it: Python's own handler has noted
it, and calls ours when the wait is over."""


class Pump(Generic[T]):
    """Iterates `work()` in a thread; the first SIGINT or SIGTERM calls `cancel`, the second ends the process.

    `patient`: cancelled work is waited for, however long it takes, and every further signal calls `cancel` again.
    Use it once, in the main thread. Afterwards `signal` tells what interrupted it, and `abandoned` whether the work
    did not end in time and still runs.
    """

    def __init__(self, work: Callable[[], Iterable[T]], cancel: Callable[[], None], *, patient: bool = False) -> None:
        self._work, self._cancel, self._patient = work, cancel, patient
        # SimpleQueue, because its put may be called from a signal handler.
        self._queue: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.signal: int | None = None
        self.abandoned = False

    @property
    def exit_code(self) -> int:
        """128 + the signal that interrupted the work, as shells say it."""
        return 128 + (self.signal or 0)

    def __iter__(self) -> Iterator[T]:
        handled = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._on_signal) for number in handled]
        thread = threading.Thread(target=self._run, name="sandsmith-work", daemon=True)
        thread.start()
        try:
            yield from self._drain()
        finally:
            for number, handler in zip(handled, before, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and not self._patient:
            os._exit(self.exit_code)
        self.signal = number
        self._queue.put(("signal", None))

    def _run(self) -> None:
        try:
            for item in self._work():
                self._queue.put(("item", item))
        except BaseException as error:
            self._queue.put(("error", error))
        else:
            self._queue.put(("end", None))

    def _drain(self) -> Iterator[T]:
        deadline: float | None = None
        while True:
            try:
                kind, value = self._queue.get(timeout=_TURN)
            except Empty:
                if deadline is None or time.monotonic() < deadline:
                    continue
                self.abandoned = True
                return
            match kind:
                case "item":
                    yield value
                case "signal":
                    deadline = None if self._patient else time.monotonic() + _GRACE
                    threading.Thread(target=self._cancel, name="sandsmith-cancel", daemon=True).start()
                case "error" if self.signal is None:
                    raise value
                case _:
                    return
