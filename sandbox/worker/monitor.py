"""Pid 1 of a session: mounts its private file systems, starts the program's process, watches over it, ends it.

It shares no code path with the program: it reads commands from the host only, and reports what the kernel told it.
When the host goes away, it exits, and the kernel kills every process of the session. A session that ends in good order
is cleared instead: once no process is left in the namespace and what the session could write to is unmounted, pid 1
serves the next session. That saves making the namespaces and this process, most of the time that a session takes.

Commands on the monitor channel: `go` (once); `start`, then any of `mark`, `alone`, `watch`, `kill`, `restore`,
`fresh`, `freeze`, `thaw`, `branch`, `settle`, `verify`, `drop`, then `clear`, and so on from `start`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NoReturn

from . import evidence, kernel, landlock, network, runner, seccomp, wire
from .layers import Layers
from .template import Template, map_ids

__all__ = ["Monitor", "fail", "main", "prepare", "resident"]

_EXITING = 1000
"""Milliseconds that pid 1 waits at most for a process that is exiting."""
_HANGS_UP = frozenset((select.POLLHUP,))
"""What the kernel says of a filter that no process is under any longer. An exiting process lets go of its filter first
and of its memory later (do_exit), and cannot be chosen to end any more: where memory has run out, it would be pid 1 if
that needed a page in between."""
_IDLE = 1000
"""Milliseconds after which nothing is expected to come soon."""
_LOOKS = 100
_SHORTLY = 0.00005
_PF_EXITING = 4  # include/linux/sched.h
_NS_GET_PARENT = 0xB702
_TICK = 0.05
"""Seconds between looks at the memory of a session that has no cgroup."""


def prepare(config: dict[str, Any]) -> None:
    """Do once, in the zygote, what every session would repeat."""
    kernel.drop_bounding_set()
    calls = seccomp.compile_policy(tcp=bool(config["hosts"]), branches=True, few=config["few_calls"])
    seccomp.lay_out(calls)
    runner.prepare(config)
    evidence.prepare(config["hosts"])


def main(config: dict[str, Any], channel: int) -> NoReturn:
    """Run as pid 1 of a pid namespace, for one session after another. Never returns."""
    host = socket.socket(fileno=channel)
    step = "hello"
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        wire.send(host, {"op": "hello"})
        if wire.receive(host) is None:
            os._exit(0)
        step = "session mounts"
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWCGROUP)
        layers = Layers(config)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        _FirstProcess(config, host, layers).serve()
    except Exception as error:
        fail(host, step, error)


def fail(host: socket.socket, step: str, error: Exception) -> NoReturn:
    """Tell the host which step the kernel refused, and end."""
    code = error.errno if isinstance(error, OSError) else None
    wire.send(host, {"op": "failed", "step": step, "errno": code, "message": str(error)[:500]})
    os._exit(1)


def _in_namespace_above(pid: int, act: Callable[[], None]) -> None:
    """Do something in the user namespace above that of `pid`; a process that is not there itself has a child do it, as
    there is no way back (ioctl_ns(2)). Raises `OSError`."""
    users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    above = fcntl.ioctl(users, _NS_GET_PARENT)
    try:
        if os.fstat(above).st_ino == os.stat("/proc/self/ns/user").st_ino:
            act()
        elif status := os.waitpid(_fork_into(above, act), 0)[1]:
            raise OSError(os.waitstatus_to_exitcode(status), "user namespace of a branch")
    finally:
        os.close(users)
        os.close(above)


def _fork_into(users: int, act: Callable[[], None]) -> int:
    """A child that does something in a user namespace, and exits with the number of the error."""
    child = os.fork()
    if child == 0:
        try:
            kernel.setns(users, kernel.CLONE_NEWUSER)
            act()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    return child


class Monitor(ABC):
    """Watches a session for the host: what is the same in every tier."""

    def __init__(self, host: socket.socket, *, ticks: bool) -> None:
        self._host = host
        self._ticks = ticks
        self._watched: set[int] = set()
        self._over = False
        self._poll, self._patient = select.poll(), select.poll()
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)

    def serve(self) -> NoReturn:
        for poll in (self._poll, self._patient):
            poll.register(self._host, select.POLLIN)
            poll.register(self._wake, select.POLLIN)
        while True:
            watching = self._ticks and self._watched
            ready = dict(self._poll.poll(_TICK * 1000 if watching else _IDLE))
            if ready and _HANGS_UP.issuperset(ready.values()):
                self._patient.poll(_EXITING)
            self._reap()
            if watching and not self._over:
                self._watch()
            if not ready and not watching:
                self._rest()
            for fd, events in ready.items():
                self._ready(fd, events)
            if self._host.fileno() in ready:
                self._command()

    @abstractmethod
    def _rest(self) -> None:
        """Let go of what is not needed while nothing happens."""

    @abstractmethod
    def _ready(self, fd: int, events: int) -> None:
        """Look after a descriptor that is polled besides."""

    def _reap(self) -> None:
        """Collect the dead, and tell the host of the program's own process."""
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._watched:
                cpu = usage.ru_utime + usage.ru_stime
                self._tell({"op": "died", "pid": pid, "status": status, "cpu": cpu, "peak": usage.ru_maxrss * 1024})

    @abstractmethod
    def _watch(self) -> None:
        """Look at what no limit of the kernel holds; called every 50 ms."""

    def _stop_for(self, op: str, **values: str) -> None:
        """Hold everything still, for there is too much of something; the host then says what to kill."""
        self._over = True
        self._signal(signal.SIGSTOP)
        self._tell({"op": op, **values})

    def _command(self) -> None:
        try:
            got = wire.receive(self._host)
        except (OSError, wire.ProtocolError):
            got = None
        if got is None:
            self._leave()
        message, given = got
        try:
            fds = self._do(message, given)
        except (OSError, RecursionError) as error:  # folders may be nested too deep to be copied
            self._tell({"op": "refused", "message": str(error)[:500]})
            return
        finally:
            for fd in given:
                os.close(fd)
        self._tell({"op": "done"}, fds)
        for fd in fds:
            os.close(fd)

    def _leave(self) -> NoReturn:
        """The host is gone or done: end, and with this process the session."""
        os._exit(0)

    def _do(self, message: dict[str, Any], fds: list[int]) -> tuple[int, ...]:
        """Carry out one command; returns descriptors for the host."""
        match message["op"]:
            case "start":
                self._over = False
                return self._start(fds)
            case "kill":
                self._kill(())
                self._over = False
            case "freeze":
                self._signal(signal.SIGSTOP)
            case "thaw":
                self._signal(signal.SIGCONT)
            case _:
                raise OSError(f"no such command: {message['op']}")
        return ()

    @abstractmethod
    def _start(self, fds: list[int]) -> tuple[int, ...]:
        """Begin a session with its stdout, stderr and channel; returns the folder that holds what the program changes,
        and what else the host gets. A step that fails ends this process."""

    @abstractmethod
    def _others(self, view: int | None = None) -> list[int]:
        """The processes of the session, or of one view of it, but this one."""

    @abstractmethod
    def _signal(self, number: int, view: int | None = None) -> None:
        """Send a signal to them."""

    def _kill(self, keep: Collection[int], view: int | None = None) -> None:
        """Kill every process of the session, or of one view of it, but those to `keep`, however fast they fork, and
        reap them. Raises `OSError`."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            victims = self._victims(keep, view)
            if not victims:
                return
            for pid in victims:
                _send_signal(pid, signal.SIGKILL)
            self._patient.poll(_TICK * 1000)
            self._reap()
        raise OSError(errno.EBUSY, "processes of the program do not die")

    def _victims(self, keep: Collection[int], view: int | None) -> list[int]:
        return [pid for pid in self._others(view) if pid not in keep]

    def _tell(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self._host, message, fds)
        except OSError:
            os._exit(0)


class _FirstProcess(Monitor):
    """The loop of pid 1: what is in its namespaces is the session, and the kernel ends it with this process."""

    def __init__(self, config: dict[str, Any], host: socket.socket, layers: Layers) -> None:
        super().__init__(host, ticks=not config["cgroup"])
        self._config, self._layers = config, layers
        self._template: Template | None = None
        self._ends = (-1, -1)
        self._asleep: set[int] = set()
        """The frozen copies."""
        self._listeners: dict[int, seccomp.Listener] = {}

    def _start(self, fds: list[int]) -> tuple[int, ...]:
        step = ""
        try:
            step = "session mounts"
            self._layers.open()
            step = "session network"
            listeners = (network.listen(),) if self._config["hosts"] else ()
            step = "program process"
            stdout, stderr, control = fds
            self._ends = (os.dup(stdout), os.dup(stderr))
            self._fork(control)
        except OSError as error:
            fail(self._host, step, error)
        return self._layers.views[0].upper, *listeners

    def _fork(self, control: int) -> None:
        """Start the program's process, in the place of the one there was. Raises `OSError`."""
        pid, listeners = self._forked(*self._ends, control)
        self._watched.add(pid)
        for fd in listeners:
            self._listeners[fd] = seccomp.Listener(fd)
            self._poll.register(fd, select.POLLIN)

    def _forked(self, *fds: int) -> tuple[int, list[int]]:
        """A fresh process of the template, or of a new one in the place of one that has died."""
        if self._template is not None:
            try:
                return self._template.fork(*fds)
            except OSError:
                self._template.end()
        self._template = Template(self._config, self._ends[1])
        return self._template.fork(*fds)

    def _rest(self) -> None:
        """The template takes a megabyte of its own; another one is made in a millisecond."""
        if self._template is not None:
            self._template.end()
            self._template = None

    def _clear(self) -> None:
        """End a session: kill every process of the namespace but this one and the template, until none is left."""
        self._watched.clear()
        self._asleep.clear()
        if self._config["hosts"]:  # the template is in the network of this session
            self._rest()
        while others := self._others():
            for pid in others:
                _send_signal(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
        for fd in [*self._listeners]:
            self._hear_no_more(fd)
        for fd in self._ends:
            os.close(fd)
        self._layers.close()

    def _lay_asleep(self, pids: Collection[int], dead: Collection[int]) -> None:
        """Hold frozen copies still, which a program could have handle a signal; end those that are kept no longer,
        which cannot notice it."""
        for pid in {*pids} - self._asleep:
            _send_signal(pid, signal.SIGSTOP)
        for pid in self._asleep & {*dead}:
            _send_signal(pid, signal.SIGKILL)
        self._asleep = (self._asleep | {*pids}) - {*dead}

    def _watch(self) -> None:
        used = sum(resident(pid, pid in self._asleep) for pid in self._others()) + self._layers.used_bytes()
        if used > self._config["memory_bytes"]:
            self._stop_for("memory")

    def _do(self, message: dict[str, Any], fds: list[int]) -> tuple[int, ...]:
        view: int = message.get("view", 0)
        match message["op"]:
            case "clear":
                self._clear()
            case "mark":
                self._lay_asleep(message["asleep"], message["dead"])
                self._layers.forget(message["forget"])
                self._layers.mark(view, message["mark"], message["after"], message["mapped"])
            case "alone":
                self._require_alone(message["worker"], message["keep"], view)
            case "watch":
                self._watch_over(message["pid"])
            case "kill":
                self._kill(message["keep"], view)
                self._over = False
            case "restore":
                hurry = message["hurry"] and not self._layers.is_crowded(view)
                if not (hurry and self._kill_one(message["keep"], view)):
                    self._kill(message["keep"], view)
                self._over = False
                for pid in message["keep"]:  # the program may have woken them
                    _send_signal(pid, signal.SIGSTOP)
                self._layers.restore(view, message["mark"])
                if message["watch"] is not None:
                    self._watch_over(message["watch"])
                return (self._layers.views[view].upper,)
            case "fresh":
                self._fork(fds[0])
            case "freeze":
                self._signal(signal.SIGSTOP, view)
            case "thaw":
                self._signal(signal.SIGCONT, view)
            case "branch":
                return self._branch(view, message["source"])
            case "settle":
                self._settle(view, message["source"], message["pid"])
            case "verify":
                self._verify()
            case "drop":
                if view in self._layers.views:
                    self._kill((), view)
                    self._layers.drop(view)
            case _:
                return super()._do(message, fds)
        return ()

    def _watch_over(self, pid: int) -> None:
        """Tell of the end of a copy that goes on as the program's process."""
        self._watched.add(pid)
        _send_signal(pid, signal.SIGCONT)  # the program may have stopped its own copy

    def _require_alone(self, worker: int, keep: Collection[int], view: int) -> None:
        """Raises `OSError` unless all that runs in a view is the one thread of its program, which waits for us."""
        others = {*self._others(view)} - {worker, *keep}
        if others or len(os.listdir(f"/proc/{worker}/task")) > 1:
            raise OSError(errno.EBUSY, "something else runs")

    # -- branches --------------------------------------------------------------------------------------------------

    def _branch(self, view: int, source: int) -> tuple[int, ...]:
        """Make the files of a branch, and let one process leave for namespaces of its own."""
        self._layers.grow(view, source)
        for listener in self._listeners.values():
            listener.let_one_in()
        return self._layers.views[view].upper, landlock.apart()

    def _ready(self, fd: int, events: int) -> None:
        if fd in self._listeners:
            if events & select.POLLIN:
                self._listeners[fd].answer()
            else:  # no process is left under that filter
                self._hear_no_more(fd)

    def _hear_no_more(self, fd: int) -> None:
        """What a filter asks from now on fails."""
        self._poll.unregister(fd)
        self._listeners.pop(fd).close()

    def _settle(self, view: int, source: int, pid: int) -> None:
        """Give the process that was let through its ids, and the files of its view."""
        if pid not in [listener.inside for listener in self._listeners.values()]:
            raise OSError(errno.EPERM, "another process has left for namespaces of its own")
        _in_namespace_above(pid, lambda: map_ids(str(pid)))
        self._layers.settle(view, source, pid)
        self._watched.add(pid)

    def _verify(self) -> None:
        """See that no process holds a power over the namespaces of a branch, and let nobody gain one."""
        for listener in self._listeners.values():
            listener.shut()
        for _ in range(_LOOKS):
            pids = self._others()
            if any(_capable(pid) for pid in pids):
                raise OSError(errno.EPERM, "a process of the branch has kept capabilities")
            if self._others() == pids:  # or one that was looked at too late may have handed them on
                return
        raise OSError(errno.EAGAIN, "the processes of the session do not stand still")

    # -- processes -------------------------------------------------------------------------------------------------

    def _kill_one(self, keep: Collection[int], view: int) -> bool:
        """Kill a process with one thread, if that is all there is: whether it is on its way out. It can change no file
        any more then, and need not be waited for, but gives its memory and the room of deleted files back only some
        milliseconds later."""
        victims = self._victims(keep, view)
        if len(victims) != 1:
            return False
        [pid] = victims
        _send_signal(pid, signal.SIGKILL)
        for _ in range(_LOOKS):
            if _is_exiting(pid):  # and what it has started in the meantime?
                return _threads(pid) <= 1 and {pid}.issuperset(self._victims(keep, view))
            time.sleep(_SHORTLY)
        return False

    def _others(self, view: int | None = None) -> list[int]:
        ours = ("1", str(self._template.pid)) if self._template is not None else ("1",)
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and name not in ours]
        if view is None or self._layers.views.keys() <= {view}:
            return pids
        return [pid for pid in pids if self._layers.view_of(pid) in (view, None)]

    def _signal(self, number: int, view: int | None = None) -> None:
        if view is None or self._layers.views.keys() <= {view}:
            _send_signal(-1, number)
            return
        for pid in self._others(view):
            _send_signal(pid, number)


def _wake_up(_number: int, _frame: object) -> None:
    """A handler makes Python write to the wake-up descriptor; there is nothing else to do."""


def resident(pid: int, asleep: bool = False) -> int:
    """Bytes of anonymous and shared memory in the resident set of `pid`, 0 when it is gone, or does not run while it
    should be `asleep` (proc_pid_status(5))."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    if asleep and any(line.startswith(b"State:\tT") for line in lines):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith((b"RssAnon:", b"RssShmem:")))


def _threads(pid: int) -> int:
    """Threads of a process, 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _is_exiting(pid: int) -> bool:
    """Whether a process with one thread has come to its exit, from which it does not return (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            flags = int(file.read().rpartition(b")")[2].split()[6])
    except OSError:
        return True
    return bool(flags & _PF_EXITING)


def _capable(pid: int) -> bool:
    """Whether a process has any capability (proc_pid_status(5)); one that is gone has none."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            sets = [line.split()[1] for line in file if line.startswith((b"CapPrm:", b"CapEff:", b"CapInh:"))]
    except OSError:
        return False
    return any(int(one, 16) for one in sets)


def _send_signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
