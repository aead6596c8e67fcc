"""Marks: the files of a view as they were at a moment, to go back to.

A mark is a copy of what the session changed, not of the user's folder. What has not changed since the mark before is
linked to it and takes neither room nor time. Source: inode(7) for what the times of a file tell.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
import time
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Marks", "Tree", "copy_tree"]

_COARSE_NS = 20_000_000
"""The clock of file times moves in steps: what changed so shortly before a mark may have changed after it as well."""
_Print = tuple[int, ...]
"""What tells one state of a file from another: its mode, inode, links, size and times, the last that of the inode."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder that goes back, but for the entries `besides` at its top, which are mounts."""

    path: str
    besides: frozenset[str] = frozenset()

    def empty(self) -> None:
        """Remove what is in it. Raises `OSError`."""
        for name in os.listdir(self.path):
            if name not in self.besides:
                path = f"{self.path}/{name}"
                try:
                    os.unlink(path)
                except OSError:
                    shutil.rmtree(path)

    def prints(self) -> dict[str, _Print]:
        """The print of everything below it, and of itself as "". Raises `OSError`."""
        found = {"": _print(os.lstat(self.path))}
        _walk(self.path, "", found, self.besides)
        return found


@dataclass(slots=True)
class _Mark:
    """One copy, for the marks between which nothing changed."""

    folder: str
    users: set[int]
    at_ns: int
    prints: dict[str, dict[str, _Print]]
    """By the name of a tree, the print of each path in it."""


