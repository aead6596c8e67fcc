"""Pid 1 of one session: mounts its private file systems, starts the program's process, watches over it, ends it.

It shares no code path with the program: it reads commands from the host only, and reports what the kernel told it.
When the host goes away or closes the session, it exits, and the kernel kills every process of the session.

Commands on the monitor channel: `go` (once), then `upper`, `mark`, `kill`, `adopt`, `restore`, `freeze`, `thaw`.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import socket
import stat
import time
from contextlib import suppress
from typing import Any, NoReturn

from . import evidence, kernel, landlock, root, runner, seccomp, wire

__all__ = ["main", "prepare"]

_OWN_PROCESSES = 8
"""Room in the limit on processes, which counts all of this user in the user namespace, for the jail's own."""
_TICK = 0.05
"""Seconds between looks at the memory of a session that has no cgroup."""


def prepare(config: dict[str, Any]) -> None:
    """Do once, in the zygote, what every session would repeat."""
    seccomp.compile_policy()
    runner.prepare(config)
    evidence.prepare()


def main(config: dict[str, Any], stdout: int, stderr: int, control: int, channel: int) -> NoReturn:
    """Run as pid 1 of a session's pid namespace. Never returns."""
    host = socket.socket(fileno=channel)
    step = "hello"
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        wire.send(host, {"op": "hello"})
        if wire.receive(host) is None:
            os._exit(0)
        step = "session mounts"
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWCGROUP)
        layers = _Layers(config)
        layers.open_up(config["protected"])
        step = "program process"
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        worker = _start(config, stdout, stderr, control, host)
        for fd in (stdout, stderr, control):
            os.close(fd)
        _Monitor(config, host, layers, worker).serve()
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        wire.send(host, {"op": "failed", "step": step, "errno": code, "message": str(error)[:500]})
    os._exit(1)


