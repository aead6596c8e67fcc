"""What a session can go back to, and forth again: states in order, each a step away from the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from ..errors import ConfigError

__all__ = ["History", "State", "View", "require_branches", "require_steps"]

_Frozen = TypeVar("_Frozen")
_MOST_BRANCHES = 32


@dataclass(slots=True)
class View:
    """The files and the pipes of a session, or of one branch of it, from the host."""

    number: int
    upper: int
    stdout: int
    stderr: int

    def close(self) -> None:
        """Close its descriptors."""
        for fd in (self.upper, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


@dataclass(frozen=True, slots=True)
class State(Generic[_Frozen]):
    """One state that is kept: `frozen` is what it takes to have it again."""

    id: int
    position: int
    """Steps that led to it."""
    frozen: _Frozen


@dataclass(slots=True)
class History(Generic[_Frozen]):
    """The states of a session around the one it is in, which is not among them. `limit` is how many steps are kept.

    States that were marked by `pin` are kept longer, as many as `limit` of them.
    """

    limit: int
    id: int = 0
    """Of the state that the session is in."""
    position: int = 0
    past: list[State[_Frozen]] = field(default_factory=list[State[_Frozen]])
    future: list[State[_Frozen]] = field(default_factory=list[State[_Frozen]])
    _pinned: list[int] = field(default_factory=list[int])
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def steps(self) -> int:
        """How many steps can be undone: those whose states are kept without a gap."""
        steps = 0
        for state in reversed(self.past):
            if state.position != self.position - steps - 1:
                break
            steps += 1
        return steps

    def here(self, frozen: _Frozen) -> State[_Frozen]:
        """The state that the session is in, to be kept."""
        return State(self.id, self.position, frozen)

    def pin(self) -> int:
        """Have the state that the session is in kept longer; returns its id."""
        self._pinned = [*(one for one in self._pinned if one != self.id), self.id][-max(1, self.limit) :]
        return self.id

    def advance(self, before: State[_Frozen] | None) -> list[State[_Frozen]]:
        """A step was made, from `before` if that is kept. Returns the states that are kept no longer."""
        dropped, self.future = self.future, []
        if before is not None:
            self.past.append(before)
        self.id, self.position = next(self._ids), self.position + 1
        return dropped + self.trim(self.limit)

    def trim(self, limit: int) -> list[State[_Frozen]]:
        """Keep the last `limit` steps, and what is pinned; returns the others."""
        kept = [s for s in self.past if s.position >= self.position - limit or s.id in self._pinned]
        dropped = [s for s in self.past if s not in kept]
        self.past = kept
        return dropped

    def undone(self, steps: int) -> State[_Frozen]:
        """The state `steps` steps back. Raises `ConfigError` when it is not kept."""
        require_steps(steps, self.steps, "undone")
        return self.past[-steps]

    def redone(self, steps: int) -> State[_Frozen]:
        """The state `steps` steps forth. Raises `ConfigError` when there is none."""
        require_steps(steps, len(self.future), "redone")
        return self.future[steps - 1]

    def find(self, ident: int) -> State[_Frozen] | None:
        """The state of that id, None for the one that the session is in. Raises `ConfigError` when it is gone."""
        for state in (*self.past, *self.future):
            if state.id == ident:
                return state
        if ident != self.id:
            raise ConfigError("the checkpoint is gone", hint=f"the last {self.limit} steps and checkpoints are kept")
        return None

    def move(self, target: State[_Frozen], here: State[_Frozen]) -> None:
        """Have the session be in `target`, and keep `here`, the state that it was in."""
        line = [*self.past, here, *self.future]
        at = line.index(target)
        self.past, self.future = line[:at], line[at + 1 :]
        self.id, self.position = target.id, target.position

    def since(self, state: State[_Frozen]) -> list[State[_Frozen]]:
        """Have the session be in `state`, from which it came; returns the states after it, which are kept no longer."""
        later = [one for one in self.past if one.position >= state.position]
        self.past = [one for one in self.past if one.position < state.position]
        self.id, self.position = state.id, state.position
        return later

    def clear(self) -> list[State[_Frozen]]:
        """Forget all states; returns them."""
        states, self.past, self.future = [*self.past, *self.future], [], []
        return states

    @property
    def states(self) -> list[State[_Frozen]]:
        """Every state that is kept."""
        return [*self.past, *self.future]


def require_branches(number: int) -> None:
    """Raises `ConfigError` unless a session may have so many branches at a time."""
    if not 1 <= number <= _MOST_BRANCHES:
        raise ConfigError(f"a session has 1 to {_MOST_BRANCHES} branches at a time, not {number}")


def require_steps(steps: int, most: int, what: str) -> None:
    """Raises `ConfigError` unless so many steps can be undone, or redone."""
    if steps < 1:
        raise ConfigError(f"{steps} steps cannot be {what}")
    if steps > most:
        some = f"only the last {most} of them can be" if most else "there is none"
        raise ConfigError(f"{steps} step{'s' if steps > 1 else ''} cannot be {what}: {some}")
