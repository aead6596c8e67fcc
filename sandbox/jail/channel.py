"""The host's ends of the sockets into a jail: what came, from whom as the kernel attests it, and until when to wait."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from ..text import clean
from ..worker import wire

__all__ = [
    "CHUNK",
    "HINTS",
    "PATIENCE",
    "SHORT_PATIENCE",
    "NotHere",
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
SHORT_PATIENCE = 5.0
"""Seconds to wait for a frozen copy of the program's process, which the program may keep from answering."""
CHUNK = 65536
_SMALL = 65536
"""Bytes of the largest greeting."""
_MOST_PIDS = 1 << 22
"""The largest pid there can be (proc_sys_kernel_pid_max(5))."""
HINTS = {
    "readable folders": "programs of root run as a user that no account has: use a Python, packages and a temporary "
    "folder that every user may read; or run as a plain user",
    "unprivileged user": "inside a container root needs the capabilities CHOWN, SETUID, SETGID; or run as a plain user",
    "user namespace": "user namespaces are closed to plain users here (see user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); run as root or allow them",
    "root file system": "a kernel of 5.19 or newer with overlayfs, mount_setattr(2) and /proc is needed; "
    "inside a container, give it CAP_SYS_ADMIN and an unmasked /proc",
    "session network": "a network namespace per session is needed where hosts are allowed: raise "
    "user.max_net_namespaces",
    "session mounts": "overlayfs in user namespaces needs Linux 5.11 or newer",
}


_REFUSALS = frozenset(
    (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.ENOSPC, errno.EUSERS, errno.EOPNOTSUPP)
)
"""How a kernel says that it has no such thing, or not for this user (ENOSPC: user.max_user_namespaces is 0)."""


class NotHere(SandboxUnavailable):
    """The kernel, or who configured it, refuses a step of construction; another way to build may do without it."""

    def __init__(self, why: str, *, hint: str = "") -> None:
        super().__init__(f"the jail cannot be built here: {why}", hint=hint)
        self.why = why


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of the program: its channel, its pid inside (claimed), its pid on the host (attested)."""

    channel: socket.socket
    inner: int
    outer: int


def greet(channel: socket.socket, patience: float = PATIENCE) -> Worker:
    """The process at the other end, which says hello within `patience` seconds. Raises `SandboxUnavailable`, and
    `ConfigError` when it says that no copy can be made."""
    message, pid = expect(channel, wire.FrameReader(_SMALL), "hello", patience)
    inner = message.get("pid")
    if type(inner) is not int or not 2 <= inner <= _MOST_PIDS:
        raise SandboxUnavailable("the jail broke: no greeting from the program's process")
    return Worker(channel, inner, pid)


def expect(
    channel: socket.socket, reader: wire.FrameReader, op: str, patience: float = PATIENCE
) -> tuple[dict[str, Any], int]:
    """The message `op`, which must come next, and the sender's pid on the host. Raises `SandboxUnavailable`."""
    with suppress(OSError, wire.ProtocolError):  # the sender may be a hostile program
        message, pid = next_message(channel, reader, time.monotonic() + patience)
        if message and message.get("step") == "checkpoint":
            why = clean(str(message.get("message")), 500)
            raise ConfigError(f"the session cannot be copied: {why}", hint="a policy with history=0 needs no copies")
        if message and message.get("op") != op:
            raise unavailable(message)
        if message:
            return message, pid
    raise SandboxUnavailable(
        f"the jail broke: no {op} from inside", hint="open a new session; `sandsmith doctor` tells more"
    )


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
    space = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(16)
    data, ancillary, _, _ = channel.recvmsg(CHUNK, space, socket.MSG_CMSG_CLOEXEC)
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
    hint = HINTS.get(step, "`sandsmith doctor` shows what this host can enforce")
    if message.get("errno") in _REFUSALS:
        return NotHere(f"{step}: {why}", hint=hint)
    return SandboxUnavailable(f"the jail cannot be built here: {step}: {why}", hint=hint)
