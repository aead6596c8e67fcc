"""The user's folder on its way into a container, and what became of it on its way out, which is hostile."""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ..changes import Skipped
from ..changes.beneath import write_all
from ..changes.nouns import objection
from ..errors import SandboxUnavailable
from ..jail.server import CHUNK
from ..jail.view import may_read
from ..policy import Policy
from ..text import clean, printable
from ..worker.wire import ProtocolError
from .link import Link

__all__ = ["Receiver", "send_folder"]

_REASON = 200
_Kind = Literal["created", "modified", "deleted"]
_KINDS: tuple[_Kind, ...] = ("created", "modified", "deleted")


def send_folder(link: Link, folder: Path | None, inputs: Path | None, policy: Policy) -> None:
    """Send what is in `folder`, and `inputs` over it, links as links. What the user cannot read is left out; as root,
    whose programs run as another one, what the owner of the folder cannot read.

    Raises `SandboxUnavailable` when it is too large.
    """
    left = policy.disk_bytes
    for source in filter(None, (folder, inputs)):
        reader = source.stat() if os.geteuid() == 0 and source is folder else None
        for path, info in _entries(source):
            if reader is not None and not may_read(reader, info) and not stat.S_ISLNK(info.st_mode):
                continue
            left -= info.st_size if stat.S_ISREG(info.st_mode) else 0
            if left < 0:
                raise SandboxUnavailable(
                    f"the folder {source} is too large for a container ({policy.disk_bytes} bytes at most)",
                    hint="name the files the task needs in a smaller folder, or use the jail, which copies nothing",
                )
            with suppress(PermissionError, FileNotFoundError):
                _send(link, source, path, info)


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Folders, regular files and links below `folder`, a folder before what is in it."""
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top) / name
            with suppress(OSError):
                info = path.lstat()
                if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode):
                    yield path, info


def _send(link: Link, folder: Path, path: Path, info: os.stat_result) -> None:
    entry: dict[str, Any] = {"path": str(path.relative_to(folder)), "mtime": info.st_mtime_ns}
    mode = stat.S_IMODE(info.st_mode) & 0o777
    if stat.S_ISDIR(info.st_mode):
        link.send("put", kind="dir", mode=mode | 0o700, **entry)
    elif stat.S_ISLNK(info.st_mode):
        link.send("put", kind="link", mode=mode, target=str(path.readlink()), **entry)
    else:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            link.send("put", kind="file", mode=mode | (0o600 if os.geteuid() == 0 else 0o400), **entry)
            _send_contents(link, fd, info.st_size)
        finally:
            os.close(fd)


def _send_contents(link: Link, fd: int, size: int) -> None:
    """Send `size` bytes at most, for the file may grow meanwhile."""
    while size > 0 and (data := os.read(fd, min(CHUNK, size))):
        link.send("data", data=b64encode(data).decode())
        size -= len(data)


class Receiver:
    """Takes the parts of a change set, and writes them below `place`, an empty folder, as an upper layer would hold
    them. Deletions are in `deleted`, what the container left out in `skipped`."""

    def __init__(self, place: Path, policy: Policy) -> None:
        self._place = place
        self._bytes, self._entries = policy.disk_bytes, 2 * policy.files
        self._file: int | None = None
        self.deleted: list[str] = []
        self.skipped: list[Skipped] = []

    def take(self, part: dict[str, Any]) -> None:
        """One part. Raises `ProtocolError` for what no honest server sends, `OSError` when it cannot be written."""
        match part.get("name"):
            case "data" if self._file is not None:
                self._write(self._file, part.get("data"))
            case "change":
                self._count()
                self._change(_path(part), part.get("kind"), part.get("is_dir"), part.get("mode"))
            case "skipped":
                self._count()
                path, reason = (str(part.get(name))[: 2 * _REASON] for name in ("path", "reason"))
                self.skipped.append(Skipped(printable(path), printable(clean(reason, _REASON))))
            case _:
                raise ProtocolError("not a part of a change set")

    def close(self) -> None:
        """Close what is open. Safe to call twice."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _count(self) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise ProtocolError("too many changes")

    def _change(self, path: str, kind: Any, is_dir: Any, mode: Any) -> None:
        self.close()
        if kind not in _KINDS or type(is_dir) is not bool or type(mode) is not int:
            raise ProtocolError("not a change")
        if kind == "deleted":
            self.deleted.append(path)
            return
        target = self._place / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_dir:
                target.mkdir(exist_ok=True)
                target.chmod(mode & 0o777 | 0o700)
                return
            self._file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.fchmod(self._file, mode & 0o777 | 0o600)
        except (FileExistsError, NotADirectoryError):
            raise ProtocolError("changes that contradict each other") from None

    def _write(self, file: int, text: Any) -> None:
        try:
            data = b64decode(text if type(text) is str else "?", validate=True)
        except ValueError:
            raise ProtocolError("contents that are not base64") from None
        self._bytes -= len(data)
        if self._bytes < 0:
            raise ProtocolError("more contents than the session may write")
        write_all(file, data)


def _path(part: dict[str, Any]) -> str:
    path = part.get("path")
    if type(path) is not str or objection(path):
        raise ProtocolError("a change at no path of a folder")
    return path
