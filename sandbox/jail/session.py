"""One session of a jail, seen from the host: talks to pid 1 (trusted) and to the program's process (hostile)."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .. import claims
from ..changes import Changes, collect, pass_moment
from ..errors import ConfigError, SandboxUnavailable
from ..execution import Execution, Name, Receipt, Request
from ..policy import Policy
from ..session import Branch, Checkpoint
from ..text import decode
from ..worker import wire
from . import measure
from .ahead import Ahead
from .channel import PATIENCE, SHORT_PATIENCE, Worker, expect, greet
from .figures import Figures
from .history import History, State, View
from .slot import Death, Refused, Slot
from .talk import Run, Talk, frame_reader

if TYPE_CHECKING:
    from ..network.proxy import Proxy

__all__ = ["Frozen", "JailSession", "OnError"]

OnError = Literal["rollback", "keep"]
_FEW = 4
"""States that are kept where there is no control group to tell how much memory they take."""
_LEAST_PATIENCE = 3.0
"""Seconds that a process gets at least to make its frozen copy, however short the execution may be."""


class Frozen(NamedTuple):
    """What it takes to have a state again: a frozen copy of the process, and a mark in its view's files.

    Both are None for the state that a session begins in, which can be made anew.
    """

    worker: Worker | None
    mark: int | None
    view: View


class JailSession:
    """A live interpreter in its jail. See `sandbox.Session` for the contract."""

    def __init__(
        self,
        slot: Slot,
        give_back: Callable[[Slot], None],
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
    ) -> None:
        self._slot, self._give_back = slot, give_back
        self._policy, self._receipt = policy, receipt
        self._folder, self._inputs = folder, inputs
        self._lock = threading.RLock()
        self._ahead = Ahead[State[Frozen]](self._lock)
        self._more_to_come = False
        self._count = self._executions = 0
        self._snapshots: list[Changes] = []
        self._began: Path | None = None
        self._proxy: Proxy | None = None
        self._channels: set[socket.socket] = set()
        self._history: History[Frozen] = History(policy.history)
        self._marks: set[int] = set()
        self._dead: list[int] = []
        """Frozen copies that are kept no longer."""
        self._base: int | None = None
        """The mark that the files are compared with at the next one."""
        self._pristine = True
        """Whether nothing has been executed in its process yet."""
        self._mapped = False
        self._branches: list[JailSession] = []
        self._fork: State[Frozen] | None = None
        """The state that the branches grow from."""
        self._depth = 0
        self._moved = False
        """Whether it has gone back and forth, so that its executions do not tell how it came to be."""
        self._lost = ""
        self._then: Callable[[], None] | None = None
        self._closed = False
        self._at_end: list[Callable[[], None]] = []
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        slot.tell(self._waker)
        self._view = View(0, -1, -1, -1)
        self._views = {0: self._view}
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def hand_out(self, store: Path, then: Callable[[], None], *, keep: bool) -> None:
        """Begin the session's life for its caller. `store` is where its change sets are kept, for good if `keep`, else
        as long as they are referred to; `then` is called once, when its first execution or the session has ended."""
        self._store, self._then, self._keep = store, then, keep
        self._opened_ns = time.time_ns()

    def _idle(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()

    @property
    def closed(self) -> bool:
        return self._closed

    def is_alive(self) -> bool:
        """Whether pid 1 of the session runs."""
        return not self._closed and self._slot.is_alive()

    def _begin(self) -> None:
        """Have pid 1 start the program's process, and wait until that is confined."""
        stdout, stderr = self._pipes(self._view)
        control, worker = self._channel()
        try:
            self._view.upper, *listeners = self._slot.request("start", [stdout, stderr, worker.fileno()])
        finally:
            os.close(stdout)
            os.close(stderr)
            worker.close()
        if listeners:
            self._proxy = self._open_proxy(socket.socket(fileno=listeners[0]))
        try:
            self._worker = greet(control)
        except SandboxUnavailable as error:
            raise SandboxUnavailable(f"{error}{self._last_words()}", hint=error.hint) from None

    @staticmethod
    def _pipes(view: View) -> tuple[int, int]:
        """Give `view` the reading ends of two pipes; returns the others."""
        (view.stdout, stdout), (view.stderr, stderr) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        for fd in (view.stdout, view.stderr):
            os.set_blocking(fd, False)
        return stdout, stderr

    def _channel(self) -> tuple[socket.socket, socket.socket]:
        """Our end and the other of a channel to a process of the program."""
        ours, theirs = socket.socketpair()
        self._channels.add(ours)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return ours, theirs

    def _open_proxy(self, listener: socket.socket) -> Proxy:
        """What the session's own network has on its one port."""
        from ..network.proxy import Proxy  # takes time to load, and few sessions have one

        return Proxy(listener, self._policy.allow_hosts, self._policy.traffic_bytes)

    def _last_words(self) -> str:
        """What a process that could not be confined has said on stderr."""
        with suppress(BlockingIOError):
            return ": " + decode(os.read(self._view.stderr, 2000), 500)
        return ""

    def _request(self, op: str, fds: Sequence[int] = (), **values: Any) -> list[int]:
        """Have pid 1 do something in the session's view; a session whose pid 1 fails is lost."""
        try:
            return self._slot.request(op, fds, **{"view": self._view.number, **values})
        except SandboxUnavailable as error:
            self._lost = self._lost or str(error)
            raise

    # -- the contract ----------------------------------------------------------------------------------------------

    @property
    def receipt(self) -> Receipt:
        """The layers around this session."""
        return self._receipt

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """See `sandbox.Session.execute`. Raises `ConfigError` for a program over `Policy.source_bytes`."""
        size = len(code.encode("utf-8", "surrogatepass"))
        if size > self._policy.source_bytes:
            raise ConfigError(f"the program has {size} bytes, over the limit of {self._policy.source_bytes}")
        with self._in_use():
            try:
                return self._execute(code, on_error, wall_seconds or self._policy.wall_seconds)
            finally:
                self._idle()
                if self._folder:
                    pass_moment(self._opened_ns)  # what the caller changes next is a change since the opening

    def names(self) -> tuple[Name, ...]:
        """See `sandbox.Session.names`."""
        with self._in_use():
            channel, token = self._worker.channel, secrets.token_hex(8)
            try:
                channel.settimeout(SHORT_PATIENCE)
                wire.send(channel, {"op": "names", "id": token})
                message, _ = expect(channel, frame_reader(self._policy), "names", SHORT_PATIENCE)
            except (OSError, SandboxUnavailable):
                raise self._gone("the program's process does not answer") from None
            return claims.names(message.get("names"))

    @contextmanager
    def _in_use(self) -> Generator[None]:
        """Have the session to ourselves. What breaks off in the middle costs the session."""
        with self._lock:
            if self._closed:
                raise ConfigError("the session is closed")
            if self._lost:
                raise SandboxUnavailable(f"the session was lost: {self._lost}", hint="open a new session")
            if self._branches:
                raise ConfigError("the session has branches", hint="adopt one of them, or close them all")
            try:
                yield
            except ConfigError:
                raise
            except BaseException:
                self._lost = self._lost or "it was interrupted"
                raise
        if self._more_to_come:
            self._more_to_come = False
            self._ahead.begin(self._copied_ahead)

    def _execute(self, code: str, on_error: OnError, wall_seconds: float) -> Execution:
        state = self._kept_before(on_error, wall_seconds)
        self._count, self._executions, self._pristine = self._count + 1, self._executions + 1, False
        began = time.monotonic()
        run = Run(self._count, began, began + wall_seconds, self._policy.output_bytes, Figures(self._policy))
        worker = self._worker
        cpu_before, before = measure.cpu_seconds(worker.outer), self._slot.counters()
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        talk = Talk(run, worker, self._slot, self._view, self._policy, self._wake)
        with self._network() as requests:
            talk.converse(code)
            peak, cpu = measure.peak_memory(worker.outer), measure.cpu_seconds(worker.outer) - cpu_before
            self._settle(run, state)
        talk.drain()
        death = self._slot.deaths.get(worker.inner)
        outcome = self._outcome(run, death, before)
        notes = self._decide(outcome["status"] == "ok" or on_error == "keep", state)
        self._mapped = self._mapped or (run.result or {}).get("mapped") is not False
        if state is not None and self._executions > 1:  # where there were two there will be more
            self._more_to_come = True
        return Execution(
            **outcome,
            **self._claims(run, notes),
            seconds=time.monotonic() - run.began,
            cpu_seconds=death.cpu if death else cpu,
            peak_memory=death.peak if death else peak,
            requests=tuple(requests),
            receipt=self._receipt,
        )

    @contextmanager
    def _network(self) -> Generator[list[Request]]:
        """Have the proxy serve, if there is one; what was asked of it is in the list afterwards."""
        requests: list[Request] = []
        if self._proxy is not None:
            self._proxy.begin()
        try:
            yield requests
        finally:
            if self._proxy is not None:
                requests += self._proxy.end()

    def _settle(self, run: Run, state: State[Frozen] | None) -> None:
        """When the execution has not come to its own end, end it; learn how its process died."""
        if run.cause == "result":
            return
        if run.cause != "died":
            self._request("kill", keep=self._kept(state))
        try:
            self._slot.wait_for(self._worker.inner)
        except SandboxUnavailable as error:
            self._lost = str(error)
            raise
        if state is None:
            self._lost = "its process has ended"

    def _outcome(self, run: Run, death: Death | None, before: tuple[int, int]) -> dict[str, Any]:
        """Status, limit, exit code and signal, from what the kernel and this supervisor saw."""
        ended_for_memory, forks_refused = (now - then for now, then in zip(self._slot.counters(), before, strict=True))
        if self._slot.out_of_memory or (ended_for_memory and self._is_to_blame(death)):
            return {"status": "memory", "limit": "memory"}
        if run.cause in ("wall", "output", "cancelled", "broken"):
            return _ENDED[run.cause]
        if death is not None:
            return self._died(death)
        assert run.result is not None
        claim = run.result.get("exit_code")
        code = claims.exit_code(claim)
        if run.result.get("error") is None and (claim is None or code == 0):
            return {"status": "ok", "exit_code": code}
        full = self._full()
        limit = full or ("processes" if forks_refused else None)
        return {"status": "error", "exit_code": code, "limit": limit}

    def _is_to_blame(self, death: Death | None) -> bool:
        """Whether what the kernel has ended for want of memory was of this session."""
        return True

    def _died(self, death: Death) -> dict[str, Any]:
        if os.WIFEXITED(death.status):
            code = os.WEXITSTATUS(death.status)
            return {"status": "error" if code else "ok", "exit_code": code}
        number = os.WTERMSIG(death.status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and death.cpu >= self._policy.cpu_seconds):
            return {"status": "timeout", "limit": "cpu", "signal": number}
        return {"status": "killed", "signal": number}

    def _full(self) -> Literal["disk", "files"] | None:
        """Which limit of the view is used up, if one is (statvfs(3))."""
        info = os.fstatvfs(self._view.upper)
        if info.f_favail == 0:
            return "files"
        return "disk" if info.f_bavail == 0 else None

    def _claims(self, run: Run, notes: tuple[str, ...]) -> dict[str, Any]:
        """What the program says, made harmless: capped, and free of control characters; and what we say."""
        limit = self._policy.value_chars
        result = run.result or {}
        return {
            "stdout": decode(bytes(run.stdout), self._policy.output_bytes),
            "stderr": decode(bytes(run.stderr), self._policy.output_bytes),
            "value": claims.text(result.get("value"), limit),
            "error": claims.problem(result.get("error"), limit),
            "displays": tuple(run.figures.kept),
            "truncated": run.cause == "output",
            "notes": (*run.figures.notes, *notes),
        }

    # -- going back ------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """See `sandbox.Session.steps`."""
        return self._history.steps

    @property
    def undone(self) -> int:
        """See `sandbox.Session.undone`."""
        return len(self._history.future)

    def checkpoint(self) -> Checkpoint:
        """See `sandbox.Session.checkpoint`."""
        with self._in_use():
            return Checkpoint(self._history.pin())

    def rollback(self, to: Checkpoint) -> None:
        """See `sandbox.Session.rollback`."""
        with self._in_use():
            target = self._history.find(to.id)
            if target is not None:
                self._move(target)

    def undo(self, n: int = 1) -> None:
        """See `sandbox.Session.undo`."""
        with self._in_use():
            self._move(self._history.undone(n))

    def redo(self, n: int = 1) -> None:
        """See `sandbox.Session.redo`."""
        with self._in_use():
            self._move(self._history.redone(n))

    def _move(self, target: State[Frozen]) -> None:
        """Be in another state, and keep the present one."""
        self._moved = True
        here = self._copied(self._policy.wall_seconds, make_room=False)
        self._history.move(target, here)
        self._return_to(target)
        self._more_to_come = True

    def _copied(self, wall_seconds: float, *, make_room: bool = True) -> State[Frozen]:
        """The present state, frozen: a copy of the program's process, and a mark in its files.

        Raises `ConfigError` when the process cannot be copied, `SandboxUnavailable` when it does not answer within the
        time of an execution: then the one before has not ended, whatever it said.
        """
        if self._pristine:
            return self._history.here(Frozen(None, None, self._view))
        if (made := self._ahead.take()) is not None:
            return made
        if make_room:
            self._make_room()
        self._slot.expect_copies(len(self._history.states) + 1)
        ours = self._ask("checkpoint", (), wall_seconds)
        try:
            mark = self._mark()
        except BaseException:
            self._hang_up(ours)
            raise
        return self._history.here(Frozen(self._answered(ours, wall_seconds), mark, self._view))

    def _copied_ahead(self) -> State[Frozen] | None:
        """The present state, frozen before anybody asks for it, if nothing can change it any more."""
        if self._closed or self._lost or self._branches or self._pristine:
            return None
        with suppress(ConfigError, SandboxUnavailable):  # who asks for it is told
            frozen = [*self._kept(), *self._dead]
            self._slot.request("alone", view=self._view.number, worker=self._worker.inner, keep=frozen)
            return self._copied(self._policy.wall_seconds)
        return None

    def _kept_before(self, on_error: OnError, wall_seconds: float) -> State[Frozen] | None:
        """The present state, frozen where an execution may have to be taken back."""
        wanted = on_error == "rollback" or self._policy.history > 0
        return self._copied(wall_seconds) if wanted else None

    def _make_room(self) -> None:
        """Where memory gets short, keep half as many states; where it cannot be told, few."""
        if not self._slot.has_group:
            self._drop(self._history.trim(min(self._history.limit, _FEW)))
        while self._history.past and self._slot.is_crowded():
            limit = len(self._history.past) // 2
            self._drop(dropped := self._history.trim(limit))
            if not dropped:
                break

    def _ask(self, op: str, fds: Sequence[int], wall_seconds: float) -> socket.socket:
        """Have the program's process make a copy of itself; returns the channel to that."""
        ours, theirs = self._channel()
        with theirs:
            try:
                self._worker.channel.settimeout(_patience(wall_seconds))
                wire.send(self._worker.channel, {"op": op}, [theirs.fileno(), *fds])
            except OSError:
                raise self._gone("the program's process is gone") from None
        return ours

    def _answered(self, channel: socket.socket, wall_seconds: float) -> Worker:
        """The copy at the other end."""
        try:
            worker = greet(channel, _patience(wall_seconds))
        except SandboxUnavailable:  # its words are the program's
            self._request("kill", keep=())
            why = "the program's process does not answer: it is gone, or what ran before has not ended"
            raise self._gone(why) from None
        except ConfigError:
            self._hang_up(channel)
            raise
        self._slot.deaths.pop(worker.inner, None)  # of an earlier process that had its number
        return worker

    def _mark(self) -> int:
        """Mark the files; the oldest states make room where there is none. Raises `ConfigError`."""
        while True:
            needed = {state.frozen.mark for state in self._history.states} | {self._base}
            mark, forget = next(self._slot.numbers), sorted(self._marks - needed)
            self._marks -= set(forget)
            try:
                after, view = self._base, self._view.number
                self._slot.request(
                    "mark",
                    view=view,
                    mark=mark,
                    after=after,
                    mapped=self._mapped,
                    forget=forget,
                    asleep=self._kept(),
                    dead=self._dead,
                )
                self._dead = []
            except Refused as error:
                if not self._history.past:
                    raise ConfigError(f"the session's files cannot be kept: {error}") from None
                self._drop(self._history.trim(len(self._history.past) // 2))
                continue
            except SandboxUnavailable as error:
                self._lost = str(error)
                raise
            self._marks.add(mark)
            self._base = mark
            return mark

    def _gone(self, why: str) -> SandboxUnavailable:
        self._lost = why
        return SandboxUnavailable(f"the jail broke: {why}", hint="open a new session")

    def _decide(self, stays: bool, state: State[Frozen] | None) -> tuple[str, ...]:
        """Make a step of the execution, or go back to `state`; returns what there is to say about it."""
        alive = self._worker.inner not in self._slot.deaths
        if not stays and state is not None:
            return self._return_to(state)
        if not alive and state is not None:  # its memory went with it, what it did to its files stays
            if state.frozen.worker is not None:
                self._request("watch", pid=state.frozen.worker.inner)
            self._wake_up(state.frozen)
            if state.frozen.worker is not None:
                ours = self._ask("checkpoint", (), self._policy.wall_seconds)
                copy = self._answered(ours, self._policy.wall_seconds)
                state = State(state.id, state.position, state.frozen._replace(worker=copy))
            self._step_from(state)
            return ("its process has ended: names are as they were before, files as it has left them",)
        self._step_from(state)
        return ()

    def _step_from(self, state: State[Frozen] | None) -> None:
        """Note that a step has led here, from `state` if that can be had again."""
        self._drop(self._history.advance(state))

    def _return_to(self, state: State[Frozen]) -> tuple[str, ...]:
        """Be in `state` again. If its copy has not survived, be in the youngest one before that has, and say so."""
        further = 0
        while True:
            frozen = state.frozen
            if frozen.view is not self._view:
                self._request("kill", keep=self._kept())
            asleep = frozen.worker.inner if frozen.worker is not None else None
            upper = self._request(
                "restore",
                view=frozen.view.number,
                mark=frozen.mark,
                keep=self._kept(state),
                watch=asleep,
                hurry=self._slot.has_group and not self._slot.is_crowded(),  # there is room while the old one goes
            )
            os.close(frozen.view.upper)
            [frozen.view.upper] = upper
            self._base = frozen.mark
            self._slot.out_of_memory = False
            try:
                self._wake_up(frozen)
                break
            except SandboxUnavailable:
                if not self._history.past:
                    raise self._gone("no state to go back to has survived") from None
            state, further = self._history.past.pop(), further + 1
            self._history.id, self._history.position = state.id, state.position
        self._drop_unused_views()
        return (f"the memory of {further} earlier steps was lost as well",) if further else ()

    def _wake_up(self, frozen: Frozen) -> None:
        """Go on with a frozen copy, or with a fresh process, in the place of the process that there is."""
        self._hang_up(self._worker.channel)
        if frozen.worker is None:
            ours, theirs = self._channel()
            with theirs:
                self._request("fresh", [theirs.fileno()])
            self._worker, self._view, self._pristine = greet(ours), frozen.view, True
            self._slot.deaths.pop(self._worker.inner, None)
            return
        self._worker, self._view, self._pristine = frozen.worker, frozen.view, False
        channel = frozen.worker.channel
        channel.settimeout(PATIENCE)
        with suppress(OSError):  # the program may have killed it
            wire.send(channel, {"op": "wake"})
        expect(channel, frame_reader(self._policy), "wake", SHORT_PATIENCE)

    def _kept(self, state: State[Frozen] | None = None) -> list[int]:
        """The processes that must not be killed: frozen copies, that of `state` among them."""
        states = [*self._history.states, *([self._fork] if self._fork else []), *([state] if state else [])]
        return [one.frozen.worker.inner for one in states if one.frozen.worker is not None]

    def _drop(self, states: Sequence[State[Frozen]]) -> None:
        """Let go of states that are kept no longer."""
        for state in states:
            if state.frozen.worker is not None:
                self._hang_up(state.frozen.worker.channel)
                self._dead.append(state.frozen.worker.inner)
        if states:
            self._drop_unused_views()

    def _drop_unused_views(self) -> None:
        used = {self._view.number, *(state.frozen.view.number for state in self._history.states)}
        if self._fork is not None:
            used.add(self._fork.frozen.view.number)
        for number in self._views.keys() - used:
            self._request("drop", view=number)
            self._views.pop(number).close()

    def _hang_up(self, channel: socket.socket) -> None:
        """A process of the program that waits for requests exits when its channel ends."""
        channel.close()
        self._channels.discard(channel)

    # -- branches --------------------------------------------------------------------------------------------------

    def branch(self, n: int = 1) -> Sequence[Branch]:
        """See `sandbox.Session.branch`."""
        from .branch import JailBranch

        with self._in_use():
            return JailBranch.grow(self, n)

    def _drop_fork(self) -> None:
        """Let go of the state that branches have grown from."""
        fork, self._fork = self._fork, None
        if fork is not None:
            self._drop([fork])

    # -- effects and the end ---------------------------------------------------------------------------------------

    def changes(self) -> Changes:
        """See `sandbox.Session.changes`. Each call takes a new snapshot. Raises `SandboxUnavailable`."""
        with self._lock:
            if self._closed:
                raise ConfigError("the session is closed")
            number = len(self._snapshots)
            applied = any(snapshot.state == "applied" for snapshot in self._snapshots)
            with self._frozen():
                snapshot = collect(
                    self._view.upper,
                    folder=self._folder,
                    inputs=self._inputs,
                    store=self._store.with_name(f"{self._store.name}.{number}") if number else self._store,
                    max_bytes=self._policy.disk_bytes,
                    max_files=self._policy.files,
                    since_ns=None if applied else self._opened_ns,  # what we applied is no change of the user's
                    began=self._began,
                )
            self._snapshots.append(snapshot)
            if not self._keep:
                weakref.finalize(snapshot, shutil.rmtree, snapshot.store, ignore_errors=True)
            return snapshot

    @contextmanager
    def _frozen(self) -> Generator[None]:
        """Hold every process of the session still."""
        self._request("freeze")
        try:
            yield
        finally:
            self._request("thaw")

    def cancel(self) -> None:
        """Kill what runs, from any thread: the `execute` in progress returns with status `killed`."""
        with suppress(OSError):
            os.write(self._waker, b"x")

    def close(self) -> None:
        """End the session and every process in it. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._ahead.end()
        self._idle()
        for branch in [*self._branches]:
            branch.close()
        self._slot.tell_no_more(self._waker)
        self._give_back(self._slot)
        if self._proxy is not None:
            self._proxy.close()
        for channel in self._channels:
            channel.close()
        for view in self._views.values():
            view.close()
        os.close(self._wake)
        os.close(self._waker)
        for then in self._at_end:
            then()

    def on_close(self, then: Callable[[], None]) -> None:
        """See `sandbox.Session.on_close`."""
        self._at_end.append(then)

    def __enter__(self) -> JailSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _patience(wall_seconds: float) -> float:
    """Seconds to wait for a copy of a process that has, or should have, nothing else to do."""
    return min(max(wall_seconds, _LEAST_PATIENCE), PATIENCE)


_ENDED: dict[str, dict[str, Any]] = {
    "wall": {"status": "timeout", "limit": "wall", "signal": int(signal.SIGKILL)},
    "output": {"status": "output", "limit": "output", "signal": int(signal.SIGKILL)},
    "cancelled": {"status": "killed", "signal": int(signal.SIGKILL)},
    "broken": {"status": "killed", "signal": int(signal.SIGKILL)},
}
