"""The template of a place for sessions: the process that the program's processes are forked from.

What each of them must give up is given up once, here, but for what keeps one session from the next: no untrusted code
ever runs in this process, which is outside the Landlock domain of every program, so that none can signal or trace it,
and not dumpable. Its children are siblings of it (clone(2), CLONE_PARENT), which pid 1 waits for.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import importlib
import os
import random
import resource
import signal
import socket
from contextlib import suppress
from typing import Any, NoReturn

from . import copies, kernel, landlock, network, root, runner, seccomp, wire

__all__ = ["Template", "limits", "map_ids"]

_OWN_PROCESSES = 8
"""Room in the limit on processes beside the session's frozen copies, for other sessions where they count together."""
_PATIENCE = 5.0
"""Seconds that a fork takes at most."""
_signal: Any = importlib.import_module("_signal")
"""`signal` without its enumerations, which cost a fresh process a tenth of its page faults."""


class Template:
    """A template as pid 1 sees it; `stderr` is where it says what the kernel has refused."""

    def __init__(self, config: dict[str, Any], stderr: int) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self.pid = os.fork()
            if self.pid == 0:
                _be(config, theirs.detach(), stderr)
        self._channel.settimeout(_PATIENCE)

    def fork(self, stdout: int, stderr: int, control: int) -> tuple[int, list[int]]:
        """Fork and confine a process that serves on `control`. Returns its pid, and the listener of its filter if that
        has one. Raises `OSError`."""
        os.kill(self.pid, signal.SIGCONT)  # it was held still with what ran before
        wire.send(self._channel, {}, [stdout, stderr, control])
        got = wire.receive(self._channel)
        if got is None:
            raise OSError(errno.ESRCH, "the template is gone")
        if "pid" not in got[0]:
            raise OSError(errno.EAGAIN, str(got[0].get("message")))
        return got[0]["pid"], got[1]

    def end(self) -> None:
        """End it; pid 1 still has to wait for it."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def limits(config: dict[str, Any], processes: int | None = None) -> None:
    """Resource limits of the program's processes (setrlimit(2)). `processes`: None leaves their number as it is."""
    cpu = max(1, round(config["cpu_seconds"]))
    memory = config["address_bytes"]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1] if processes is None else processes
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 2),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, config["disk_bytes"], config["disk_bytes"]),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, 1024, 1024),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_STACK, 8 << 20, 64 << 20),
        (resource.RLIMIT_SIGPENDING, 1024, 1024),
    ):
        resource.setrlimit(kind, (soft, hard))


def map_ids(process: str) -> None:
    """Map the one id that the new user namespace of a process has to itself (user_namespaces(7))."""
    for name, text in (("setgroups", "deny"), ("uid_map", "1000 1000 1"), ("gid_map", "1000 1000 1")):
        with open(f"/proc/{process}/{name}", "w") as file:
            file.write(text)


def _be(config: dict[str, Any], channel: int, stderr: int) -> NoReturn:
    """Be a template, and in its children the program's process."""
    try:
        os.dup2(stderr, 2)
        signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _place(channel)
        _give_up(config)
        gc.freeze()
        port = network.PORT if config["hosts"] else 0
        rules = landlock.rules(("/ws",), ("/dev/null", "/dev/zero", "/dev/full"), port)
        os.dup2(0, 2)  # the pipe belongs to the first session
        _serve(rules, tcp=bool(port), few=config["few_calls"])
    except BaseException as error:
        os.write(2, f"sandsmith: the program's process failed: {error!r}\n"[:1000].encode())
    finally:  # whatever is raised there, the code of pid 1 must never run here
        os._exit(71)


def _serve(rules: int, *, tcp: bool, few: bool) -> None:
    """Fork a process for each request of pid 1, to live by the `rules` of Landlock and by a policy of
    `seccomp`."""
    channel = socket.socket(fileno=3)
    while (got := wire.receive(channel)) is not None:
        _, fds = got
        try:
            if copies.sibling():
                channel.detach()
                _confine(rules, *fds, tcp=tcp, few=few)
                runner.serve(3)
        except copies.CannotCopy as error:
            wire.send(channel, {"message": str(error)})
        for fd in fds:
            os.close(fd)


def _place(*fds: int) -> None:
    """Have `fds` as the descriptors from 3 on, and no other but the first three."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in fds]  # above all that is replaced now
    for target, fd in enumerate(high, start=3):
        os.dup2(fd, target, inheritable=False)
    kernel.close_from(3 + len(fds))


def _give_up(config: dict[str, Any]) -> None:
    """Give up everything that no process of a program must have. Raises `OSError`."""
    os.setsid()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or its own files in /proc are not its own
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"1000")  # when memory runs out, a process like this is the one to end
    os.close(score)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    if not config["cgroup"]:
        _count_apart()
    # Counts the processes of one user in a user namespace; a control group's own limit is the better one.
    limits(config, None if config["cgroup"] else config["processes"] + config["history"] + _OWN_PROCESSES)
    _use_few_processors(config["processes"])
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _confine(rules: int, stdout: int, stderr: int, control: int, *, tcp: bool, few: bool) -> None:
    """Close the wall around this process, and tell pid 1. A step that fails ends it."""
    try:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        _place(control, 3, rules)
        os.setsid()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(root.WORK)
        landlock.enter(5)
        with socket.socket(fileno=4) as monitor:
            _tell(monitor, _filter_calls(tcp=tcp, few=few))
    except BaseException as error:
        os.write(2, f"sandsmith: the wall could not be closed: {error}\n".encode())
        os.write(4, wire.encode({"message": "the wall could not be closed"}))
        os._exit(70)


def _filter_calls(*, tcp: bool, few: bool) -> int | None:
    """Install the filter of system calls; its listener, None where this process is listened to already
    (seccomp_unotify(2)), as in some containers: then no branch can grow."""
    try:
        return seccomp.install(tcp=tcp, branches=True, few=few)
    except OSError:
        seccomp.install(tcp=tcp, few=few)
        return None


def _tell(monitor: socket.socket, listener: int | None) -> None:
    """Tell pid 1 that this process is confined, and hand it the listener."""
    if listener is not None:
        try:
            wire.send(monitor, {"pid": os.getpid()}, [listener])
            return
        except OSError:  # too many descriptors are on their way already: others' programs see to that
            pass
        finally:
            os.close(listener)
    wire.send(monitor, {"pid": os.getpid()})


def _use_few_processors(processes: int) -> None:
    """Show a program no more processors than a quarter of the processes and threads that it may have.

    Pools and libraries start one for each, several times over: on a large machine they would hit the limit at once.
    """
    seen = sorted(os.sched_getaffinity(0))
    if len(seen) > (few := max(1, processes // 4)):
        os.sched_setaffinity(0, random.SystemRandom().sample(seen, few))


def _count_apart() -> None:
    """A user namespace of its own, so that the limit on processes counts this session alone (user_namespaces(7)).

    Where the host allows no further one, sessions of a sandbox count together, which only tightens the limit.
    """
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError:
        return
    map_ids("self")
    kernel.drop_bounding_set()  # that of a new user namespace is full
