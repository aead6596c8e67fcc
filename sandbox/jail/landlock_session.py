"""One session where there are no namespaces: it works on a copy of the folder, and goes back by running again.

A program that cannot fork leaves no frozen copy behind. When an execution fails, its process is ended, the files are
put back to how the session began, and the executions that are to be kept are run once more in a fresh process.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..execution import Execution, Receipt
from ..policy import Policy
from ..session import Checkpoint
from ..worker import trees
from . import measure, view
from .channel import greet
from .history import require_branches, require_steps
from .session import JailSession, OnError
from .slot import Death, Slot
from .talk import Run

__all__ = ["LandlockSession", "make_folder"]

_REPEATED = "a failure was undone by running the {} earlier executions again"


@dataclass(frozen=True, slots=True)
class _Run:
    """An execution, to be run again."""

    code: str
    wall_seconds: float
    status: str


@dataclass(frozen=True, slots=True)
class _Step:
    """An execution whose effects stay, or those of a branch that was adopted."""

    id: int
    runs: tuple[_Run, ...]


def make_folder(place: Path, ids: tuple[int, int] | None) -> Path:
    """An empty folder that only the program's user may enter."""
    place.mkdir(mode=0o700)
    if ids is not None:
        os.chown(place, *ids)
    return place


class LandlockSession(JailSession):
    """A live interpreter behind Landlock and seccomp. See `sandbox.Session` for the contract."""

    def __init__(
        self,
        zygote: socket.socket,
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
        place: Path,
        ids: tuple[int, int] | None,
    ) -> None:
        self._zygote, self._user_ids = zygote, ids
        self._place = make_folder(place, ids)
        self._steps: list[_Step] = []
        self._later: list[_Step] = []
        """Steps that were undone."""
        self._ids = count(1)
        self._copied_ns = time.time_ns()
        try:
            self._copy = view.copy(folder, inputs, place / "began", ids, policy)
            slot = Slot(zygote, policy, folder=str(place))
            super().__init__(slot, Slot.close, policy, receipt, folder, inputs)
        except BaseException:
            self._remove()
            raise
        self._began = self._copy

    def hand_out(self, store: Path, then: Callable[[], None], *, keep: bool) -> None:
        super().hand_out(store, then, keep=keep)
        self._opened_ns = self._copied_ns

    # -- limits that the supervisor watches ------------------------------------------------------------------------

    def _outcome(self, run: Run, death: Death | None, before: tuple[int, int]) -> dict[str, Any]:
        if self._slot.exceeded:
            return {"status": "error", "limit": self._slot.exceeded, "signal": int(signal.SIGKILL)}
        outcome = super()._outcome(run, death, before)
        if outcome["status"] == "ok" and (limit := self._over()):  # before anybody looked
            return {**outcome, "status": "error", "limit": limit}
        return outcome

    def _kept_before(self, on_error: OnError, wall_seconds: float) -> None:
        return None

    def _over(self) -> str:
        """Which limit the session is over, if it is over one."""
        size, entries = self._grown()
        if size > self._policy.disk_bytes or entries > self._policy.files:
            return "disk" if size > self._policy.disk_bytes else "files"
        return "processes" if measure.threads(self._worker.outer) > self._policy.processes else ""

    def _full(self) -> Any:
        """Which limit an execution that ended with an error has used up."""
        with suppress(OSError):
            size, entries = self._grown()
            if size >= self._policy.disk_bytes:
                return "disk"
            return "files" if entries >= self._policy.files else None
        return None

    def _grown(self) -> tuple[int, int]:
        """Bytes and entries that the session has more than it began with."""
        counted = [trees.used(str(self._place / name), 1 << 30) for name in ("work", "tmp", "began")]
        return counted[0][0] + counted[1][0] - counted[2][0], counted[0][1] + counted[1][1] - counted[2][1]

    # -- going back ------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        return len(self._steps)

    @property
    def undone(self) -> int:
        return len(self._later)

    def checkpoint(self) -> Checkpoint:
        with self._in_use():
            return Checkpoint(self._steps[-1].id if self._steps else 0)

    def rollback(self, to: Checkpoint) -> None:
        with self._in_use():
            line = [0, *(step.id for step in (*self._steps, *self._later))]
            if to.id not in line:
                raise ConfigError("the checkpoint is gone", hint="a step that was made after an undo took its place")
            self._go_to(line.index(to.id))

    def undo(self, n: int = 1) -> None:
        with self._in_use():
            require_steps(n, len(self._steps), "undone")
            self._go_to(len(self._steps) - n)

    def redo(self, n: int = 1) -> None:
        with self._in_use():
            require_steps(n, len(self._later), "redone")
            self._go_to(len(self._steps) + n)

    def branch(self, n: int = 1) -> list[LandlockBranch]:
        """See `sandbox.Session.branch`. Each runs the steps of this session again, from the files it began with."""
        with self._in_use():
            require_branches(n)
            branches: list[LandlockBranch] = []
            try:
                for _ in range(n):
                    branches.append(LandlockBranch(self))
            except BaseException:
                for branch in branches:
                    branch.close()
                raise
            self._branches = [*branches]
            return branches

    def _execute(self, code: str, on_error: OnError, wall_seconds: float) -> Execution:
        execution = super()._execute(code, "keep", wall_seconds)
        if execution.ok or on_error == "keep":
            self._steps.append(_Step(next(self._ids), (_Run(code, wall_seconds, execution.status),)))
            self._later.clear()
            return execution
        self._start_again()
        return replace(execution, receipt=self._receipt)

    def _go_to(self, number: int) -> None:
        """Be where the first `number` of all known steps lead to."""
        line = [*self._steps, *self._later]
        backwards = number < len(self._steps)
        ahead = line[len(self._steps) : number]
        self._steps, self._later = line[:number], line[number:]
        if backwards:
            self._start_again()
        for step in ahead:
            self._repeat(step)

    def _start_again(self) -> None:
        """A fresh process over the files of the beginning, then every step once more. Raises `SandboxUnavailable`."""
        self._renew()
        for step in self._steps:
            self._repeat(step)
        note = _REPEATED.format(len(self._steps))
        if self._steps and note not in self._receipt.notes:
            self._receipt = replace(self._receipt, notes=(*self._receipt.notes, note))

    def _repeat(self, step: _Step) -> None:
        for run in step.runs:
            again = super()._execute(run.code, "keep", run.wall_seconds)
            if again.status != run.status or self._lost:
                raise self._gone(f"an earlier execution, run again, ended as {again.status}")

    def _renew(self) -> None:
        """Have the supervisor put the files back and start a process in the place of the one there was."""
        ours, theirs = socket.socketpair()
        self._channels.add(ours)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._hang_up(self._worker.channel)
        with theirs:
            [upper] = self._request("fresh", [theirs.fileno()])
        os.close(self._view.upper)
        self._view.upper = upper
        self._worker = greet(ours)
        self._slot.renew()
        self._lost = ""

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        super().close()
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            trees.remove(str(self._place))


