"""Copies of the program's process: the frozen ones that a session can go back to, and those that grow into branches.

The process that asks goes on, with its threads and handles; the copy is the one that waits. A copy has one thread. It
shares what fork(2) shares: memory that was mapped as shared, and the offsets of open files, which are put back when it
wakes, by opening the files of the view anew.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from . import kernel, landlock, root, seccomp, wire
from .syscalls import machine, number

__all__ = ["CannotCopy", "Copy", "Handle", "branch", "freeze", "prepare", "sibling"]

BRANCH_NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS
"""What a copy leaves for namespaces of its own to become a branch."""
_CLONE_PARENT, _CHILD_SETTID, _CHILD_CLEARTID = 0x00008000, 0x01000000, 0x00200000
_ROOTS = (f"{root.WORK}/", f"{root.TMP}/", f"{root.SHM}/")
"""Where the files lie that go back with the memory."""
_THREAD_BYTES = 1024
"""Of glibc's thread structure, in which its own number is kept."""
_Kind = Literal["original", "half", "whole"]
"""The process that goes on; a copy whose interpreter has to be told (`PyOS_AfterFork_Child`); one that knows."""
_python = ctypes.pythonapi
_landlock = [0]
"""Landlock's version."""
_tid_at: list[int] = []
"""Where the C library keeps the number of the main thread, once known."""


class CannotCopy(Exception):
    """The process cannot be copied; the message says why."""


@dataclass(frozen=True, slots=True)
class Handle:
    """An open file of the view, as it was when the copy was made."""

    fd: int
    path: str
    flags: int
    offset: int


@dataclass(frozen=True, slots=True)
class Copy:
    """What a copy finds when it wakes."""

    channel: socket.socket
    folder: str
    handles: list[Handle]
    half: bool
    """Whether the interpreter has not been told yet that it is a copy, which takes a third of the time."""

    def wake(self) -> None:
        """Be a whole process again, in the folder and with the open files that it had."""
        if self.half:
            _tell()
        try:
            os.chdir(self.folder)
        except OSError:
            os.chdir(root.WORK)
        _reopen(self.handles)


def prepare() -> None:
    """Find out, before anything is denied, what this kernel keeps apart, and where the C library keeps the number of
    this thread, which a copy made without its `fork` has to renew."""
    _landlock[:] = [landlock.abi()]
    _python.PyThread_get_thread_ident.restype = ctypes.c_ulong
    _python.syscall.restype = ctypes.c_long
    here = _python.PyThread_get_thread_ident()  # pthread_self(3), an address
    words = struct.unpack(f"{_THREAD_BYTES // 4}I", ctypes.string_at(here, _THREAD_BYTES))
    found = [i for i, word in enumerate(words) if word == os.getpid()]
    if len(found) == 1:  # or the number is there by chance as well
        _tid_at[:] = [here + 4 * found[0]]


def sibling() -> bool:
    """Fork a sibling of this process, which is as `fork` makes a child; whether this is it. Raises `CannotCopy`."""
    kind = _fork()
    if kind == "half":
        _python.PyOS_AfterFork_Child()
    return kind != "original"


def freeze(fds: list[int], folder: str) -> Copy | None:
    """Make a frozen copy, which waits on the channel in `fds`: None in the process that goes on.

    Raises `CannotCopy`.
    """
    _require_no_device()
    files = _handles()
    kind = _fork()
    if kind == "original":
        return None
    # As little as possible is done, and so copied, before it is needed: see `Copy.wake`.
    channel = socket.socket(fileno=fds[0])
    os.chdir("/")  # a working directory would keep the overlay that is about to be replaced
    wire.send(channel, {"op": "hello", "pid": os.getpid()})
    return Copy(channel, folder, files, kind == "half")


