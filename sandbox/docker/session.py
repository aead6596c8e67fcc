"""One session in a container, seen from the host: each call is a request to the server in there."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from .. import claims
from ..changes import Changes, collect, pass_moment
from ..changes.beneath import tree
from ..errors import ConfigError, SandboxUnavailable
from ..execution import Execution, Name, Receipt
from ..jail.history import require_branches
from ..jail.walls import WATCHED
from ..policy import Policy
from ..session import Checkpoint, OnError
from ..worker.wire import ProtocolError
from . import answers
from .folder import Receiver
from .link import Link, Sink

__all__ = ["PATIENCE", "DockerBranch", "DockerSession", "Place"]

PATIENCE = 60.0
"""Seconds to wait for what the server does, beside the time that a program has."""
_LARGEST_NUMBER = 1 << 53


class Place:
    """What a session and its branches have in common: the way to their server, the folder, where changes are kept."""

    def __init__(
        self, link: Link, policy: Policy, folder: Path | None, inputs: Path | None, store: Path, *, keep: bool
    ) -> None:
        self.link, self.policy, self.folder, self.inputs = link, policy, folder, inputs
        self.store, self.keep = store, keep
        self.numbers, self.stores = count(1), count()
        self.opened_ns = time.time_ns()
        self.applied: list[Changes] = []


class DockerSession:
    """A live interpreter in its container. See `sandbox.Session` for the contract."""

    def __init__(self, place: Place, receipt: Receipt, number: int, then: Callable[[], None]) -> None:
        """`then` is called once, when its first execution or the session has ended."""
        self._place, self._receipt, self._number = place, receipt, number
        self._then: Callable[[], None] | None = then
        self._lock = threading.RLock()
        self._lost = ""
        self._closed = False
        self._branches: list[DockerBranch] = []
        self._steps = self._undone = 0
        self._at_end: list[Callable[[], None]] = []

    @property
    def receipt(self) -> Receipt:
        """The layers around this session."""
        return self._receipt

    @property
    def closed(self) -> bool:
        return self._closed

    # -- the contract ----------------------------------------------------------------------------------------------

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """See `sandbox.Session.execute`. Raises `ConfigError` for a program over `Policy.source_bytes`."""
        policy = self._place.policy
        size = len(code.encode("utf-8", "surrogatepass"))
        if size > policy.source_bytes:
            raise ConfigError(f"the program has {size} bytes, over the limit of {policy.source_bytes}")
        seconds = wall_seconds or policy.wall_seconds
        outputs = answers.Outputs(policy)
        try:
            with self._in_use():
                began = time.monotonic()
                request = {"code": code, "on_error": on_error, "wall_seconds": wall_seconds}
                answer = self._ask("execute", seconds, outputs.take, **request)
                self._note(answers.lines(answer.get("further")))
                return answers.execution(answer, outputs, policy, self._receipt, time.monotonic() - began)
        finally:
            self._idle()
            pass_moment(self._place.opened_ns)  # what the caller changes next is a change since the opening

    def names(self) -> tuple[Name, ...]:
        """See `sandbox.Session.names`."""
        with self._in_use():
            return claims.names(self._ask("names").get("names"))

    @property
    def steps(self) -> int:
        """See `sandbox.Session.steps`."""
        return self._steps

    @property
    def undone(self) -> int:
        """See `sandbox.Session.undone`."""
        return self._undone

    def checkpoint(self) -> Checkpoint:
        """See `sandbox.Session.checkpoint`."""
        with self._in_use():
            return Checkpoint(_number(self._ask("checkpoint").get("mark")))

    def rollback(self, to: Checkpoint) -> None:
        """See `sandbox.Session.rollback`."""
        with self._in_use():
            self._ask("rollback", self._time_to_run_again, mark=to.id)

    def undo(self, n: int = 1) -> None:
        """See `sandbox.Session.undo`."""
        with self._in_use():
            self._ask("undo", self._time_to_run_again, n=n)

    def redo(self, n: int = 1) -> None:
        """See `sandbox.Session.redo`."""
        with self._in_use():
            self._ask("redo", self._time_to_run_again, n=n)

    def branch(self, n: int = 1) -> Sequence[DockerBranch]:
        """See `sandbox.Session.branch`."""
        with self._in_use():
            require_branches(n)
            numbers = [next(self._place.numbers) for _ in range(n)]
            self._ask("branch", self._time_to_run_again, numbers=numbers)
            self._branches = [DockerBranch(self, number) for number in numbers]
            return [*self._branches]

    def changes(self) -> Changes:
        """See `sandbox.Session.changes`. Each call takes a new snapshot. Raises `SandboxUnavailable`."""
        with self._lock, tempfile.TemporaryDirectory(prefix="sandsmith-changes-") as upper:
            self._require()
            receiver = Receiver(Path(upper), self._place.policy)
            try:
                self._ask("changes", sink=receiver.take)
            finally:
                receiver.close()
            snapshot = self._collected(Path(upper), receiver)
            self._place.applied.append(snapshot)
            if not self._place.keep:
                weakref.finalize(snapshot, shutil.rmtree, snapshot.store, ignore_errors=True)
            return snapshot

    def _collected(self, upper: Path, receiver: Receiver) -> Changes:
        """The change set, held to what a folder of the user's may have as any layer is."""
        place, number = self._place, next(self._place.stores)
        applied = any(snapshot.state == "applied" for snapshot in place.applied)
        with tree(upper) as layer:
            return collect(
                layer.fd,
                folder=place.folder,
                inputs=place.inputs,
                store=place.store.with_name(f"{place.store.name}.{number}") if number else place.store,
                max_bytes=place.policy.disk_bytes,
                max_files=place.policy.files,
                since_ns=None if applied else place.opened_ns,  # what we applied is no change of the user's
                deleted=receiver.deleted,
                skipped=receiver.skipped,
            )

    def cancel(self) -> None:
        """Kill what runs, from any thread: the `execute` in progress returns with status `killed`."""
        self._place.link.send("cancel", session=self._number)

    def close(self) -> None:
        """End the session, and with it the container. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for branch in [*self._branches]:
            branch.end()
        self._leave()
        self._idle()
        for then in self._at_end:
            then()

    def _leave(self) -> None:
        self._place.link.close()

    def on_close(self, then: Callable[[], None]) -> None:
        """See `sandbox.Session.on_close`."""
        self._at_end.append(then)

    def __enter__(self) -> DockerSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def _time_to_run_again(self) -> float:
        """Seconds for what may have to be run again, where the jail in there has no frozen copies."""
        return self._place.policy.wall_seconds * (self._steps + self._undone + 1)

    def _ask(self, op: str, seconds: float = 0.0, sink: Sink | None = None, **values: Any) -> dict[str, Any]:
        """The answer of the server, which has `seconds` beside its own time. Where it is none, the session is lost."""
        try:
            answer = self._place.link.call(op, PATIENCE + seconds, sink, session=self._number, **values)
            if "steps" in answer:
                self._steps, self._undone = _number(answer["steps"]), _number(answer.get("undone"))
            return answer
        except ProtocolError as error:
            self._place.link.close(f"it broke the protocol: {error}")
            raise SandboxUnavailable(f"the container broke the protocol: {error}", hint="open a new session") from None

    def _note(self, notes: tuple[str, ...]) -> None:
        """Keep what the jail in there says of its wall now."""
        known = (WATCHED, *self._receipt.notes)
        further = tuple(note for note in notes if note not in known)
        if further:
            self._receipt = replace(self._receipt, notes=(*self._receipt.notes, *further))

    @contextmanager
    def _in_use(self) -> Generator[None]:
        """Have the session to ourselves. What breaks off in the middle costs the session."""
        with self._lock:
            self._require()
            if self._branches:
                raise ConfigError("the session has branches", hint="adopt one of them, or close them all")
            try:
                yield
            except ConfigError:
                raise
            except ProtocolError as error:
                self._lost = f"it broke the protocol: {error}"
                raise SandboxUnavailable(f"the session was lost: {self._lost}", hint="open a new session") from None
            except BaseException as error:
                self._lost = self._lost or (
                    str(error) if isinstance(error, SandboxUnavailable) else "it was interrupted"
                )
                raise

    def _require(self) -> None:
        if self._closed:
            raise ConfigError("the session is closed")
        if self._lost:
            raise SandboxUnavailable(f"the session was lost: {self._lost}", hint="open a new session")

    def _idle(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


class DockerBranch(DockerSession):
    """A branch of `parent`, in the same container. See `sandbox.Branch` for the contract."""

    def __init__(self, parent: DockerSession, number: int) -> None:
        super().__init__(parent._place, parent.receipt, number, _nothing)
        self._parent = parent

    def adopt(self) -> None:
        """See `sandbox.Branch.adopt`."""
        with self._in_use(), self._parent._lock:
            parent = self._parent
            answer = self._place.link.call(
                "adopt", PATIENCE + self._time_to_run_again, session=self._number, parent=parent._number
            )
            parent._steps, parent._undone = _number(answer.get("steps")), _number(answer.get("undone"))
            for branch in [*parent._branches]:
                branch.end()

    def _leave(self) -> None:
        if not self._place.link.lost:
            self._place.link.call("close", PATIENCE, session=self._number)
        self.end()

    def end(self) -> None:
        """Be closed, as it is for the server."""
        self._closed = True
        for branch in [*self._branches]:
            branch.end()
        if self in self._parent._branches:
            self._parent._branches.remove(self)


def _number(claim: Any) -> int:
    if type(claim) is not int or not 0 <= claim < _LARGEST_NUMBER:
        raise ProtocolError("not a number")
    return claim


def _nothing() -> None:
    """What follows on the first execution of a branch."""