class LandlockBranch(LandlockSession):
    """A branch of `parent`: a session that has run the same steps. See `sandbox.Branch` for the contract."""

    def __init__(self, parent: LandlockSession) -> None:
        self._parent = parent
        number = next(parent._slot.numbers)
        place = parent._place.with_name(f"{parent._place.name}-{number}")
        ids = parent._user_ids
        super().__init__(parent._zygote, parent._policy, parent._receipt, parent._folder, parent._inputs, place, ids)
        self.hand_out(parent._store.with_name(f"{parent._store.name}-b{number}"), _nothing, keep=parent._keep)
        self._opened_ns, self._inherited = parent._opened_ns, len(parent._steps)
        try:
            for step in parent._steps:
                self._repeat(step)
        except BaseException:
            self.close()
            raise
        self._steps = [*parent._steps]

    @property
    def steps(self) -> int:
        return len(self._steps) - self._inherited

    def undo(self, n: int = 1) -> None:
        require_steps(n, self.steps, "undone")
        super().undo(n)

    def adopt(self) -> None:
        """See `sandbox.Branch.adopt`. The parent runs what this branch has run."""
        with self._in_use(), self._parent._lock:
            parent, mine = self._parent, self._steps[self._inherited :]
            for branch in [*parent._branches]:
                branch.close()
            step = _Step(next(parent._ids), tuple(run for one in mine for run in one.runs))
            parent._repeat(step)
            parent._steps.append(step)
            parent._later.clear()

    def close(self) -> None:
        super().close()
        if self in self._parent._branches:
            self._parent._branches.remove(self)


def _nothing() -> None:
    """What follows on the first execution of a branch."""
