"""The warm process that sessions are forked from. No untrusted code ever runs in it.

A *launcher* (fresh exec, one thread) builds the wall and gives up every privilege it has outside; its child, the
*zygote*, is pid 1 of a pid namespace and forks one *monitor* per session on request. When the host goes away, the
control socket ends, the zygote exits, and the kernel kills all that is below it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from typing import Any, NoReturn

from . import copies, kernel, monitor, root, wire

__all__ = ["boot", "main"]

_SPLIT = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP


def boot(package: str, fd: int, zygote: str = "zygote", first: str = "") -> str:
    """Source for `python -I -c`: start `main` of a `zygote` of the worker package that lies in the folder `package`.

    `first` is run before that, with the package importable."""
    return (
        f"import sys; sys.path.insert(0, {package!r})\nfrom worker import forking\nforking.defer()\n"
        f"from worker import {zygote}\n{first}\ndel sys.path[0]\n{zygote}.main({fd})"
    )


def main(fd: int) -> NoReturn:
    """Run as the launcher, with the control socket on `fd`. Never returns."""
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    copies.prepare()
    os.umask(0o022)  # the tree that root builds is for a program that is not root
    config = _expect(channel, "config")
    step = ""
    try:
        for step, build in _WALL:  # noqa: B007  # told when it fails
            build(channel, config)
        step = "pid namespace"
        kernel.unshare(kernel.CLONE_NEWPID)
        launcher, held = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
    except Exception as error:
        _fail(channel, step, error)
    if child == 0:
        os.close(held)
        _zygote(channel, config, launcher)
    channel.close()
    os.waitpid(child, 0)
    os._exit(0)


def _user_namespace(channel: socket.socket, config: dict[str, Any]) -> None:
    """A plain user has power only in a user namespace of their own; root gives its power up later."""
    if config["uid"] is None:
        kernel.unshare(kernel.CLONE_NEWUSER)
        _ask_for_maps(channel)


def _namespaces(channel: socket.socket, config: dict[str, Any]) -> None:
    kernel.unshare(_SPLIT)
    socket.sethostname("sandsmith")


def _root(channel: socket.socket, config: dict[str, Any]) -> None:
    root.build(config)


def _unprivileged_user(channel: socket.socket, config: dict[str, Any]) -> None:
    """From root of the host to an unprivileged user of the host, with power over a new user namespace only."""
    if config["uid"] is not None:
        os.setgroups([])
        os.setresgid(config["gid"], config["gid"], config["gid"])
        os.setresuid(config["uid"], config["uid"], config["uid"])
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        _ask_for_maps(channel)


_WALL = (
    ("user namespace", _user_namespace),
    ("namespaces", _namespaces),
    ("root file system", _root),
    ("unprivileged user", _unprivileged_user),
)


def _expect(channel: socket.socket, op: str) -> dict[str, Any]:
    got = wire.receive(channel)
    if got is None or got[0].get("op") != op:
        os._exit(0)
    return got[0]


def _ask_for_maps(channel: socket.socket) -> None:
    """The host writes the maps of this process's new user namespace: it may, we may not."""
    wire.send(channel, {"op": "maps"})
    _expect(channel, "mapped")


def _fail(channel: socket.socket, step: str, error: Exception) -> NoReturn:
    code = error.errno if isinstance(error, OSError) else None
    try:
        wire.send(channel, {"op": "failed", "step": step, "errno": code, "message": str(error)[:500]})
    finally:
        os._exit(1)


def _zygote(channel: socket.socket, config: dict[str, Any], launcher: int) -> NoReturn:
    """As pid 1 of the outer pid namespace: warm up, then serve. Never returns."""
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([launcher], [], [], 0)[0]:  # the launcher was killed before it could take us along
            os._exit(0)
        os.close(launcher)
        root.mount_proc()
        own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        monitor.prepare(config)
        gc.collect()
        gc.freeze()
        wire.send(channel, {"op": "ready"})
    except Exception as error:
        _fail(channel, "warm process", error)
    _serve(channel, config, own_pids)


def _serve(channel: socket.socket, config: dict[str, Any], own_pids: int) -> NoReturn:
    """Fork a monitor for each request until the host goes away."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us
    while True:
        try:
            got = wire.receive(channel)
        except (OSError, wire.ProtocolError):
            got = None
        if got is None:
            os._exit(0)
        _open(channel, config, own_pids, got[1])


def _open(channel: socket.socket, config: dict[str, Any], own_pids: int, fds: list[int]) -> None:
    """Fork the monitor of one session as pid 1 of a pid namespace of its own. A refusal shows the host closed ends."""
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            if os.fork() == 0:
                channel.close()
                os.close(own_pids)
                monitor.main(config, *fds)
        finally:
            kernel.setns(own_pids, kernel.CLONE_NEWPID)
    except OSError:
        pass
    finally:
        for fd in fds:
            os.close(fd)