class Marks:
    """The marks of one session, kept in the folder `place`."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._marks: dict[int, _Mark] = {}
        self._count = 0

    def take(self, mark: int, trees: Mapping[str, Tree], *, after: int | None, mapped: bool) -> None:
        """Keep what is in `trees` as `mark`. `after` is the mark before; `mapped`: whether files may be mapped into
        memory, and so change without a trace. Raises `OSError` when there is no room."""
        now = time.time_ns()
        prints = {name: tree.prints() for name, tree in trees.items()}
        before = self._marks.get(after) if after is not None else None
        same: dict[str, set[str]] = {}
        if before:
            same = {name: self._same(before, name, tree, prints[name], mapped) for name, tree in trees.items()}
            if all(same[name] == prints[name].keys() == before.prints[name].keys() for name in trees):
                before.users.add(mark)
                self._marks[mark] = before
                return
        self._count += 1
        kept = _Mark(f"{self._place}/{self._count}", {mark}, now, prints)
        try:
            os.mkdir(kept.folder, 0o700)
            for name, tree in trees.items():
                older = f"{before.folder}/{name}" if before else ""
                copy_tree(tree, f"{kept.folder}/{name}", unchanged=same.get(name, ()), older=older)
        except BaseException:
            shutil.rmtree(kept.folder, ignore_errors=True)
            raise
        self._marks[mark] = kept

    @staticmethod
    def _same(before: _Mark, name: str, tree: Tree, prints: Mapping[str, _Print], mapped: bool) -> set[str]:
        """The paths that are as they were at `before`: by their times, or by what is in them where that is unsure."""
        old, settled = before.prints[name], before.at_ns - _COARSE_NS
        return {
            path
            for path, one in prints.items()
            if old.get(path) == one
            and (
                not stat.S_ISREG(one[0])
                or (not mapped and one[-1] < settled)
                or filecmp.cmp(f"{tree.path}/{path}", f"{before.folder}/{name}/{path}", shallow=False)
            )
        }

    def changed(self, mark: int, trees: Mapping[str, Tree]) -> dict[str, Tree]:
        """Those of `trees` that are not for certain as `mark` has them. Raises `OSError`."""
        kept = self._marks[mark]
        return {name: tree for name, tree in trees.items() if not _surely(kept.prints[name], tree.prints())}

    def put_back(self, mark: int, trees: Mapping[str, Tree]) -> None:
        """Make `trees` what `mark` has. Raises `OSError`."""
        kept = self._marks[mark]
        for name, tree in trees.items():
            tree.empty()
            copy_tree(Tree(f"{kept.folder}/{name}"), tree.path)
            kept.prints[name] = tree.prints()
        kept.at_ns = time.time_ns()

    def forget(self, marks: Iterable[int]) -> None:
        """Drop marks, and what no other one needs."""
        for mark in marks:
            kept = self._marks.pop(mark, None)
            if kept is not None:
                kept.users.discard(mark)
                if not kept.users:
                    shutil.rmtree(kept.folder, ignore_errors=True)


def _surely(old: Mapping[str, _Print], new: Mapping[str, _Print]) -> bool:
    """Whether nothing has changed. Of a file that cannot be said: it may have been mapped into memory."""
    return old == new and not any(stat.S_ISREG(one[0]) for one in new.values())


def _walk(folder: str, prefix: str, found: dict[str, _Print], besides: Container[str] = ()) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in besides:
                continue
            info = entry.stat(follow_symlinks=False)
            path = prefix + entry.name
            found[path] = _print(info)
            if stat.S_ISDIR(info.st_mode):
                _walk(entry.path, f"{path}/", found)


def _print(info: os.stat_result) -> _Print:
    return info.st_mode, info.st_ino, info.st_nlink, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def copy_tree(source: Tree, target: str, unchanged: Container[str] = (), older: str = "") -> None:
    """Copy a tree, an overlay's upper layer for one, into `target`, which may exist: files, links, whiteouts, modes,
    times and the overlay's own attributes. Of the files that are `unchanged` it links the copies below `older`.

    A copy takes no more room than the original: the names of one file stay so, and holes holes. Raises `OSError`.
    """
    with suppress(FileExistsError):
        os.mkdir(target)
    _Copying(older, unchanged if older else ()).folder(source.path, target, "", source.besides)


class _Copying:
    def __init__(self, older: str, unchanged: Container[str]) -> None:
        self._older, self._unchanged = older, unchanged
        self._linked: dict[int, str] = {}

    def folder(self, source: str, target: str, prefix: str, besides: Container[str] = ()) -> None:
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.name not in besides:
                    self._entry(entry, f"{target}/{entry.name}", prefix + entry.name)
        shutil.copystat(source, target, follow_symlinks=False)

    def _entry(self, entry: os.DirEntry[str], path: str, name: str) -> None:
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(path)
            self.folder(entry.path, path, f"{name}/")
        elif info.st_ino in self._linked:
            os.link(self._linked[info.st_ino], path)
        elif stat.S_ISREG(info.st_mode):
            if name in self._unchanged:
                os.link(f"{self._older}/{name}", path)
            else:
                _copy_file(entry.path, path, info.st_size)
            if info.st_nlink > 1:
                self._linked[info.st_ino] = path
        elif stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(entry.path), path)
            shutil.copystat(entry.path, path, follow_symlinks=False)
        elif stat.S_ISFIFO(info.st_mode) or stat.S_ISCHR(info.st_mode):
            os.mknod(path, info.st_mode, info.st_rdev)


def _copy_file(source: str, target: str, size: int) -> None:
    with open(source, "rb", 0, opener=_no_link) as old, open(target, "xb", 0) as new:
        at, end = _data(old.fileno(), 0, size)
        while at < size:
            os.lseek(new.fileno(), at, os.SEEK_SET)
            while at < end and (sent := os.sendfile(new.fileno(), old.fileno(), at, end - at)):
                at += sent
            at, end = _data(old.fileno(), at, size)
        os.truncate(new.fileno(), size)
    shutil.copystat(source, target, follow_symlinks=False)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)  # something else may have come there meanwhile


def _data(fd: int, at: int, size: int) -> tuple[int, int]:
    """Where in a file the next data from `at` on begins and ends, at `size` when there is no more (lseek(2))."""
    try:
        begin = os.lseek(fd, at, os.SEEK_DATA)
        return begin, min(size, os.lseek(fd, begin, os.SEEK_HOLE))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size, size