class _Layers:
    """The session's file systems: private /proc, /tmp and /dev/shm, and the overlay over the user's folder."""

    def __init__(self, config: dict[str, Any]) -> None:
        size = f"size={config['disk_bytes']},nr_inodes={config['files'] + 16}"
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        root.mount_proc()
        shown = {path: kernel.clone_tree(path) for path in config["binds"] if path.startswith("/tmp/")}
        kernel.mount("tmp", "/tmp", "tmpfs", flags, f"mode=1777,{size}")
        for path, tree in shown.items():  # an interpreter may live below the host's /tmp
            root.attach(tree, path)
        kernel.mount("shm", "/dev/shm", "tmpfs", flags | kernel.MS_NOEXEC, f"mode=1777,{size}")
        kernel.mount("layers", root.LAYERS, "tmpfs", flags, f"mode=700,{size}")
        self.descriptor = os.open(root.LAYERS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lower = os.open(root.LOWER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._names = [name for name in ("inputs", "folder") if name in config["lowers"]] or ["folder"]
        for covered in (root.LAYERS, root.LOWER):
            kernel.mount("covered", covered, "tmpfs", flags | 1, "mode=000,size=4k,nr_inodes=1")
        os.mkdir(self._path("kept"), 0o700)
        kernel.mount("kept", self._path("kept"), "tmpfs", flags, f"mode=700,{size}")
        self._overlay()

    def _path(self, name: str) -> str:
        """A path below the covered layers, which only the holder of the descriptor can name."""
        return f"/proc/self/fd/{self.descriptor}/{name}"

    def _overlay(self) -> None:
        os.makedirs(self._path("upper"), 0o755, exist_ok=True)
        os.mkdir(self._path("work"), 0o755)
        lowers = ":".join(f"/proc/self/fd/{self._lower}/{name}" for name in self._names)
        options = f"lowerdir={lowers},upperdir={self._path('upper')},workdir={self._path('work')}"
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("work", root.WORK, "overlay", flags, f"{options},userxattr,index=off")

    def open_up(self, paths: list[str]) -> None:
        """Give the program what root, who started it, may do with write-protected files: in the view only."""
        for path in paths:
            target = os.path.join(root.WORK.encode(), os.fsencode(path))
            with suppress(OSError):  # a file too large for the limit on disk stays as it is
                mode = os.stat(target, follow_symlinks=False).st_mode
                os.chmod(target, stat.S_IMODE(mode) | (0o700 if stat.S_ISDIR(mode) else 0o600))

    def upper(self) -> int:
        """A fresh descriptor of the folder that holds what the program changed."""
        return os.open(self._path("upper"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def mark(self) -> None:
        """Keep a copy of the changes so far. Raises `OSError` when it does not fit."""
        self._forget("kept/upper")
        _copy_layer(self._path("upper"), self._path("kept/upper"))

    def restore(self) -> None:
        """Put the view back to the last mark."""
        kernel.umount(root.WORK)
        self._forget("upper")
        self._forget("work")
        _copy_layer(self._path("kept/upper"), self._path("upper"))
        self._overlay()

    def _forget(self, name: str) -> None:
        shutil.rmtree(self._path(name), ignore_errors=True)


def _copy_layer(source: str, target: str) -> None:
    """Copy an overlay's upper layer: files, links, whiteouts, modes, times and the overlay's own attributes."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            path = f"{target}/{entry.name}"
            if stat.S_ISDIR(info.st_mode):
                _copy_layer(entry.path, path)
            elif stat.S_ISREG(info.st_mode):
                shutil.copy2(entry.path, path, follow_symlinks=False)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(entry.path), path)
            elif stat.S_ISFIFO(info.st_mode) or stat.S_ISCHR(info.st_mode):
                os.mknod(path, info.st_mode, info.st_rdev)
    shutil.copystat(source, target, follow_symlinks=False)


def _limits(config: dict[str, Any]) -> None:
    """Resource limits of the program's processes (setrlimit(2))."""
    cpu = max(1, round(config["cpu_seconds"]))
    memory = config["address_bytes"]
    # All sessions of a sandbox count together here, so a control group's own limit is the better one.
    inherited = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    processes = inherited if config["cgroup"] else config["processes"] + _OWN_PROCESSES
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


def _start(config: dict[str, Any], stdout: int, stderr: int, control: int, host: socket.socket) -> int:
    """Fork the program's process, confine it, and let it serve. Returns its pid."""
    child = os.fork()
    if child == 0:
        try:
            host.detach()
            _confine(config, stdout, stderr, control)
            runner.serve(3)
        finally:  # whatever is raised there, the code of pid 1 must never run here
            os._exit(71)
    return child


def _confine(config: dict[str, Any], stdout: int, stderr: int, control: int) -> None:
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
        os.chdir(root.WORK)
        _limits(config)
        kernel.drop_capabilities()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        landlock.restrict(("/ws", "/tmp", "/dev/shm"), ("/dev/null", "/dev/zero", "/dev/full"))
        seccomp.install()
    except BaseException as error:
        os.write(2, f"sandsmith: the wall could not be closed: {error}\n".encode())
        os._exit(70)


class _Monitor:
    """The loop of pid 1."""

    def __init__(self, config: dict[str, Any], host: socket.socket, layers: _Layers, worker: int) -> None:
        self._host = host
        self._layers = layers
        self._memory = None if config["cgroup"] else config["memory_bytes"]
        self._watched = {worker}
        self._over = False
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)

    def serve(self) -> NoReturn:
        wire.send(self._host, {"op": "ready"})
        poll = select.poll()
        poll.register(self._host, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll(None if self._memory is None else _TICK * 1000))
            self._reap()
            self._watch_memory()
            if self._host.fileno() in ready:
                self._command()

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

    def _watch_memory(self) -> None:
        """Hold everything still when there is too much of it; the host then says what to kill."""
        if self._memory is None or self._over:
            return
        if sum(_resident(pid) for pid in _others()) + self._layers_bytes() > self._memory:
            self._over = True
            _signal_others(signal.SIGSTOP)
            self._tell({"op": "memory"})

    def _layers_bytes(self) -> int:
        total = 0
        for path in ("/tmp", "/dev/shm"):
            info = os.statvfs(path)
            total += (info.f_blocks - info.f_bfree) * info.f_frsize
        info = os.fstatvfs(self._layers.descriptor)
        return total + (info.f_blocks - info.f_bfree) * info.f_frsize

    def _command(self) -> None:
        try:
            got = wire.receive(self._host)
        except (OSError, wire.ProtocolError):
            got = None
        if got is None:
            os._exit(0)  # the host is gone or done: the kernel ends everything below pid 1
        message = got[0]
        try:
            fds = self._do(message)
        except OSError as error:
            self._tell({"op": "refused", "message": str(error)[:500]})
            return
        self._tell({"op": "done"}, fds)
        for fd in fds:
            os.close(fd)

    def _do(self, message: dict[str, Any]) -> tuple[int, ...]:
        """Carry out one command; returns descriptors for the host."""
        match message["op"]:
            case "mark":
                self._layers.mark()
            case "kill":
                self._kill(message["keep"])
                self._over = False
                _signal_others(signal.SIGCONT)
            case "adopt":
                self._watched.add(message["keep"])
            case "restore":
                self._watched.add(message["keep"])
                self._kill(message["keep"])
                self._layers.restore()
                _signal_others(signal.SIGCONT)  # the program may have stopped its own copy
            case "freeze":
                _signal_others(signal.SIGSTOP)
            case "thaw":
                _signal_others(signal.SIGCONT)
            case _:
                return (self._layers.upper(),)
        return ()

    def _kill(self, keep: int) -> None:
        """Kill every process of the session but `keep`, however fast they fork, and reap them."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            victims = [pid for pid in _others() if pid != keep]
            if not victims:
                return
            for pid in victims:
                _send_signal(pid, signal.SIGKILL)
            self._reap()
            time.sleep(0.0005)

    def _tell(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self._host, message, fds)
        except OSError:
            os._exit(0)


def _wake_up(_number: int, _frame: object) -> None:
    """A handler makes Python write to the wake-up descriptor; there is nothing else to do."""


def _others() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _resident(pid: int) -> int:
    """Bytes of anonymous and shared memory in the resident set of `pid`, 0 when it is gone (proc_pid_status(5))."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith((b"RssAnon:", b"RssShmem:")))


def _send_signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_others(number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(-1, number)
