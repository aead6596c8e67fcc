"""A place for one session after another: a pid namespace, its pid 1 (trusted) and its control group, from the host."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from ..errors import SandboxUnavailable
from ..policy import Policy
from ..worker import wire
from . import cgroups
from .channel import PATIENCE, expect, readable, receive, unavailable

__all__ = ["PLACES", "Death", "Refused", "Slot", "Slots"]

PLACES = 4
"""Slots that are kept for sessions to come; each takes about 2 MB."""
_TURN = 0.02
"""Seconds of one wait for news, between which other sessions of the slot have theirs."""
_CLEARING = 5.0
"""Seconds for every process of a session to be gone."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process of the program ended, as wait4(2) told pid 1: its status, CPU seconds and peak memory in bytes."""

    status: int
    cpu: float
    peak: int


class Slot:
    """Talks to pid 1 of a namespace. Raises `SandboxUnavailable` when it cannot be made, fails, or is gone."""

    def __init__(self, zygote: socket.socket, policy: Policy, **request: str) -> None:
        """Have `zygote` fork pid 1, told what is in `request`."""
        self.renew()
        self.numbers = count(1)
        """For the marks and the branches of this slot."""
        self._lock = threading.RLock()
        self._wakers: set[int] = set()
        self._pid = -1
        self._group: cgroups.Cgroup | None = None
        self._reader = wire.FrameReader()
        self.channel, theirs = socket.socketpair()
        try:
            self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with theirs, suppress(OSError):  # the channel then ends at once, which tells the same
                wire.send(zygote, {"op": "open", **request}, [theirs.fileno()])
            self._begin(policy)
        except OSError as error:  # pid 1, or what it was forked from, was killed meanwhile
            self.close()
            raise _broken(f"pid 1 is gone: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def _begin(self, policy: Policy) -> None:
        """Put pid 1 into its cgroup before it starts anything."""
        self._processes, self._memory, self._copies = policy.processes, policy.memory_bytes, 0
        self._group = cgroups.create(policy)
        _, pid = expect(self.channel, self._reader, "hello")
        self._pid = os.pidfd_open(pid)
        if self._group is not None:
            self._group.add(pid)
        elif cgroups.version():  # the session would have no limit: pid 1 watches only where groups cannot be made
            raise SandboxUnavailable("the jail broke: its control group could not be made")
        wire.send(self.channel, {"op": "go"})

    def request(self, op: str, fds: Sequence[int] = (), *, patience: float = PATIENCE, **values: Any) -> list[int]:
        """Have pid 1 do something within `patience` seconds; returns the descriptors it sent. Raises `Refused` for
        what it could not do and has not done."""
        with self._lock:
            return self._request(op, fds, patience, values)

    def _request(self, op: str, fds: Sequence[int], patience: float, values: dict[str, Any]) -> list[int]:
        try:
            wire.send(self.channel, {"op": op, **values}, fds)
        except OSError:
            raise _broken("pid 1 is gone") from None
        received: list[int] = []
        deadline = time.monotonic() + patience
        while True:
            for message in self._hear(deadline, received):
                match message["op"]:
                    case "done":
                        return received
                    case "failed":
                        raise unavailable(message)
                    case _:
                        raise Refused(f"the jail broke: {message.get('message')}", hint="open a new session")

    def listen(self, deadline: float) -> None:
        """Take in the news that pid 1 sends unasked, waiting for it until `deadline` (monotonic seconds)."""
        with self._lock:
            if readable(self.channel, deadline):
                for _ in self._hear(deadline, []):
                    pass

    def wait_for(self, pid: int) -> None:
        """Wait until pid 1 has told that `pid` is dead."""
        deadline = time.monotonic() + PATIENCE
        while pid not in self.deaths:
            if time.monotonic() >= deadline:
                raise _broken("pid 1 does not answer")
            self.listen(time.monotonic() + _TURN)

    def tell(self, waker: int) -> None:
        """Write to `waker` when there is news, which another session of this slot may have taken in."""
        self._wakers.add(waker)

    def tell_no_more(self, waker: int) -> None:
        """Undo `tell`."""
        self._wakers.discard(waker)

    def _hear(self, deadline: float, fds: list[int]) -> Iterator[dict[str, Any]]:
        """Messages of pid 1 that are not news."""
        if not readable(self.channel, deadline):
            raise _broken("pid 1 does not answer")
        data = b""
        with suppress(ConnectionResetError):  # it was killed before it had read a request
            data, received, _ = receive(self.channel)
            fds += received
        if not data:
            raise _broken("pid 1 is gone")
        for message in self._reader.feed(data):
            if not self._note(message):
                yield message

    def _note(self, message: dict[str, Any]) -> bool:
        """Keep news that pid 1 sends unasked."""
        if message["op"] == "died":
            self.deaths[message["pid"]] = Death(message["status"], message["cpu"], message["peak"])
        elif message["op"] == "memory":
            self.out_of_memory = True
        elif message["op"] == "full":
            self.exceeded = message["limit"]
        else:
            return False
        for waker in tuple(self._wakers):
            with suppress(OSError):
                os.write(waker, b"n")
        return True

    def renew(self) -> None:
        """Forget what has happened so far."""
        self.deaths: dict[int, Death] = {}
        self.out_of_memory = False
        self.exceeded: Literal["", "disk", "files", "processes"] = ""

    def counters(self) -> tuple[int, int]:
        """How often the kernel has ended a process for want of memory, and refused a fork."""
        return (self._group.out_of_memory(), self._group.forks_refused()) if self._group else (0, 0)

    def expect_copies(self, number: int) -> None:
        """Make room in the limit on processes for so many frozen copies."""
        if self._group is not None and number != self._copies:
            self._group.limit_processes(self._processes + number)
            self._copies = number

    @property
    def has_group(self) -> bool:
        """Whether the kernel counts its memory and processes."""
        return self._group is not None

    def is_crowded(self) -> bool:
        """Whether more than half of the memory is used, as far as the kernel tells."""
        return self._group is not None and self._group.memory() > self._memory // 2

    def is_alive(self) -> bool:
        """Whether pid 1 runs."""
        return self._pid >= 0 and not readable(self._pid, time.monotonic())

    def clear(self) -> bool:
        """End the session: whether every process of it is gone, and the slot good for the next one."""
        try:
            self.request("clear", patience=_CLEARING)
            self.expect_copies(0)
        except (SandboxUnavailable, OSError, wire.ProtocolError):
            return False
        self.renew()
        return True

    def close(self) -> None:
        """End pid 1, and with it every process of the namespace. Safe to call twice."""
        self.channel.close()  # pid 1 exits when its channel ends, and the kernel ends the rest
        if self._pid >= 0:
            if not readable(self._pid, time.monotonic() + 2):
                with suppress(OSError):
                    signal.pidfd_send_signal(self._pid, signal.SIGKILL)
                readable(self._pid, time.monotonic() + 2)
            os.close(self._pid)
            self._pid = -1
        if self._group is not None:
            self._group.close()
            self._group = None


class Slots:
    """The slots of sessions that have ended, for those to come."""

    def __init__(self) -> None:
        self._free: list[Slot] = []
        self._closed = False

    def take(self) -> Slot | None:
        """One that is free and alive, if there is one."""
        with suppress(IndexError):
            while True:
                slot = self._free.pop()
                if slot.is_alive():
                    return slot
                slot.close()
        return None

    def give_back(self, slot: Slot) -> None:
        """Keep the slot of a session that has ended, if nothing of it is left."""
        if self._closed or len(self._free) >= PLACES or not slot.clear():
            slot.close()
            return
        self._free.append(slot)
        if self._closed:  # meanwhile
            self.drop()

    def drop(self) -> None:
        """End those that are free."""
        with suppress(IndexError):
            while True:
                self._free.pop().close()

    def close(self) -> None:
        """End those that are free now or later."""
        self._closed = True
        self.drop()


class Refused(SandboxUnavailable):
    """Pid 1 could not do what it was asked for, and has not done it."""


def _broken(why: str) -> SandboxUnavailable:
    return SandboxUnavailable(f"the jail broke: {why}", hint="open a new session")
