"""The files of one change set: `changes.json`, `files/<n>`, and once it is applied `journal.json`, `backup/<n>`.

The manifest and the journal are checked when they are read, as if somebody else had written them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from ..errors import ConfigError
from ..text import printable
from .beneath import sync_directory, write_all
from .nouns import Change, Skipped, State, objection, withheld

__all__ = [
    "BACKUPS",
    "CONTENTS",
    "MANIFEST",
    "Journal",
    "load_journal",
    "load_manifest",
    "locked",
    "save_journal",
    "save_manifest",
]

MANIFEST = "changes.json"
CONTENTS = "files"
JOURNAL = "journal.json"
BACKUPS = "backup"
_VERSION = 1
_MAX_BYTES = 256 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_TOKEN = re.compile(r"[0-9a-f]{16}\Z")
_PHASES = ("preparing", "applying", "applied", "undoing", "undone")
_KINDS = ("created", "modified", "deleted")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Journal:
    """How far an apply got. `before` holds, for every change, what stood at its path when the apply began."""

    phase: Literal["preparing", "applying", "applied", "undoing", "undone"]
    token: str
    """Part of the names of temporary files, so that nobody else's are removed."""
    force: bool
    before: tuple[State | None, ...]


def save_manifest(store: Path, folder: Path | None, items: tuple[Change, ...], skipped: tuple[Skipped, ...]) -> None:
    """Write the manifest, whole or not at all."""
    data = {
        "version": _VERSION,
        "folder": None if folder is None else os.fspath(folder),
        "items": [asdict(item) for item in items],
        "skipped": [asdict(entry) for entry in skipped],
    }
    _save(store / MANIFEST, data)


def load_manifest(store: Path) -> tuple[Path | None, tuple[Change, ...], tuple[Skipped, ...]]:
    """Folder, changes and skipped entries. Raises `ConfigError` for a manifest that is missing, damaged or hostile."""
    with _reading(store / MANIFEST) as record:
        folder = record.optional("folder", str)
        _require(folder is None or (folder.startswith("/") and _is_name(folder)), "folder")
        items = tuple(_change(_Record(value)) for value in record.items("items"))
        _check_together(items)
        entries = [_Record(value) for value in record.items("skipped")]
        skipped = tuple(Skipped(printable(e.take("path", str)), printable(e.take("reason", str))) for e in entries)
    return Path(folder) if folder else None, items, skipped


def save_journal(store: Path, journal: Journal) -> None:
    """Write the journal, whole or not at all, and durably."""
    _save(store / JOURNAL, {"version": _VERSION, **asdict(journal)})


def load_journal(store: Path, items: tuple[Change, ...]) -> Journal | None:
    """The journal of these changes, None before the first apply. Raises `ConfigError` for a damaged one."""
    if not (store / JOURNAL).exists():
        return None
    with _reading(store / JOURNAL) as record:
        phase, token = record.take("phase", str), record.take("token", str)
        before = tuple(None if value is None else _state(_Record(value)) for value in record.items("before"))
        _require(phase in _PHASES, "phase")
        _require(_TOKEN.match(token) is not None, "token")
        _require(len(before) == len(items), "before")
        return Journal(cast(Any, phase), token, record.take("force", bool), before)


@contextmanager
def locked(store: Path) -> Generator[None]:
    """Held while the store's changes are applied or undone. Raises `ConfigError` when another process does so."""
    import fcntl  # not on Windows

    fd = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another process is applying these changes", hint="wait for it to end") from None
        yield
    finally:
        os.close(fd)


def _save(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, json.dumps(data, separators=(",", ":")).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(folder)
    finally:
        os.close(folder)


class _Damaged(Exception):
    pass


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise _Damaged(what)


@contextmanager
def _reading(path: Path) -> Generator[_Record]:
    """The JSON object in the file; whatever is wrong with it or is found wrong in it becomes a `ConfigError`."""
    try:
        record = _Record(_parse(path))
        _require(record.take("version", int) == _VERSION, "version")
        yield record
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="the changes are gone; run again") from error
    except (_Damaged, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}", hint="the changes cannot be used; run again") from error


def _parse(path: Path) -> object:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    _require(len(data) <= _MAX_BYTES, "too large")
    return json.loads(data)


def _is_name(path: str) -> bool:
    """Whether the system can be asked for `path` at all."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False


class _Record:
    """A JSON object whose fields are taken with their exact types."""

    def __init__(self, data: object) -> None:
        _require(isinstance(data, dict), "not an object")
        self._data = cast("dict[str, object]", data)

    def take(self, name: str, kind: type[_T]) -> _T:
        value = self.optional(name, kind)
        _require(value is not None, name)
        return cast(_T, value)

    def optional(self, name: str, kind: type[Any]) -> Any:
        value = self._data.get(name)
        _require(value is None or type(value) is kind, name)
        _require(kind is not int or value is None or 0 <= cast(int, value) < 1 << 63, name)
        return value

    def items(self, name: str) -> list[object]:
        return cast("list[object]", self.take(name, list))


def _state(record: _Record) -> State:
    kind, sha256 = record.take("kind", str), record.take("sha256", str)
    _require(kind in ("file", "dir", "link"), "kind")
    _require((_SHA256.match(sha256) is not None) if kind == "file" else not sha256, "sha256")
    size, mtime_ns, mode = (record.take(name, int) for name in ("size", "mtime_ns", "mode"))
    _require(mode <= 0o7777, "mode")
    return State(cast(Any, kind), size, mtime_ns, mode, sha256, record.take("target", str), record.take("late", bool))


def _change(record: _Record) -> Change:
    path, kind, is_dir = record.take("path", str), record.take("kind", str), record.take("is_dir", bool)
    size, mode, sha256 = record.take("size", int), record.take("mode", int), record.take("sha256", str)
    content, raw = record.optional("content", int), record.optional("before", dict)
    before = None if raw is None else _state(_Record(raw))
    _require(not objection(path) and not withheld(path), f"path {printable(path)!r}")
    _require(kind in _KINDS and mode <= 0o777, "kind or mode")
    written = kind != "deleted" and not is_dir
    _require(written == (content is not None) == (_SHA256.match(sha256) is not None), "content")
    _require((before is None) == (kind == "created"), "before")
    _require(kind != "modified" or (before is not None and before.kind == "file" and not is_dir), "modified")
    _require(kind != "deleted" or (before is not None and is_dir == (before.kind == "dir")), "deleted")
    return Change(path, cast(Any, kind), is_dir, size, mode, sha256, content, before)


def _check_together(items: tuple[Change, ...]) -> None:
    """At most one deletion and one other change of a path, all deletions first."""
    deleted = [item.path for item in items if item.kind == "deleted"]
    made = [item for item in items if item.kind != "deleted"]
    _require(all(item.kind == "deleted" for item in items[: len(deleted)]), "order")
    _require(len(set(deleted)) == len(deleted) and len({m.path for m in made}) == len(made), "path twice")
    gone = set(deleted)
    _require(not any(m.path in gone and m.kind == "modified" for m in made), "modified and deleted")
