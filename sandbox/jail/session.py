"""One session of a jail, seen from the host: talks to pid 1 (trusted) and to the program's process (hostile)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..changes import Changes, collect
from ..errors import ConfigError, SandboxUnavailable
from ..execution import Display, Execution, Receipt
from ..policy import Policy
from ..text import clean, decode
from ..worker import wire
from . import cgroups, claims, measure
from .channel import CHUNK, PATIENCE, Worker, expect, greet, readable, receive, wait

__all__ = ["JailSession"]

_CHANNEL_BYTES = 64 << 20
"""Bytes of frames that are read from a program's process in one execution."""
Cause = Literal["result", "died", "wall", "output", "cancelled", "memory", "broken"]


@dataclass(slots=True)
class _Run:
    """What is seen of one execution while it goes on."""

    id: int
    began: float
    deadline: float
    budget: int
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    result: dict[str, Any] | None = None
    received: int = 0
    displays: list[Display] = field(default_factory=list[Display])
    cause: Cause | None = None

    @property
    def room(self) -> int:
        return self.budget - len(self.stdout) - len(self.stderr)


@dataclass(frozen=True, slots=True)
class _Death:
    status: int
    cpu: float
    peak: int


class JailSession:
    """A live interpreter in its jail. See `sandbox.Session` for the contract."""

    def __init__(
        self,
        zygote: socket.socket,
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
        store: Path,
    ) -> None:
        self._policy, self._receipt = policy, receipt
        self._folder, self._inputs, self._store = folder, inputs, store
        self._lock = threading.Lock()
        self._count = 0
        self._opened_ns = time.time_ns()
        self._snapshots: list[Changes] = []
        self._upper = -1
        self._init = -1
        self._cgroup: cgroups.Cgroup | None = None
        self._channels: set[socket.socket] = set()
        self._deaths: dict[int, _Death] = {}
        self._out_of_memory = False
        self._lost = ""
        self._closed = False
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._monitor, control = self._ask(zygote)
        try:
            self._begin(control)
        except BaseException:
            self.close()
            raise

    # -- starting ------------------------------------------------------------------------------------------------

    def _ask(self, zygote: socket.socket) -> tuple[socket.socket, socket.socket]:
        """Have the zygote fork a monitor; returns our ends of the monitor's and the program's channel."""
        (self._stdout, stdout), (self._stderr, stderr) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        (control, worker), (monitor, theirs) = socket.socketpair(), socket.socketpair()
        self._channels |= {control, monitor}
        for channel in (control, monitor):
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for fd in (self._stdout, self._stderr):
            os.set_blocking(fd, False)
        try:
            wire.send(zygote, {"op": "open"}, [stdout, stderr, worker.fileno(), theirs.fileno()])
        except OSError:
            pass  # the monitor's channel ends at once, which tells the same
        finally:
            os.close(stdout)
            os.close(stderr)
            worker.close()
            theirs.close()
        return monitor, control

    def _begin(self, control: socket.socket) -> None:
        """Put pid 1 into its cgroup before it starts anything, then wait for the program's process."""
        reader = wire.FrameReader()
        _, pid = expect(self._monitor, reader, "hello")
        self._init = os.pidfd_open(pid)
        self._cgroup = cgroups.create(self._policy.memory_bytes, self._policy.processes + 2)
        if self._cgroup is not None:
            self._cgroup.add(pid)
        elif cgroups.version():  # the session would have no limit: pid 1 watches only where groups cannot be made
            raise SandboxUnavailable("the jail broke: its control group could not be made")
        wire.send(self._monitor, {"op": "go"})
        expect(self._monitor, reader, "ready")
        self._reader = reader
        self._refresh()
        try:
            self._worker = greet(control)
        except SandboxUnavailable as error:
            raise SandboxUnavailable(f"{error}{self._last_words()}", hint=error.hint) from None

    def _last_words(self) -> str:
        """What a process that could not be confined has said on stderr."""
        with suppress(BlockingIOError):
            return ": " + decode(os.read(self._stderr, 2000), 500)
        return ""

    def _refresh(self) -> None:
        """Fetch the descriptor of the folder that holds what the program changed."""
        if self._upper >= 0:
            os.close(self._upper)
        self._upper = self._request("upper")[0]

    # -- talking to pid 1 ------------------------------------------------------------------------------------------

    def _request(self, op: str, **values: Any) -> list[int]:
        """Have pid 1 do something; returns the descriptors it sent. Raises `SandboxUnavailable`."""
        try:
            wire.send(self._monitor, {"op": op, **values})
        except OSError:
            raise self._broken("pid 1 is gone") from None
        fds: list[int] = []
        deadline = time.monotonic() + PATIENCE
        while True:
            for message in self._hear(deadline, fds):
                if message["op"] == "done":
                    return fds
                if message["op"] == "refused":
                    raise self._broken(str(message["message"]))

    def _hear(self, deadline: float, fds: list[int]) -> Iterator[dict[str, Any]]:
        """Messages of pid 1 that are not news of a death. Raises `SandboxUnavailable` when it is gone or late."""
        if not readable(self._monitor, deadline):
            raise self._broken("pid 1 does not answer")
        data, pid_fds, _ = receive(self._monitor)
        fds += pid_fds
        if not data:
            raise self._broken("pid 1 is gone")
        for message in self._reader.feed(data):
            if not self._note(message):
                yield message

    def _note(self, message: dict[str, Any]) -> bool:
        """Keep news that pid 1 sends unasked."""
        if message["op"] == "died":
            self._deaths[message["pid"]] = _Death(message["status"], message["cpu"], message["peak"])
        elif message["op"] == "memory":
            self._out_of_memory = True
        else:
            return False
        return True

    def _broken(self, why: str) -> SandboxUnavailable:
        self._lost = why
        return SandboxUnavailable(f"the jail broke: {why}", hint="open a new session")

    # -- the contract ----------------------------------------------------------------------------------------------

    @property
    def receipt(self) -> Receipt:
        """The layers around this session."""
        return self._receipt

    def execute(
        self, code: str, *, on_error: Literal["rollback", "keep"] = "rollback", wall_seconds: float | None = None
    ) -> Execution:
        """See `sandbox.Session.execute`. Raises `ConfigError` for a program over `Policy.source_bytes`."""
        size = len(code.encode("utf-8", "surrogatepass"))
        if size > self._policy.source_bytes:
            raise ConfigError(f"the program has {size} bytes, over the limit of {self._policy.source_bytes}")
        with self._lock:
            self._require_life()
            try:
                return self._execute(code, on_error, wall_seconds or self._policy.wall_seconds)
            except BaseException:
                self._lost = self._lost or "an execution was interrupted"
                raise

    def _require_life(self) -> None:
        if self._closed:
            raise ConfigError("the session is closed")
        if self._lost:
            raise SandboxUnavailable(f"the session was lost: {self._lost}", hint="open a new session")

    def _execute(self, code: str, on_error: str, wall_seconds: float) -> Execution:
        frozen = self._checkpoint() if on_error == "rollback" else None
        self._count += 1
        began = time.monotonic()
        run = _Run(self._count, began, began + wall_seconds, self._policy.output_bytes)
        worker = self._worker
        cpu_before, before = measure.cpu_seconds(worker.outer), self._counters()
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        self._converse(run, code)
        peak, cpu = measure.peak_memory(worker.outer), measure.cpu_seconds(worker.outer) - cpu_before
        self._settle(run, frozen)
        self._drain(run)
        death = self._deaths.get(worker.inner)
        outcome = self._outcome(run, death, before)
        if frozen is not None:
            self._decide(outcome["status"] == "ok", frozen)
        return Execution(
            **outcome,
            **self._claims(run),
            seconds=time.monotonic() - run.began,
            cpu_seconds=death.cpu if death else cpu,
            peak_memory=death.peak if death else peak,
            receipt=self._receipt,
        )

    def _converse(self, run: _Run, code: str) -> None:
        """Send the program, then listen until it has answered, ended, or gone over a limit."""
        text = code.encode("utf-8", "backslashreplace").decode()
        channel = self._worker.channel
        channel.settimeout(max(0.1, run.deadline - time.monotonic()))
        with suppress(OSError):  # the process is gone, or does not read; listening tells which
            wire.send(channel, {"op": "execute", "id": run.id, "code": text})
        try:
            self._listen(run, wire.FrameReader())
        except wire.ProtocolError:
            run.cause = "broken"

    def _listen(self, run: _Run, reader: wire.FrameReader) -> None:
        channel = self._worker.channel
        # What has ended stays readable for ever, and a program may end each of them while it goes on: wait no more.
        open_ends: list[socket.socket | int] = [channel, self._monitor, self._stdout, self._stderr, self._wake]
        while run.cause is None:
            ready = wait(open_ends, run.deadline)
            if not ready or time.monotonic() >= run.deadline:
                run.cause = "wall"
            if self._wake in ready:
                run.cause = "cancelled"
            for fd, kept in ((self._stdout, run.stdout), (self._stderr, run.stderr)):
                if fd in ready and not self._read_output(run, fd, kept):
                    open_ends.remove(fd)
            if self._monitor in ready:
                self._listen_to_monitor(run)
            if channel in ready and not self._hear_channel(run, reader):
                open_ends.remove(channel)

    def _hear_channel(self, run: _Run, reader: wire.FrameReader) -> bool:
        """Read once from the program's process; whether there can be more. An end alone does not say it is dead."""
        data = b""
        with suppress(OSError):
            data = self._worker.channel.recv(CHUNK)  # no room for descriptors: the kernel drops those sent along
            for message in reader.feed(data):
                self._hear_worker(run, message)
        run.received += len(data)
        if run.received > _CHANNEL_BYTES:
            run.cause = run.cause or "broken"
        elif not data and self._worker.inner in self._deaths:
            run.cause = run.cause or "died"
        return bool(data)

    def _listen_to_monitor(self, run: _Run) -> None:
        for _ in self._hear(run.deadline, []):
            pass
        if self._out_of_memory:
            run.cause = "memory"
        elif self._worker.inner in self._deaths:
            run.cause = run.cause or "died"

    def _hear_worker(self, run: _Run, message: dict[str, Any]) -> None:
        """A frame from the program's process: the result is asked for once more, so that a crash cannot hide."""
        match message.get("op"):
            case "display" if len(run.displays) < self._policy.displays:
                run.displays += claims.display(message, len(run.displays) + 1)
            case "result" if message.get("id") == run.id and run.result is None:
                run.result = message
                wire.send(self._worker.channel, {"op": "sync", "id": run.id})
            case "sync" if run.result is not None and message.get("id") == run.id:
                run.cause = run.cause or "result"
            case _:
                pass

    def _read_output(self, run: _Run, fd: int, kept: bytearray) -> bool:
        """Read once within the budget; whether there was anything."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if len(data) > run.room:
            run.cause = "output"
        kept += data[: max(0, run.room)]
        return bool(data)

    def _settle(self, run: _Run, frozen: Worker | None) -> None:
        """When the execution has not come to its own end, end it; learn how its process died."""
        if run.cause == "result":
            return
        if run.cause != "died":
            self._request("kill", keep=frozen.inner if frozen else -1)
        deadline = time.monotonic() + PATIENCE
        while self._worker.inner not in self._deaths:
            for _ in self._hear(deadline, []):
                pass
        if frozen is None:
            self._lost = "its process has ended"

    def _drain(self, run: _Run) -> None:
        """What is still in the pipes."""
        for fd, kept in ((self._stdout, run.stdout), (self._stderr, run.stderr)):
            for _ in range(64):
                if not self._read_output_quietly(run, fd, kept):
                    break

    def _read_output_quietly(self, run: _Run, fd: int, kept: bytearray) -> bool:
        cause = run.cause
        more = self._read_output(run, fd, kept)
        if cause != "result":
            run.cause = cause
        return more

    def _outcome(self, run: _Run, death: _Death | None, before: tuple[int, int]) -> dict[str, Any]:
        """Status, limit, exit code and signal, from what the kernel and this supervisor saw."""
        ended_for_memory, forks_refused = (now - then for now, then in zip(self._counters(), before, strict=True))
        if self._out_of_memory or ended_for_memory:
            return {"status": "memory", "limit": "memory"}
        if run.cause in ("wall", "output", "cancelled", "broken"):
            return _ENDED[run.cause]
        if death is not None:
            return self._died(death)
        assert run.result is not None
        code = run.result.get("exit_code")
        if run.result.get("error") is None and code in (None, 0):
            return {"status": "ok", "exit_code": code}
        full = self._full()
        limit = full or ("processes" if forks_refused else None)
        return {"status": "error", "exit_code": code if isinstance(code, int) else None, "limit": limit}

    def _died(self, death: _Death) -> dict[str, Any]:
        if os.WIFEXITED(death.status):
            code = os.WEXITSTATUS(death.status)
            return {"status": "error" if code else "ok", "exit_code": code}
        number = os.WTERMSIG(death.status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and death.cpu >= self._policy.cpu_seconds):
            return {"status": "timeout", "limit": "cpu", "signal": number}
        return {"status": "killed", "signal": number}

    def _full(self) -> Literal["disk", "files"] | None:
        """Which limit of the view is used up, if one is (statvfs(3))."""
        info = os.fstatvfs(self._upper)
        if info.f_favail == 0:
            return "files"
        return "disk" if info.f_bavail == 0 else None

    def _counters(self) -> tuple[int, int]:
        """How often the kernel has ended a process for want of memory, and refused a fork, in this session."""
        return (self._cgroup.out_of_memory(), self._cgroup.forks_refused()) if self._cgroup else (0, 0)

    def _claims(self, run: _Run) -> dict[str, Any]:
        """What the program says, made harmless: capped, and free of control characters."""
        limit = self._policy.value_chars
        result = run.result or {}
        value = result.get("value")
        return {
            "stdout": decode(bytes(run.stdout), self._policy.output_bytes),
            "stderr": decode(bytes(run.stderr), self._policy.output_bytes),
            "value": clean(value, limit) if isinstance(value, str) else None,
            "error": claims.problem(result.get("error"), limit),
            "displays": tuple(run.displays),
            "truncated": run.cause == "output",
        }

    # -- going back ------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> Worker:
        """A frozen copy of the program's process, and a mark in its files."""
        self._request("mark")
        ours, theirs = socket.socketpair()
        self._channels.add(ours)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            try:
                self._worker.channel.settimeout(PATIENCE)
                wire.send(self._worker.channel, {"op": "checkpoint"}, [theirs.fileno()])
            except OSError:
                raise self._broken("the program's process is gone") from None
        return greet(ours)

    def _decide(self, ok: bool, frozen: Worker) -> None:
        """Drop the frozen copy, or go back to it."""
        if ok and self._worker.inner not in self._deaths:
            self._hang_up(frozen)
            return
        self._request("adopt" if ok else "restore", keep=frozen.inner)
        self._hang_up(self._worker)
        self._worker = frozen
        self._out_of_memory = False
        self._refresh()
        frozen.channel.settimeout(PATIENCE)
        with suppress(OSError):  # the program may have killed it
            wire.send(frozen.channel, {"op": "wake", "folder": frozen.folder})
        expect(frozen.channel, wire.FrameReader(), "wake")

    def _hang_up(self, worker: Worker) -> None:
        """A process of the program that waits for requests exits when its channel ends."""
        worker.channel.close()
        self._channels.discard(worker.channel)

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
                    self._upper,
                    folder=self._folder,
                    inputs=self._inputs,
                    store=self._store.with_name(f"{self._store.name}.{number}") if number else self._store,
                    max_bytes=self._policy.disk_bytes,
                    max_files=self._policy.files,
                    since_ns=None if applied else self._opened_ns,  # what we applied is no change of the user's
                )
            self._snapshots.append(snapshot)
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
        self._monitor.close()  # pid 1 exits when its channel ends, and the kernel ends the rest
        if self._init >= 0:
            if not readable(self._init, time.monotonic() + 2):
                with suppress(OSError):
                    signal.pidfd_send_signal(self._init, signal.SIGKILL)
                readable(self._init, time.monotonic() + 2)
            os.close(self._init)
        if self._cgroup is not None:
            self._cgroup.close()
        for channel in self._channels:
            channel.close()
        for fd in (self._stdout, self._stderr, self._wake, self._waker, self._upper):
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> JailSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_ENDED: dict[str, dict[str, Any]] = {
    "wall": {"status": "timeout", "limit": "wall", "signal": int(signal.SIGKILL)},
    "output": {"status": "output", "limit": "output", "signal": int(signal.SIGKILL)},
    "cancelled": {"status": "killed", "signal": int(signal.SIGKILL)},
    "broken": {"status": "killed", "signal": int(signal.SIGKILL)},
}
