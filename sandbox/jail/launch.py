"""Starts the warm process of a jail and opens sessions from it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from ..execution import Receipt
from ..policy import Policy
from ..scratch import Scratch
from ..worker import landlock, wire
from . import cgroups, view, walls
from .channel import HINTS, NotHere, next_message, readable, unavailable
from .session import JailSession
from .slot import Slots

__all__ = ["Jail", "gather"]

_START_SECONDS = 60.0


class Jail:
    """A warm jail over one folder: `open()` gives fresh sessions in milliseconds. Use it as a context manager."""

    _first = ""
    """What the warm process does first."""
    _few_calls = False
    """Whether programs get along with the few system calls of one process."""

    def __init__(
        self,
        *,
        workspace: str | Path | None = None,
        policy: Policy | None = None,
        inputs: Sequence[Path] = (),
        store: Path | None = None,
        ahead: bool = True,
    ) -> None:
        _require_linux()
        self._policy = policy or Policy()
        self._folder = view.checked_folder(workspace)
        self._scratch = Scratch()
        self._own = self._scratch.path
        self._sessions: list[JailSession] = []
        self._slots = Slots()
        self._opened = 0
        self._spare: Future[JailSession] | None = None
        self._maker = ThreadPoolExecutor(1, "sandsmith-jail")
        self._ahead = ahead
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        try:
            self._keep, self._store = store is not None, store or self._own / "changes"
            self._ids = view.worker_ids()
            self._inputs = gather(inputs, self._own / "inputs", self._ids)
            self._shown = self._folder
            self._wall: walls.Wall = walls.Namespaces()
            self._build()
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
            self._shown = view.copy(self._folder, None, self._own / "folder", self._ids, self._policy)
            self._launch()

    def _build(self) -> None:
        """Build the strongest wall that this host allows. Raises `SandboxUnavailable` when that is too weak."""
        minimum = self._policy.minimum_tier
        walls.require(minimum, self._wall.tier, "no control group can be made")
        refused = self._try_namespaces()
        if refused is not None:
            walls.require_landlock_alone(refused, self._policy)
            walls.require(minimum, "landlock", refused.why)
            self._shown, self._wall = self._folder, walls.Landlock(self._own, self._ids, refused.why)
            self._launch()

    def _try_namespaces(self) -> NotHere | None:
        """Build with namespaces; what this host refuses of it, if it does."""
        try:
            self._start()
        except NotHere as error:
            self._stop()
            return error
        return None

    def _launch(self) -> None:
        from ..worker import zygote  # imports ctypes

        ours, theirs = socket.socketpair()
        self._channel = ours
        package = str(Path(zygote.__file__).parent.parent)
        source = zygote.boot(package, theirs.fileno(), self._wall.zygote, self._first)
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", source]
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
        try:
            self._handshake(ours)
        except OSError as error:  # it was killed meanwhile
            raise SandboxUnavailable(f"the jail could not be started: {error.strerror}{self._last_words()}") from None

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
        self._protected = view.write_protected(self._shown, ids, policy.files)
        copied = self._shown is not self._folder
        return {
            **config,
            **self._wall.settings(),
            "owner": None if copied or self._folder is None else view.owner(self._folder, ids),
            "protected": self._protected,
            "hosts": policy.allow_hosts,
            "few_calls": self._few_calls,
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
                    "history",
                    "disk_bytes",
                    "files",
                    "value_chars",
                    "displays",
                    "preload",
                    "display_bytes",
                    "displays_bytes",
                    "display_pixels",
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
            raise NotHere(f"id maps: {error.strerror}", hint=HINTS["user namespace"]) from None

    def open(self) -> JailSession:
        """A fresh session: no name and no file of another one is in it. Raises `SandboxUnavailable`.

        Once its first execution has ended the next one is made, to wait for its caller and not be waited for.
        """
        with self._lock:
            if self._closed:
                raise ConfigError("the sandbox is closed")
            session = self._waiting() or self._make()
            number, self._opened = self._opened, self._opened + 1
            self._sessions = [*(s for s in self._sessions if not s.closed), session]
            store = self._store.with_name(f"{self._store.name}-{number}") if number else self._store
            session.hand_out(store, self._make_next, keep=self._keep)
            return session

    def _make_next(self) -> None:
        """Have a session made in advance, unless write-protected files would be copied into its view too early."""
        with self._lock:
            ahead = self._ahead and self._wall.ahead and not self._protected
            if ahead and not self._closed and self._spare is None:
                self._spare = self._maker.submit(self._make)

    def _make(self) -> JailSession:
        """A session of the warm process, or of a new one in the place of one that has died.

        One thread at a time is here: `open` waits for a session made in advance before it makes one itself.
        """
        if self._is_warm():
            try:
                return self._session()
            except SandboxUnavailable:
                if self._is_warm():
                    raise
        self._slots.drop()
        self._stop()
        self._launch()
        return self._session()

    def _session(self) -> JailSession:
        assert self._channel is not None
        return self._wall.open(self._channel, self._policy, self.receipt, self._folder, self._inputs, self._slots)

    def _is_warm(self) -> bool:
        """Whether the warm process lives; it holds the other end of the channel, on which it says no more."""
        assert self._channel is not None
        return self._channel.fileno() >= 0 and not readable(self._channel, time.monotonic())

    def _waiting(self) -> JailSession | None:
        """The session made in advance, if there is one and it lives; making one that does not anew tells why."""
        if self._spare is None:
            return None
        try:
            session = self._spare.result()
        except (SandboxUnavailable, OSError):
            self._spare = None
            return None
        self._spare = None  # not before it is here: an interrupt would lose it
        if session.is_alive():
            return session
        session.close()
        return None

    @property
    def receipt(self) -> Receipt:
        """The layers around every session of this jail."""
        copied = "the program works on a copy of the folder: its file system has no id-mapped mounts"
        return self._wall.receipt(self._policy, [] if self._shown is self._folder else [copied])

    def close(self) -> None:
        """End every session and the warm process, and remove what this jail kept. Safe to call twice."""
        with self._lock:
            self._closed = True
        if spare := self._waiting():
            spare.close()
        self._maker.shutdown()
        for session in self._sessions:
            session.close()
        self._slots.close()
        self._stop()
        self._scratch.close()

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            _end(self._process)

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


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
    walls.require_seccomp()


def gather(inputs: Sequence[Path], folder: Path, ids: tuple[int, int] | None) -> Path | None:
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