def branch(fds: list[int], folder: str) -> Copy | None:
    """Make a copy that leaves for namespaces of its own: None in the process that goes on.

    `fds` are its channel, a Landlock ruleset, its stdout and its stderr. Pid 1 lets it unshare once, gives it its view,
    and sees to it that no power it got thereby is left. Raises `CannotCopy`.
    """
    _require_no_device()
    files = _handles()
    kind = _fork()
    if kind == "original":
        return None
    if kind == "half":
        _tell()
    control, ruleset, stdout, stderr = fds
    channel = socket.socket(fileno=control)
    try:
        os.chdir("/")
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or pid 1 could not write the maps of its user namespace
        kernel.unshare(BRANCH_NAMESPACES)
        wire.send(channel, {"op": "hello", "pid": os.getpid()})
        if wire.receive(channel) is None:
            os._exit(0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.syscall("landlock_restrict_self", ruleset, 0)
        seccomp.install(_between_branches(os.getpid()))
        kernel.drop_capabilities(ambient=False)
        for fd in (ruleset, stdout, stderr):
            os.close(fd)
        wire.send(channel, {"op": "confined"})
    except OSError as error:
        with suppress(OSError):
            wire.send(channel, {"op": "failed", "step": "checkpoint", "message": str(error)[:500]})
        os._exit(70)
    return Copy(channel, folder, files, half=False)


def _handles() -> list[Handle]:
    """The open files of the view."""
    found: list[Handle] = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            with suppress(OSError):  # one of them was the listing itself
                path = os.readlink(f"/proc/self/fd/{name}")
                if path.startswith(_ROOTS):
                    found.append(Handle(fd, path, fcntl.fcntl(fd, fcntl.F_GETFL), os.lseek(fd, 0, os.SEEK_CUR)))
    return found


def _reopen(files: list[Handle]) -> None:
    """Open the files anew, in the view as it is now, at the offsets they had; what is gone stays as it was."""
    for file in files:
        with suppress(OSError):
            fd = os.open(file.path, file.flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
            inheritable = os.get_inheritable(file.fd)
            os.dup2(fd, file.fd, inheritable=inheritable)
            os.close(fd)
            os.lseek(file.fd, file.offset, os.SEEK_SET)


def _between_branches(pid: int) -> bytes:
    """The filter of a branch whose process is `pid`; from its version 6 on Landlock looks after signals."""
    return seccomp.assemble(seccomp.between_branches(machine(), None if _landlock[0] >= 6 else pid))


def _require_no_device() -> None:
    """Raises `CannotCopy` for a process with a live CUDA context, which does not survive a fork."""
    live = False
    with suppress(Exception):  # whatever the program has made of torch
        live = "torch" in sys.modules and bool(sys.modules["torch"].cuda.is_initialized())
    if live:
        raise CannotCopy("a CUDA context is live, and cannot be copied")


def _fork() -> _Kind:
    """Fork a sibling, which pid 1 waits for, and not the program; tells which process this is.

    `fork` would make a child, which the program could come to wait for, so that a second fork is needed to get rid of
    it, at twice the cost. clone(2) makes a sibling, but does not take the C library's locks, so that it needs to be the
    only thread. Raises `CannotCopy`.
    """
    try:
        if _tid_at and len(os.listdir("/proc/self/task")) == 1:
            return _clone_sibling()
        return _fork_twice()
    except OSError as error:
        raise CannotCopy(f"the process cannot be copied: {error.strerror}") from None


def _clone_sibling() -> _Kind:
    flags = _CLONE_PARENT | _CHILD_SETTID | _CHILD_CLEARTID | signal.SIGCHLD
    tid = _tid_at[0]
    addresses = (0, tid, 0) if machine() == "x86_64" else (0, 0, tid)  # clone(2) orders them by architecture
    words = [ctypes.c_long(word) for word in (number("clone"), flags, 0, *addresses)]
    _python.PyOS_BeforeFork()
    pid = _python.syscall(*words)
    if pid == 0:
        return "half"
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(errno.EAGAIN, "no further process")
    return "original"


def _tell() -> None:
    """Tell the interpreter that it is a copy. `random` would begin anew in it: in a state that was gone back to it is
    to go on as it would have."""
    state = random.getstate()
    _python.PyOS_AfterFork_Child()
    random.setstate(state)


def _fork_twice() -> _Kind:
    state = random.getstate()
    if middle := os.fork():
        with suppress(ChildProcessError):  # a program may have SIGCHLD ignored: the kernel has reaped it
            if os.waitpid(middle, 0)[1]:
                raise OSError(errno.EAGAIN, "no further process")
        return "original"
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(72)
    random.setstate(state)
    return "whole"
