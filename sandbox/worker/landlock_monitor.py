"""The supervisor of one session where there are no namespaces, and the wall around its program's one process.

It does for its session what pid 1 does in a namespace: starts the program's process, watches over it, ends it. Without
a namespace, that all of it ends rests on there being nothing but one process, which can neither fork nor exec, whose
death signal it cannot take back, and which dies with this supervisor.

Commands on the monitor channel: `go` and `start` (once), then `kill`, `fresh`, `freeze`, `thaw`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from . import kernel, landlock, landlock_filter, monitor, runner, seccomp, template, trees, wire

__all__ = ["main", "rehearse"]

_READABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full")
_OWN_PROC = ("stat", "statm", "status")
"""Files of the program's own in /proc that it may read: its memory and time. Its own folder there also holds `net`."""
_ETC = ("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types")
_SHARE = 10
"""Looks at the session's files take at most one part in so many of the time."""


def main(config: dict[str, Any], path: str, channel: int) -> NoReturn:
    """Run as the supervisor of the session whose files are in the folder `path`. Never returns."""
    host = socket.socket(fileno=channel)
    try:
        _die_with(os.getppid())
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        wire.send(host, {"op": "hello"})
        if wire.receive(host) is None:
            os._exit(0)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        Supervisor(config, host, Files(path)).serve()
    except Exception as error:
        monitor.fail(host, "supervisor", error)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (prctl(2))."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before that took effect
        os._exit(0)


