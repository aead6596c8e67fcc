"""Starts the warm process of a jail and opens sessions from it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from ..execution import Receipt
from ..policy import Policy
from ..worker import landlock, wire
from . import cgroups, view
from .channel import HINTS, next_message, unavailable
from .session import JailSession

__all__ = ["Jail"]

_START_SECONDS = 60.0


class Jail:
    """A warm jail over one folder: `open()` gives fresh sessions in milliseconds. Use it as a context manager."""

    def __init__(
        self,
        *,
        workspace: str | Path | None = None,
        policy: Policy | None = None,
        inputs: Sequence[Path] = (),
        store: Path | None = None,
    ) -> None:
        _require_linux()
        self._policy = policy or Policy()
        self._folder = view.checked_folder(workspace)
        _sweep()
        self._own = Path(tempfile.mkdtemp(prefix=f"sandsmith-jail-{os.getpid()}-"))
        self._sessions: list[JailSession] = []
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        try:
            self._store = store or self._own / "changes"
            self._ids = view.worker_ids()
            self._inputs = _gather(inputs, self._own / "inputs", self._ids)
            self._shown = self._folder
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path | None:
        """The user's folder, None for an empty view."""
        return self._folder

    def _start(self) -> None:
        """Start the warm process; over a copy of the folder where its file system cannot be shown to another user."""
        try:
            self._launch()
        except SandboxUnavailable as error:
            if "id-mapped mount" not in str(error) or self._folder is None or self._ids is None:
                raise
            self._stop()
            self._shown = view.copy(self._folder, self._own / "folder", self._ids, self._policy)
            self._launch()

    def _launch(self) -> None:
        from ..worker import zygote  # imports ctypes

        ours, theirs = socket.socketpair()
        self._channel = ours
        package = str(Path(zygote.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", zygote.boot(package, theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=view.environment(self._policy),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                cwd="/",
                start_new_session=True,
            )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._handshake(ours)

    def _handshake(self, channel: socket.socket) -> None:
        """Configure the launcher, write the id maps it asks for, and wait until it is ready."""
        wire.send(channel, {"op": "config", **self._config()})
        deadline = time.monotonic() + _START_SECONDS
        while True:
            message, pid = next_message(channel, wire.FrameReader(), deadline)
            match message.get("op"):
                case "maps":
                    self._write_maps(pid)
                    wire.send(channel, {"op": "mapped"})
                case "ready":
                    return
                case "failed":
                    raise unavailable(message)
                case _:
                    raise SandboxUnavailable(f"the jail could not be started{self._last_words()}")

    def _last_words(self) -> str:
        """What a launcher that died has said on stderr."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        if self._process.poll() is None or self._process.stderr is None:
            return ""
        return ": " + self._process.stderr.read().decode("utf-8", "replace").strip()[-500:]

    def _config(self) -> dict[str, Any]:
        policy, ids = self._policy, self._ids
        config = view.layout(self._shown, self._inputs, policy)
        copied = self._shown is not self._folder
        return {
            **config,
            "owner": None if copied or self._folder is None else view.owner(self._folder, ids),
            "protected": view.write_protected(self._shown, ids, policy.files),
            "uid": ids[0] if ids else None,
            "gid": ids[1] if ids else None,
            "cgroup": cgroups.version() > 0,
            "address_bytes": policy.memory_bytes * 2 + (1 << 30),
            **{
                name: getattr(policy, name)
                for name in (
                    "cpu_seconds",
                    "memory_bytes",
                    "processes",
                    "disk_bytes",
                    "files",
                    "value_chars",
                    "displays",
                )
            },
        }

    def _write_maps(self, pid: int) -> None:
        """Map the program's user to an unprivileged one of the host, and to nothing else (user_namespaces(7))."""
        uid, gid = self._ids or (os.geteuid(), os.getegid())
        folder = Path("/proc") / str(pid)
        try:
            (folder / "setgroups").write_text("deny")
            (folder / "uid_map").write_text(f"1000 {uid} 1")
            (folder / "gid_map").write_text(f"1000 {gid} 1")
        except OSError as error:
            raise SandboxUnavailable(
                f"the jail cannot be built here: id maps: {error.strerror}", hint=HINTS["user namespace"]
            ) from None

    def open(self) -> JailSession:
        """A fresh session: no name and no file of another one is in it. Raises `SandboxUnavailable`."""
        with self._lock:
            if self._closed or self._channel is None:
                raise ConfigError("the sandbox is closed")
            store = (
                self._store
                if not self._sessions
                else self._store.with_name(f"{self._store.name}-{len(self._sessions)}")
            )
            session = JailSession(self._channel, self._policy, self.receipt, self._folder, self._inputs, store)
            self._sessions.append(session)
            return session

    @property
    def receipt(self) -> Receipt:
        """The layers around every session of this jail."""
        group = cgroups.version()
        layers = ["user-namespace", "pid-namespace", "mount-namespace", "net-namespace", "ipc-namespace"]
        layers += ["uts-namespace", "cgroup-namespace", "pivot-root", "overlayfs", "no-capabilities", "no-new-privs"]
        layers += ["seccomp", f"landlock-{landlock.abi()}", "rlimits"]
        layers += [f"cgroup-v{group}"] if group else []
        notes = [] if group else ["no cgroup: memory is watched every 50 ms, not by the kernel"]
        if self._shown is not self._folder:
            notes.append("the program works on a copy of the folder: its file system has no id-mapped mounts")
        return Receipt("jail", tuple(layers), tuple(notes))

    def close(self) -> None:
        """End every session and the warm process, and remove what this jail kept. Safe to call twice."""
        with self._lock:
            self._closed = True
        for session in self._sessions:
            session.close()
        self._stop()
        shutil.rmtree(self._own, ignore_errors=True)

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            _end(self._process)

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _sweep() -> None:
    """Remove what jails of this user left that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob("sandsmith-jail-*"):
        pid = folder.name.split("-")[2]
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The zygote exits when its channel ends; a launcher that does not is killed, and the zygote dies with it."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _require_linux() -> None:
    if sys.platform != "linux":
        raise SandboxUnavailable(
            f"the jail needs Linux, and this is {sys.platform}",
            hint="run sandsmith inside a Linux virtual machine or WSL 2",
        )
    if landlock.abi() < 1:
        raise SandboxUnavailable(
            "the jail cannot be built here: the kernel has no Landlock",
            hint="Linux 5.13 or newer with landlock in its list of security modules (lsm=) is needed",
        )


def _gather(inputs: Sequence[Path], folder: Path, ids: tuple[int, int] | None) -> Path | None:
    """Copies of single files that lie outside the workspace, to show them in the view by name."""
    if not inputs:
        return None
    folder.mkdir()
    for path in inputs:
        target = folder / path.name
        if target.exists():
            raise ConfigError(f"two input files are called {path.name}")
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        target.chmod(0o644)
        if ids is not None:
            os.chown(target, *ids)
    return folder
