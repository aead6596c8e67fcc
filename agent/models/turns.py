"""A bounded number of turns, for what can be done only so many times at once."""

from __future__ import annotations

from collections import deque
from threading import Condition, Event

__all__ = ["Turn", "Turns"]

_GLANCE = 0.05
"""Seconds between two looks at the cancel flag."""


class Turns:
    """So many turns. Who asks first is served first, so that one who needs several is not passed by for ever."""

    def __init__(self, most: int) -> None:
        self.most = self.free = most
        self.waiting: deque[Turn] = deque()
        self.change = Condition()

    def one(self) -> Turn:
        """A turn that has yet to be waited for."""
        return Turn(self, 1)

    def all(self) -> Turn:
        """All turns as one: while it lasts, nobody else has any."""
        return Turn(self, self.most)


class Turn:
    """One or more of the turns. Leaving the context ends it, however far it came."""

    def __init__(self, turns: Turns, size: int) -> None:
        self._turns, self._size = turns, size
        self._held = 0

    def wait(self, cancelled: Event) -> bool:
        """Wait for it. False, and nothing is held, once `cancelled` is set."""
        turns = self._turns
        with turns.change:
            turns.waiting.append(self)
            try:
                while not cancelled.is_set():
                    if turns.waiting[0] is self and turns.free >= self._size:
                        self._held, turns.free = self._size, turns.free - self._size
                        return True
                    turns.change.wait(_GLANCE)
                return False
            finally:
                turns.waiting.remove(self)
                turns.change.notify_all()

    def end(self) -> None:
        """Give back what is held, from any thread. Safe to call again."""
        with self._turns.change:
            self._turns.free += self._held
            self._held = 0
            self._turns.change.notify_all()

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
