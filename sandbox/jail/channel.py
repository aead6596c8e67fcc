"""The host's ends of the sockets into a jail: what came, from whom as the kernel attests it, and until when to wait."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SandboxUnavailable
from ..text import clean
from ..worker import wire

__all__ = [
    "CHUNK",
    "HINTS",
    "PATIENCE",
    "Worker",
    "expect",
    "greet",
    "next_message",
    "readable",
    "receive",
    "unavailable",
    "wait",
]

PATIENCE = 15.0
"""Seconds to wait for pid 1, which only does bounded work."""
CHUNK = 65536
_MOST_PIDS = 1 << 22
"""The largest pid there can be (proc_sys_kernel_pid_max(5))."""
HINTS = {
    "user namespace": "user namespaces are closed to plain users here (see user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); run as root or allow them",
    "root file system": "a kernel of 5.19 or newer with overlayfs, mount_setattr(2) and /proc is needed; "
    "inside a container, give it CAP_SYS_ADMIN and an unmasked /proc",
    "session mounts": "overlayfs in user namespaces needs Linux 5.11 or newer",
}


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of the program: its channel, its pid inside (claimed), its pid on the host (attested)."""

    channel: socket.socket
    inner: int
    outer: int
    folder: str
    """Its working directory (claimed), to go back to."""


def greet(channel: socket.socket) -> Worker:
    message, pid = expect(channel, wire.FrameReader(), "hello")
    inner = message.get("pid")
    if not isinstance(inner, int) or not 2 <= inner <= _MOST_PIDS:
        raise SandboxUnavailable("the jail broke: no greeting from the program's process")
    return Worker(channel, inner, pid, str(message.get("folder"))[:4096])


def expect(channel: socket.socket, reader: wire.FrameReader, op: str) -> tuple[dict[str, Any], int]:
    """The message `op`, which must come next, and the sender's pid on the host. Raises `SandboxUnavailable`."""
    with suppress(OSError, wire.ProtocolError):  # the sender may be a hostile program
        message, pid = next_message(channel, reader, time.monotonic() + PATIENCE)
        if message and message.get("op") != op:
            raise unavailable(message)
        if message:
            return message, pid
    raise SandboxUnavailable(f"the jail broke: no {op} from inside", hint="`sandsmith doctor` tells more")


def next_message(channel: socket.socket, reader: wire.FrameReader, deadline: float) -> tuple[dict[str, Any], int]:
    """The next message and the sender's pid on the host; an empty one at the end of the stream or after `deadline`.

    Descriptors that come with it are closed. Raises `OSError` and `ProtocolError`.
    """
    while readable(channel, deadline):
        data, fds, pid = receive(channel)
        for fd in fds:
            os.close(fd)
        for message in reader.feed(data):
            return message, pid
        if not data:
            break
    return {}, 0


def receive(channel: socket.socket) -> tuple[bytes, list[int], int]:
    """Bytes, descriptors and the sender's pid as the kernel attests it (unix(7))."""
    data, ancillary, _, _ = channel.recvmsg(CHUNK, socket.CMSG_SPACE(12) + socket.CMSG_SPACE(16))
    fds: list[int] = []
    pid = 0
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = struct.unpack("3i", payload)[0]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += struct.unpack(f"{len(payload) // 4}i", payload)
    return data, fds, pid


def readable(channel: socket.socket | int, deadline: float) -> bool:
    return bool(wait([channel], deadline))


def wait(channels: list[socket.socket | int], deadline: float) -> list[socket.socket | int]:
    """Those of `channels` that can be read, waiting until `deadline` (monotonic seconds) at most."""
    poll = select.poll()
    by_fd = {c if isinstance(c, int) else c.fileno(): c for c in channels}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    timeout = max(0.0, deadline - time.monotonic()) * 1000
    return [by_fd[fd] for fd, _ in poll.poll(timeout)]


def unavailable(message: dict[str, Any]) -> SandboxUnavailable:
    """The error for a step of construction that the kernel refused."""
    step, why = (clean(str(message.get(name)), 500) for name in ("step", "message"))  # a program may have sent it
    return SandboxUnavailable(
        f"the jail cannot be built here: {step}: {why}",
        hint=HINTS.get(step, "`sandsmith doctor` shows what this host can enforce"),
    )