class Files:
    """The session's files, in a folder that only its user may enter: the host put a copy of the user's into `began`."""

    def __init__(self, path: str) -> None:
        self.began, self.work, self.scratch = (f"{path}/{name}" for name in ("began", "work", "tmp"))
        self._began_with = (0, 0)

    def upper(self) -> int:
        """A descriptor of the working folder, changed files and others."""
        return os.open(self.work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def restore(self) -> None:
        """Put the working folder back to how it began, and empty the scratch folder. Raises `OSError`."""
        trees.remove(self.work)
        trees.remove(self.scratch)
        shutil.copytree(self.began, self.work, symlinks=True)
        os.mkdir(self.scratch, 0o700)
        self._began_with = trees.used(self.began, 1 << 30)

    def grown(self, most: int) -> tuple[int, int]:
        """Bytes and entries that the session has more than it began with; more than `most` entries are not counted."""
        size, entries = (-number for number in self._began_with)
        for path in (self.work, self.scratch):
            more, number = trees.used(path, most - entries)
            size, entries = size + more, entries + number
        return size, entries


class Supervisor(monitor.Monitor):
    """The loop of the supervisor: its one child is the session."""

    def __init__(self, config: dict[str, Any], host: socket.socket, files: Files) -> None:
        super().__init__(host, ticks=True)
        self._config, self._own = config, files
        self._next_look = 0.0
        self._ends = (-1, -1)
        self._child = 0

    def _start(self, fds: list[int]) -> tuple[int, ...]:
        step = ""
        try:
            step = "session files"
            self._own.restore()
            step = "program process"
            stdout, stderr, control = fds
            self._ends = (os.dup(stdout), os.dup(stderr))
            self._fork(control)
        except OSError as error:
            monitor.fail(self._host, step, error)
        return (self._own.upper(),)

    def _fork(self, control: int) -> None:
        """Fork the program's process, confine it, and let it serve on `control`."""
        supervisor = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            try:
                os.dup2(self._ends[1], 2)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _confine(self._config, self._own, *self._ends, control, supervisor)
                runner.serve(3, self._own.work)
            except BaseException as error:
                os.write(2, f"sandsmith: the program's process failed: {error!r}\n"[:1000].encode())
            finally:  # whatever is raised there, the code of the supervisor must never run here
                os._exit(71)
        self._watched.add(self._child)

    def _ready(self, fd: int, events: int) -> None:
        pass

    def _rest(self) -> None:
        pass

    def _watch(self) -> None:
        threads, memory = _threads(self._child), monitor.resident(self._child)
        if memory > self._config["memory_bytes"] and not self._config["cgroup"]:
            self._stop_for("memory")
        elif threads > self._config["processes"]:
            self._stop_for("full", limit="processes")
        elif limit := self._full():
            self._stop_for("full", limit=limit)

    def _full(self) -> str:
        """Which limit on files is exceeded, if one is; looked at less often where looking takes long."""
        began = time.monotonic()
        if began < self._next_look:
            return ""
        size, entries = self._own.grown(self._config["files"])
        self._next_look = began + _SHARE * (time.monotonic() - began)
        return "disk" if size > self._config["disk_bytes"] else "files" if entries > self._config["files"] else ""

    def _do(self, message: dict[str, Any], fds: list[int]) -> tuple[int, ...]:
        if message["op"] != "fresh":
            return super()._do(message, fds)
        self._kill(())
        self._over = False
        self._own.restore()
        self._fork(fds[0])
        return (self._own.upper(),)

    def _others(self, view: int | None = None) -> list[int]:
        """The program's process; with it, had it ever got children, those that have become ours."""
        return _children()

    def _signal(self, number: int, view: int | None = None) -> None:
        for pid in self._others():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _leave(self) -> NoReturn:
        self._kill(())
        os._exit(0)


def _children() -> list[int]:
    """The processes to wait for (proc_tid_children(5))."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _threads(pid: int) -> int:
    """How many threads `pid` has, 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _confine(config: dict[str, Any], files: Files, stdout: int, stderr: int, control: int, parent: int) -> None:
    """Give up everything in this process that a program must not have. A step that fails ends it."""
    try:
        os.dup2(stderr, 2)
        os.setsid()
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or its own files in /proc are not its own
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out, this is the process to end
        null = os.open("/dev/null", os.O_RDONLY)
        for fd, target in ((null, 0), (stdout, 1), (stderr, 2), (control, 3)):
            os.dup2(fd, target, inheritable=target < 3)
        kernel.close_from(4)
        os.chdir(files.work)
        os.environ.update(HOME=files.scratch, TMPDIR=files.scratch, JOBLIB_MULTIPROCESSING="0")  # it would warn
        template.limits(config)
        kernel.drop_capabilities()
        _die_with(parent)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        _close_the_wall(config, files)
    except BaseException as error:
        os.write(2, f"sandsmith: the wall could not be closed: {error}\n".encode())
        os._exit(70)


def _close_the_wall(config: dict[str, Any], files: Files) -> None:
    own = (f"/proc/{os.getpid()}/{name}" for name in _OWN_PROC)
    etc = (path for path in _ETC if os.path.exists(path))
    landlock.confine((*config["binds"], *etc, *_READABLE, *own), (files.work, files.scratch, *_WRITABLE))
    seccomp.install(landlock_filter.compile_filter(os.getpid()))
    seccomp.install(few=config["few_calls"])


def rehearse(config: dict[str, Any], path: str) -> None:
    """Close the wall around a process that has nothing to do but to try it. Raises `OSError` when it does not hold."""
    ours, theirs = socket.socketpair()
    files, parent = Files(path), os.getpid()
    files.restore()
    child = os.fork()
    if child == 0:
        try:
            _confine(config, files, theirs.fileno(), theirs.fileno(), theirs.fileno(), parent)
            os.write(3, (", ".join(_open_ways()) or "nothing").encode())
            os.read(3, 1)
        finally:
            os._exit(0)
    with ours:
        theirs.close()
        found = ours.recv(1000).decode("utf-8", "replace").strip()
        seen = child in _children() and monitor.resident(child) > 0
    os.waitpid(child, 0)
    if found != "nothing":
        raise OSError(f"not enforced: {found or 'the process was replaced'}")
    if not seen:
        raise OSError("not enforced: limits on memory, since /proc does not show processes (hidepid)")


def _open_ways() -> list[str]:
    """What this process can do and a program must not."""
    ways = {
        "sockets": socket.socket,
        "reading outside": lambda: os.listdir("/"),
        "writing outside": lambda: os.mkdir("../outside"),
        "environments of others": lambda: open(f"/proc/{os.getppid()}/environ"),  # noqa: SIM115
        "signals to others": lambda: os.kill(os.getppid(), 0),
        "modes of files": lambda: os.chmod(".", 0o700),
        "becoming root": lambda: os.setuid(0) if os.geteuid() else None,
        "exec": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "fork": os.fork,
    }
    return [name for name, attempt in ways.items() if _succeeds(attempt)]


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True
