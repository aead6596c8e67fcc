"""The warm process that sessions are forked from where there are no namespaces. No untrusted code ever runs in it.

It gives up root for an unprivileged user, closes the wall around a process of its own once, to see it hold, and forks
one supervisor per session on request. When the host goes away, the control socket ends and the supervisors kill their
programs; were one to be killed itself, its program dies by the death signal.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from contextlib import suppress
from typing import Any, NoReturn

from . import everyday, evidence, landlock_monitor, runner, seccomp, wire

__all__ = ["main"]


def main(fd: int) -> NoReturn:
    """Run with the control socket on `fd`. Never returns."""
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    got = wire.receive(channel)
    if got is None or got[0].get("op") != "config":
        os._exit(0)
    config = got[0]
    step = ""
    try:
        for step, build in _WALL:  # noqa: B007  # told when it fails
            build(config)
        wire.send(channel, {"op": "ready"})
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        wire.send(channel, {"op": "failed", "step": step, "errno": code, "message": str(error)[:500]})
        os._exit(1)
    _serve(channel, config)


def _unprivileged_user(config: dict[str, Any]) -> None:
    """From root to an unprivileged user, with no way back."""
    if config["uid"] is not None:
        os.setgroups([])
        os.setresgid(config["gid"], config["gid"], config["gid"])
        os.setresuid(config["uid"], config["uid"], config["uid"])
    if 0 in os.getresuid():
        raise PermissionError("still root")


def _readable_folders(config: dict[str, Any]) -> None:
    """What a program is to read must be open to its user, since it is not shown at another place."""
    for path in (*config["binds"], config["rehearsal"]):
        os.stat(path)


def _wall(config: dict[str, Any]) -> None:
    landlock_monitor.rehearse(config, config["rehearsal"])


def _warm_up(config: dict[str, Any]) -> None:
    seccomp.compile_policy(few=config["few_calls"])
    runner.prepare(config)
    everyday.tolerate_fixed_attributes()
    evidence.prepare(config["hosts"])
    gc.collect()
    gc.freeze()


_WALL = (
    ("unprivileged user", _unprivileged_user),
    ("readable folders", _readable_folders),
    ("landlock and seccomp", _wall),
    ("warm process", _warm_up),
)


def _leave() -> NoReturn:
    """The host is gone or done: the supervisors notice as well, and end their programs; wait for them."""
    with suppress(ChildProcessError):
        os.waitpid(-1, 0)  # of ignored children it waits for the last (wait(2))
    os._exit(0)


def _serve(channel: socket.socket, config: dict[str, Any]) -> NoReturn:
    """Fork a supervisor for each request until the host goes away."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us
    while True:
        try:
            got = wire.receive(channel)
        except (OSError, wire.ProtocolError):
            got = None
        if got is None:
            _leave()
        message, fds = got
        with suppress(OSError):  # without a process the host closed ends tell of it
            if os.fork() == 0:
                channel.close()
                landlock_monitor.main(config, message["folder"], *fds)
        for fd in fds:
            os.close(fd)
