"""Branches: sessions that grow from the present state of another one, and run side by side.

Each is a copy of the program's process that has left for a user and a mount namespace of its own, with files of its
own, and entered a Landlock domain of its own, so that it can neither see nor signal the others.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from ..execution import Execution
from ..worker import wire
from .channel import PATIENCE, Worker, expect
from .history import State, View, require_branches
from .session import Frozen, JailSession, OnError
from .slot import Death, Refused, Slot
from .talk import frame_reader

__all__ = ["JailBranch"]

_FLAT = 8
"""Namespaces nest 32 deep, Landlock's rulesets 16: from this depth on a branch that is adopted is run again in the
session that it has grown from, so that this gets no deeper."""
_DEEPEST = 12
"""Where no branch can grow any more: those of this depth did not do the same when they were run again."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An execution of a branch, to be run again."""

    code: str
    on_error: OnError
    wall_seconds: float | None
    outcome: tuple[Any, ...]


class JailBranch(JailSession):
    """A branch of `parent`. See `sandbox.Branch` for the contract."""

    def __init__(self, parent: JailSession, view: View, worker: Worker) -> None:
        self._parent, self._grown = parent, (view, worker)
        self._executed: list[_Step] = []
        super().__init__(parent._slot, self._fall, parent._policy, parent._receipt, parent._folder, parent._inputs)
        self.hand_out(parent._store.with_name(f"{parent._store.name}-b{view.number}"), _nothing, keep=parent._keep)
        self._opened_ns, self._snapshots = parent._opened_ns, list(parent._snapshots)
        self._count, self._mapped, self._depth = parent._count, parent._mapped, parent._depth + 1
        self._proxy, self._pristine = parent._proxy, False

    def _begin(self) -> None:
        self._view, self._worker = self._grown
        self._views = {self._view.number: self._view}
        self._channels.add(self._worker.channel)

    # -- growing ---------------------------------------------------------------------------------------------------

    @classmethod
    def grow(cls, parent: JailSession, number: int) -> list[JailBranch]:
        """Have `parent`, which is idle, stand still, and grow so many branches from it. Raises `ConfigError`."""
        require_branches(number)
        if parent._depth >= _DEEPEST:
            raise ConfigError(
                f"the session is {_DEEPEST} branches deep", hint="a branch that runs the same way twice adds no depth"
            )
        parent._fork = parent._copied(parent._policy.wall_seconds)
        branches: list[JailBranch] = []
        try:
            for _ in range(number):
                branches.append(cls(parent, *cls._planted(parent)))
            parent._request("freeze")
        except BaseException:
            for branch in branches:
                branch.close()
            parent._drop_fork()
            raise
        parent._branches = [*branches]
        return branches

    @classmethod
    def _planted(cls, parent: JailSession) -> tuple[View, Worker]:
        """A copy of the parent's process that has become a branch, and its view. Raises `ConfigError` where it cannot:
        the kernel refuses, or there is no room for its files."""
        view, slot = View(next(parent._slot.numbers), -1, -1, -1), parent._slot
        try:
            return view, cls._grown_in(view, parent)
        except BaseException as error:
            with suppress(SandboxUnavailable):
                slot.request("verify")
                slot.request("drop", view=view.number)
            view.close()
            if isinstance(error, (Refused, ConfigError)):
                raise ConfigError(f"no branch can grow here: {error}") from None
            raise

    @staticmethod
    def _grown_in(view: View, parent: JailSession) -> Worker:
        fds = [*parent._pipes(view)]
        try:
            view.upper, ruleset = parent._slot.request("branch", view=view.number, source=parent._view.number)
            fds.insert(0, ruleset)
            channel = parent._ask("branch", fds, PATIENCE)
            worker = parent._answered(channel, PATIENCE)
        finally:
            for fd in fds:
                os.close(fd)
        parent._request("settle", view=view.number, source=parent._view.number, pid=worker.inner)
        for op, answer in (("enter", "confined"), ("wake", "wake")):
            wire.send(channel, {"op": op})
            expect(channel, frame_reader(parent._policy), answer, PATIENCE)
            parent._request("verify")
        parent._channels.discard(channel)
        return worker

    def _fall(self, slot: Slot) -> None:
        """End the branch; when it was the last one, its parent goes on."""
        parent = self._parent
        with parent._lock, suppress(SandboxUnavailable):
            for number in self._views:
                slot.request("drop", view=number)
            if self in parent._branches:
                parent._branches.remove(self)
                if not parent._branches and not parent.closed:
                    parent._drop_fork()
                    parent._request("thaw")

    def _is_to_blame(self, death: Death | None) -> bool:
        killed = death is not None and os.WIFSIGNALED(death.status) and os.WTERMSIG(death.status) == signal.SIGKILL
        return killed or len(self._parent._branches) < 2

    # -- being adopted ---------------------------------------------------------------------------------------------

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """See `sandbox.Session.execute`."""
        execution = super().execute(code, on_error=on_error, wall_seconds=wall_seconds)
        self._executed.append(_Step(code, on_error, wall_seconds, _outcome(execution)))
        return execution

    def adopt(self) -> None:
        """See `sandbox.Branch.adopt`."""
        with self._in_use(), self._parent._lock:
            for other in [*self._parent._branches]:
                if other is not self:
                    other.close()
            state = self._parent._fork
            assert state is not None
            if self._depth >= _FLAT and not self._moved and self._flattened(state):
                return
            self._take_over(self._parent._fork or state)

    def _take_over(self, state: State[Frozen]) -> None:
        """Be what the parent is from now on; `state` is what it was."""
        parent = self._parent
        ahead = self._ahead.take()
        self._drop([*self._history.clear(), *([ahead] if ahead else [])])
        parent._request("kill", keep=[self._worker.inner, *parent._kept()])
        parent._hang_up(parent._worker.channel)
        parent._channels |= self._channels
        parent._views |= self._views
        parent._marks |= self._marks
        parent._dead += self._dead
        parent._worker, parent._view, parent._base = self._worker, self._view, self._base
        parent._mapped, parent._depth, parent._pristine = self._mapped, self._depth, False
        parent._count, parent._moved = self._count, parent._moved or self._moved
        parent._branches, parent._fork = [], None
        parent._step_from(state)
        self._channels, self._views, self._proxy = set(), {}, None
        self.close()

    def _flattened(self, state: State[Frozen]) -> bool:
        """Whether the parent has done what the branch did, and come to the same."""
        parent = self._parent
        parent._branches = []
        parent._request("thaw")
        same = self._repeat(parent)
        extra = parent._history.since(state)
        if same:
            parent._fork = None
            parent._drop(extra)
            parent._step_from(state)
            self.close()
            return True
        parent._drop(extra)
        parent._return_to(state)
        parent._fork = parent._copied(parent._policy.wall_seconds)
        parent._branches = [self]
        return False

    def _repeat(self, session: JailSession) -> bool:
        return all(
            _outcome(session.execute(step.code, on_error=step.on_error, wall_seconds=step.wall_seconds)) == step.outcome
            for step in self._executed
        )


def _outcome(execution: Execution) -> tuple[Any, ...]:
    return execution.status, execution.stdout, execution.value, execution.error


def _nothing() -> None:
    """What follows on the first execution of a branch."""
