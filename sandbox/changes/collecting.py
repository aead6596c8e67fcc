"""Reads an overlay's upper layer, all of which an attacker made, into a store of plain files and a manifest.

Covered: links, devices, fifos, sockets, hard links, sparse files, hostile names, deep and wide trees, files that
change while they are read, links swapped into the user's folder. Not covered: what the files' contents say.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..errors import ConfigError
from ..text import printable
from .beneath import CHUNK, Tree, tree, write_all
from .changeset import Changes
from .nouns import Change, Skipped, State, objection, withheld
from .store import CONTENTS, MANIFEST, save_manifest

__all__ = ["collect"]

_Take = Callable[[str], str | None]
"""Takes one entry; returns its path if it is a directory to visit."""


def collect(
    upper_fd: int,
    *,
    folder: Path | None,
    inputs: Path | None,
    store: Path,
    max_bytes: int,
    max_files: int,
    since_ns: int | None = None,
    began: Path | None = None,
    deleted: Iterable[str] = (),
    skipped: Iterable[Skipped] = (),
) -> Changes:
    """The changes in the overlay's upper directory `upper_fd`, copied into the new folder `store`.

    `folder` and `inputs` are the lower layers, `inputs` above `folder`. At most `max_bytes` of contents are kept and
    `max_files` entries looked at. What the user changed after `since_ns` (nanoseconds since the epoch) will be a
    conflict. What cannot be taken over is listed in `skipped`, with the reason. `began`: where the view is a whole
    copy and no layer, the copy that it began as, which the program could not write; `upper_fd` is then that view.
    `deleted`: paths that were deleted, where no mark in the layer says so; `skipped`: what is not in it, and why.
    Raises `ConfigError` when `store` already holds changes or a folder cannot be opened, `OSError` when the store
    cannot be written.
    """
    if (store / MANIFEST).exists():
        raise ConfigError(f"{store} already holds changes", hint="every collection needs a store of its own")
    (store / CONTENTS).mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        below = stack.enter_context(tree(folder)) if folder else None
        extra = stack.enter_context(tree(inputs)) if inputs else None
        copy = stack.enter_context(tree(began)) if began else None
        collector = _Collector(Tree(upper_fd), below, extra, copy, store / CONTENTS, max_bytes, max_files, since_ns)
        collector.walk()
        collector.delete(deleted)
    home = folder.absolute() if folder else None
    save_manifest(store, home, collector.items(), (*collector.skipped, *skipped))
    return Changes.load(store)


class _Left(Exception):
    """This entry is not taken over; the message says why."""


class _Collector:
    def __init__(
        self,
        upper: Tree,
        folder: Tree | None,
        inputs: Tree | None,
        began: Tree | None,
        contents: Path,
        max_bytes: int,
        max_files: int,
        since_ns: int | None,
    ) -> None:
        self._since_ns, self._began = since_ns, began
        self._upper, self._folder, self._inputs, self._contents = upper, folder, inputs, contents
        self._bytes, self._entries, self._max_files = max_bytes, max_files, max_files
        self._deleted: dict[str, Change] = {}
        self._made: dict[str, Change] = {}
        self._stored = 0
        self.skipped: list[Skipped] = []

    def items(self) -> tuple[Change, ...]:
        """Deletions first, children before parents; then what is made, parents before children."""
        deleted = sorted(self._deleted, key=_order, reverse=True)
        return tuple(self._deleted[p] for p in deleted) + tuple(self._made[p] for p in sorted(self._made, key=_order))

    def walk(self) -> None:
        """Visit every directory of the upper layer; a list, not recursion, since the depth is the attacker's."""
        todo = [("", False)]
        while todo:
            path, hidden = todo.pop()
            with self._noted(path or "."):
                todo += self._directory(path, hidden)

    def delete(self, paths: Iterable[str]) -> None:
        """Take deletions that the layer does not tell of; what was made at such a path says it already."""
        for path in sorted(paths, key=_order):
            if path not in self._made and path not in self._deleted:
                self._entry(path, self._whiteout)

    @contextmanager
    def _noted(self, path: str) -> Generator[None]:
        """Turns whatever stands in the way of one entry into a line of `skipped`."""
        try:
            yield
        except _Left as left:
            self._skip(path, str(left))
        except OSError as error:
            self._skip(path, f"cannot be read: {error.strerror}")

    def _skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(printable(path), reason))

    def _directory(self, path: str, hidden: bool) -> list[tuple[str, bool]]:
        """Take the entries of one directory; its subdirectories come back, to be visited.

        `hidden`: whether an opaque directory further up hides the folder's own, so that what is not here is deleted.
        """
        with self._upper.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            hidden = hidden or _overlay_mark(fd, "opaque") == b"y"
            old = self._began.names(path) if self._began else []
            with os.scandir(fd) as entries:
                names = [entry.name for entry in islice(entries, self._entries + len(old) + 1)]
        new = len(set(names) - set(old))
        if new > self._entries:  # a part of a directory says nothing about what was deleted from it
            self._entries = 0
            raise _Left(f"more than {self._max_files} files and folders")
        self._entries -= new
        for name in sorted(set(old) - set(names)):
            self._entry(_join(path, name), self._whiteout)
        if hidden and self._folder:
            for name in sorted(set(self._folder.names(path)) - set(names)):
                self._entry(_join(path, name), self._whiteout)
        visits = [self._entry(_join(path, name), self._take) for name in sorted(names)]
        return [(sub, hidden) for sub in visits if sub]

    def _entry(self, path: str, take: _Take) -> str | None:
        with self._noted(path):
            if reason := objection(path):
                raise _Left(reason)
            return take(path)
        return None

    def _take(self, path: str) -> str | None:
        """Take one entry of the upper layer; the path again if it is a directory to visit."""
        found = self._upper.stat(path)
        if found is None:
            return None
        mode = found.st_mode
        if self._began and self._is_as_it_began(path, found):
            return path if stat.S_ISDIR(mode) else None
        if stat.S_ISCHR(mode) and found.st_rdev == 0:
            return self._whiteout(path)
        if stat.S_ISLNK(mode) and self._is_old_link(path):
            return None
        if reason := withheld(path):
            raise _Left(reason)
        if stat.S_ISDIR(mode):
            return self._take_directory(path)
        if not stat.S_ISREG(mode):
            raise _Left("a symbolic link" if stat.S_ISLNK(mode) else "not a regular file")
        return self._take_file(path)

    def _is_as_it_began(self, path: str, found: os.stat_result) -> bool:
        """Whether a copy is unchanged. A program that runs on one cannot set times back, so a file's tells."""
        old = self._began.stat(path) if self._began else None
        if old is None or stat.S_IFMT(old.st_mode) != stat.S_IFMT(found.st_mode):
            return False
        if stat.S_ISLNK(found.st_mode):
            return self._began is not None and self._began.target(path) == self._upper.target(path)
        return stat.S_ISDIR(found.st_mode) or (old.st_size, old.st_mtime_ns) == (found.st_size, found.st_mtime_ns)

    def _is_old_link(self, path: str) -> bool:
        """Whether the link is only a copy of the user's own, as the overlay makes on a change of its times."""
        old = self._below(path)
        return old is not None and old.kind == "link" and old.target == self._upper.target(path)

    def _take_directory(self, path: str) -> str:
        with self._upper.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            mode = os.fstat(fd).st_mode & 0o777 | 0o700
            if _overlay_mark(fd, "redirect") is not None:
                raise _Left("renamed by the overlay; its content is not in the upper layer")
        old = self._below(path)
        if old is None or old.kind != "dir":
            self._replace(path, old)
            self._made[path] = Change(path, "created", is_dir=True, mode=mode)
        return path

    def _take_file(self, path: str) -> None:
        with self._upper.opened(path) as fd:
            new = os.fstat(fd)
            self._check_file(fd, new)
            old = self._below(path)
            if old and old.kind == "link":
                raise _Left("a symbolic link of the folder is not replaced")
            gone = self._expand(path) if old and old.kind == "dir" else []
            number, size, digest = self._store(fd)
        if self._unchanged(path, old, digest, new.st_mode):
            self._drop(number, size)
            return
        modified = old is not None and old.kind == "file"
        self._delete(gone)
        self._made[path] = Change(
            path,
            "modified" if modified else "created",
            size=size,
            mode=_mode(old if modified else None, new.st_mode),
            sha256=digest,
            content=number,
            before=old if modified else None,
        )

    def _check_file(self, fd: int, new: os.stat_result) -> None:
        if not stat.S_ISREG(new.st_mode):
            raise _Left("not a regular file")
        if new.st_nlink != 1:
            raise _Left("a file with several hard links")
        if new.st_size > self._bytes:
            raise _Left(f"too large: {new.st_size} bytes, where {self._bytes} are left")
        if _overlay_mark(fd, "metacopy") is not None:
            raise _Left("its content is not in the upper layer")

    def _unchanged(self, path: str, old: State | None, digest: str, mode: int) -> bool:
        """Whether the file only has the bytes that the user's file, or the input of that name, has anyway."""
        if old and old.kind == "file" and old.sha256 == digest and not (old.mode ^ mode) & 0o111:
            return True
        shown = self._inputs.state(path) if self._inputs else None
        return shown is not None and shown.kind == "file" and shown.sha256 == digest

    def _store(self, source: int) -> tuple[int, int, str]:
        """Copy a file into the store: its number, size and SHA-256. The file may still grow while it is read."""
        number = self._stored
        self._stored += 1
        digest, size = hashlib.sha256(), 0
        target = os.open(self._contents / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while data := os.read(source, min(CHUNK, self._bytes - size + 1)):
                size += len(data)
                if size > self._bytes:
                    raise _Left("too large: it grew while it was read")
                digest.update(data)
                write_all(target, data)
        except BaseException:
            (self._contents / str(number)).unlink()
            raise
        finally:
            os.close(target)
        self._bytes -= size
        return number, size, digest.hexdigest()

    def _drop(self, number: int, size: int) -> None:
        (self._contents / str(number)).unlink()
        self._bytes += size

    def _below(self, path: str) -> State | None:
        """What the user's folder has at `path`. Raises `_Left` for a device, fifo or socket there."""
        if self._folder is None:
            return None
        found = self._folder.stat(path)
        if found and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise _Left("a special file of the folder is not replaced")
        if not found:
            return None
        late = self._since_ns is not None and stat.S_ISREG(found.st_mode) and found.st_ctime_ns > self._since_ns
        state = self._folder.state(path)
        return replace(state, late=True) if late and state else state

    def _replace(self, path: str, old: State | None) -> None:
        """A folder is taking the place of `old`: delete a file there, leave a link alone."""
        if old and old.kind == "link":
            raise _Left("a symbolic link of the folder is not replaced")
        if old:
            self._delete(self._expand(path))

    def _whiteout(self, path: str) -> None:
        """The program deleted `path`. What was only an input was never in the folder."""
        if self._folder is None or self._folder.stat(path) is None or self._masked(path):
            return
        if reason := withheld(path):
            raise _Left(reason)
        self._delete(self._expand(path, partly=True))

    def _masked(self, path: str) -> bool:
        """Whether an input of that name stood in front of the folder's own, which the program never saw."""
        found = self._inputs.stat(path) if self._inputs else None
        return found is not None and not stat.S_ISDIR(found.st_mode)

    def _delete(self, changes: list[Change]) -> None:
        self._entries -= len(changes)
        self._deleted.update((change.path, change) for change in changes)

    def _expand(self, top: str, *, partly: bool = False) -> list[Change]:
        """Deletions of `top` and all below it in the user's folder.

        What must stay there keeps the folders above it; then the rest goes if `partly`, or else `_Left` is raised.
        """
        found: list[Change] = []
        kept: set[str] = set()
        todo = [top]
        while todo:
            path = todo.pop()
            if len(found) >= self._entries:
                raise _Left(f"more than {self._max_files} files and folders deleted")
            before = self._deletable(path)
            if before is None:
                kept.update(_ancestors(path))
                continue
            found.append(Change(path, "deleted", is_dir=before.kind == "dir", before=before))
            if before.kind == "dir" and self._folder:
                todo += [_join(path, name) for name in self._folder.names(path)]
        if kept and not partly:
            raise _Left("it takes the place of a folder in which files have to stay")
        return [change for change in found if change.path not in kept]

    def _deletable(self, path: str) -> State | None:
        """What is to be deleted at `path`; None, with a note, for what has to stay."""
        with self._noted(path):
            if reason := objection(path) or withheld(path):
                raise _Left(reason)
            return None if self._masked(path) else self._below(path)
        return None


def _overlay_mark(fd: int, name: str) -> bytes | None:
    """The overlay's extended attribute `name`: `user.` where it was mounted with `userxattr`, else `trusted.`."""
    for space in ("user", "trusted"):
        with suppress(OSError):
            return os.getxattr(fd, f"{space}.overlay.{name}")
    return None


def _mode(old: State | None, mode: int) -> int:
    """The user's own permissions for a file of theirs, except for who may execute it; the program's for a new one."""
    if old is None:
        return mode & 0o777 | 0o600
    return old.mode & 0o666 | mode & 0o111


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _order(path: str) -> list[str]:
    return path.split("/")


def _ancestors(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
