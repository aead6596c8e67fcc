"""One execution seen from the host: what is said to the program's process (hostile), and what comes of it."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ..policy import Policy
from ..session import OwnCode
from ..worker import wire
from .channel import CHUNK, Worker, wait
from .figures import Figures
from .history import View
from .slot import Slot

__all__ = ["Cause", "Run", "Talk", "frame_reader"]

_FRAME_COST = 4096
"""Bytes that a frame counts for beside its own, so that a flood of empty ones is no cheaper to send than to read."""
_ROOM = 128 << 10
"""Bytes of a frame, and items in it, beside the texts and figures that a policy grants."""
_CHANNEL_ROOM = 16 << 20
"""Bytes that a process may send in one execution beside twice its figures."""
Cause = Literal["result", "died", "wall", "output", "cancelled", "memory", "broken"]


@dataclass(slots=True)
class Run:
    """What is seen of one execution while it goes on."""

    id: int
    began: float
    deadline: float
    budget: int
    figures: Figures
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    """What a process that has sent its result is asked to say: who has not read the question cannot know."""
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    result: dict[str, Any] | None = None
    received: int = 0
    cause: Cause | None = None

    @property
    def room(self) -> int:
        return self.budget - len(self.stdout) - len(self.stderr)


class Talk:
    """Sends a program to `worker`, and listens until it has answered, ended, or gone over a limit."""

    def __init__(self, run: Run, worker: Worker, slot: Slot, view: View, policy: Policy, wake: int) -> None:
        self.run = run
        self._worker, self._slot, self._policy, self._wake = worker, slot, policy, wake
        self._outputs = ((view.stdout, run.stdout), (view.stderr, run.stderr))

    def converse(self, code: str) -> None:
        """Do it; the `run` then tells."""
        run = self.run
        text = code.encode("utf-8", "backslashreplace").decode()
        channel = self._worker.channel
        channel.settimeout(max(0.1, run.deadline - time.monotonic()))
        with suppress(OSError):  # the process is gone, or does not read; listening tells which
            wire.send(channel, {"op": "execute", "id": run.id, "code": text, "own": isinstance(code, OwnCode)})
        try:
            self._listen(run, frame_reader(self._policy))
        except wire.ProtocolError:
            run.cause = "broken"

    def _listen(self, run: Run, reader: wire.FrameReader) -> None:
        channel = self._worker.channel
        # What has ended stays readable for ever, and a program may end each of them while it goes on: wait no more.
        open_ends: list[socket.socket | int] = [channel, self._slot.channel, self._wake]
        open_ends += [fd for fd, _ in self._outputs]
        while run.cause is None:
            ready = wait(open_ends, run.deadline)
            if not ready or time.monotonic() >= run.deadline:
                run.cause = "wall"
            if self._wake in ready and b"x" in os.read(self._wake, 4096):
                run.cause = "cancelled"
            for fd, kept in self._outputs:
                if fd in ready and not self._read_output(run, fd, kept):
                    open_ends.remove(fd)
            if self._slot.channel in ready or self._wake in ready:
                self._listen_to_monitor(run)
            if channel in ready and not self._hear_channel(run, reader):
                open_ends.remove(channel)

    def _hear_channel(self, run: Run, reader: wire.FrameReader) -> bool:
        """Read once from the program's process; whether there can be more. An end alone does not say it is dead."""
        data = b""
        with suppress(OSError):
            data = self._worker.channel.recv(CHUNK)  # no room for descriptors: the kernel drops those sent along
            for message in reader.feed(data):
                self._hear_worker(run, message)
        run.received += len(data)
        if run.received > 2 * self._policy.displays_bytes + _CHANNEL_ROOM:
            run.cause = run.cause or "broken"
        elif not data and self._worker.inner in self._slot.deaths:
            run.cause = run.cause or "died"
        return bool(data)

    def _listen_to_monitor(self, run: Run) -> None:
        self._slot.listen(time.monotonic())
        if self._slot.out_of_memory:
            run.cause = "memory"
        elif self._slot.exceeded:
            run.cause = run.cause or "broken"
        elif self._worker.inner in self._slot.deaths:
            run.cause = run.cause or "died"

    def _hear_worker(self, run: Run, message: dict[str, Any]) -> None:
        """A frame from the program's process. After a result it is asked something, so that neither a crash nor a
        program that goes on can hide behind it: the process answers once it has come to its end."""
        run.received += _FRAME_COST
        match message.get("op"):
            case "display":
                run.figures.take(message)
            case "result" if message.get("id") == run.id and run.result is None:
                run.result = message
                wire.send(self._worker.channel, {"op": "sync", "id": run.token})
            case "sync" if run.result is not None and message.get("id") == run.token:
                run.cause = run.cause or "result"
            case _:
                pass

    def _read_output(self, run: Run, fd: int, kept: bytearray) -> bool:
        """Read once within the budget; whether there was anything."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if len(data) > run.room:
            run.cause = "output"
        kept += data[: max(0, run.room)]
        return bool(data)

    def drain(self) -> None:
        """Take what is still in the pipes."""
        for fd, kept in self._outputs:
            for _ in range(64):
                if not self._read_output_quietly(self.run, fd, kept):
                    break

    def _read_output_quietly(self, run: Run, fd: int, kept: bytearray) -> bool:
        cause = run.cause
        more = self._read_output(run, fd, kept)
        if cause != "result":
            run.cause = cause
        return more


def frame_reader(policy: Policy) -> wire.FrameReader:
    """Reads what an honest process may send and no more: a figure in base64, or texts that are all escapes."""
    chars = 4 * policy.value_chars
    return wire.FrameReader(max(policy.display_bytes * 4 // 3, 12 * chars) + _ROOM, items=chars + _ROOM)
