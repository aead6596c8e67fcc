"""A change set becomes true in the user's folder as one transaction, which a crash at any point leaves reversible.

1. Compare the folder with what it was at collection; any conflict ends it with nothing touched.
2. Write the journal, copy every file that will be replaced or deleted into the store, all of it durable.
3. Delete, make folders, write each file beside its target and rename it there; then mark the journal.

`finish` and `undo` read the journal and look at every path: what is there is either the old or the new content (or
the user's own, later one, which is never overwritten unasked). Each step does nothing when it is done already, so
both can be repeated, and interrupted, as often as one likes. Not covered: another program that writes to the same
file in the instant between the last look and the rename; the times of folders; hard links of the user's, of which
only the name in the folder gets the new content.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from .beneath import CHUNK, Tree, copy_attributes, rename_new, sync_directory, tree, write_all
from .nouns import ApplyConflict, Change, Conflict, State
from .store import BACKUPS, CONTENTS, Journal, load_journal, locked, save_journal

__all__ = ["Step", "Transaction"]

Step = Callable[[str], None]
"""Called at every point between two effects; for tests, which die there."""


class Transaction:
    """Applies, finishes and undoes the changes `items`, whose contents and journal are in `store`."""

    def __init__(self, folder: Path, store: Path, items: tuple[Change, ...], step: Step | None = None) -> None:
        self._folder, self._store, self._items = folder, store, items
        self._step: Step = step or (lambda _: None)
        self._gone = {item.path for item in items if item.kind == "deleted"}
        self._made = {item.path: n for n, item in enumerate(items) if item.kind != "deleted"}

    @property
    def journal(self) -> Journal | None:
        return load_journal(self._store, self._items)

    # The three ways forward and back

    def apply(self, force: bool) -> None:
        with self._opened("nothing was changed") as root:
            journal = self.journal
            if journal and journal.phase == "applied":
                raise ConfigError("these changes are applied already", hint="undo() takes them back")
            if journal and journal.phase != "undone":
                raise ConfigError("an earlier apply was interrupted", hint="finish() completes it, undo() reverts it")
            self._begin(root, force)

    def finish(self, force: bool) -> None:
        with self._opened("finish() and undo() can be tried again") as root:
            journal = self.journal
            if journal is None or journal.phase == "undone":
                raise ConfigError("there is no apply to finish", hint="apply() starts one")
            if journal.phase == "preparing":  # the folder is untouched, and may have changed since
                self._begin(root, force or journal.force)
            elif journal.phase != "applied":
                _refuse(self._drift(root, journal), force)
                self._go_forward(root, self._mark(journal, "applying"), force)

    def undo(self, force: bool) -> None:
        with self._opened("undo() can be tried again") as root:
            journal = self.journal
            if journal is None:
                raise ConfigError("these changes are not applied", hint="there is nothing to undo")
            if journal.phase == "preparing":
                self._mark(journal, "undone")
            elif journal.phase != "undone":
                _refuse(self._drift(root, journal), force)
                self._go_back(root, journal, force)

    def conflicts(self) -> tuple[Conflict, ...]:
        """What stands in the way of the next step: of apply, or once that has begun, of finish and undo."""
        journal = self.journal
        with tree(self._folder) as root, self._explained("look at its permissions"):
            if journal is None or journal.phase in ("preparing", "undone"):
                return self._compare(root, self._survey(root))
            return self._drift(root, journal)

    @contextmanager
    def _opened(self, hint: str) -> Generator[Tree]:
        with locked(self._store), tree(self._folder) as root, self._explained(hint):
            yield root

    @contextmanager
    def _explained(self, hint: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise ConfigError(f"cannot change {self._folder}{where}: {error.strerror}", hint=hint) from error

    # The phases

    def _begin(self, root: Tree, force: bool) -> None:
        before = self._survey(root)
        _refuse(self._compare(root, before), force)
        self._check_room(root, before)
        journal = Journal("preparing", secrets.token_hex(8), force, before)
        save_journal(self._store, journal)
        try:
            self._step("journal")
            self._back_up(root, journal)
            journal = self._mark(journal, "applying")
            self._go_forward(root, journal, force)
        except BaseException:
            self._give_up(root, journal)
            raise

    def _give_up(self, root: Tree, journal: Journal) -> None:
        """Take back what was done so far, since the rest cannot be."""
        if journal.phase == "preparing":
            self._mark(journal, "undone")
            return
        with self._explained("a part is applied; undo() takes it back, finish() completes it"):
            self._go_back(root, journal, force=False)

    def _mark(self, journal: Journal, phase: Literal["applying", "applied", "undoing", "undone"]) -> Journal:
        journal = replace(journal, phase=phase)
        save_journal(self._store, journal)
        self._step(phase)
        return journal

    def _back_up(self, root: Tree, journal: Journal) -> None:
        backups = self._store / BACKUPS
        backups.mkdir(mode=0o700, exist_ok=True)
        with tree(backups) as shelf:
            for n, state in enumerate(journal.before):
                if state and state.kind == "file":
                    self._save_original(root, shelf, n, state)
                    self._step(f"backup {n}")
            sync_directory(shelf.fd)

    def _save_original(self, root: Tree, shelf: Tree, n: int, state: State) -> None:
        path = self._items[n].path
        with root.regular(path) as source, _created(shelf.fd, str(n), 0o600) as target:
            if _copy(source, target) != state.sha256:
                _refuse((Conflict(path, "it is being changed right now"),))
            copy_attributes(source, target)
            os.fchmod(target, 0o600)

    def _go_forward(self, root: Tree, journal: Journal, force: bool) -> None:
        self._sweep(root, journal)
        for n in range(len(self._items)):
            self._forward(root, journal, n, force)
        self._settle(root)
        self._mark(journal, "applied")

    def _go_back(self, root: Tree, journal: Journal, force: bool) -> None:
        journal = self._mark(journal, "undoing")
        self._sweep(root, journal)
        for n in reversed(range(len(self._items))):
            self._back(root, journal, n, force)
        self._settle(root)
        self._mark(journal, "undone")

    def _sweep(self, root: Tree, journal: Journal) -> None:
        """Remove temporary files that an interruption left; they would keep a folder from being removed."""
        for n, item in enumerate(self._items):
            with suppress(OSError), root.parent(item.path) as (fd, _):
                os.unlink(_temporary(journal, n), dir_fd=fd)

    def _settle(self, root: Tree) -> None:
        """Make the names in all folders durable."""
        for parent in {item.path.rpartition("/")[0] for item in self._items}:
            with suppress(OSError), root.opened(parent, os.O_RDONLY | os.O_DIRECTORY) as fd:
                sync_directory(fd)
        self._step("settled")

    # One change

    def _forward(self, root: Tree, journal: Journal, n: int, force: bool) -> None:
        item, now = self._items[n], _now(root, self._items[n].path)
        goals = [item.after]
        if item.kind == "deleted" and item.path in self._made:  # by now the other kind of thing may stand there
            goals.append(self._items[self._made[item.path]].after)
        if any(_reached(now, goal) for goal in goals):
            return
        if not force and not _same(now, journal.before[n]):
            _refuse((Conflict(item.path, "it has changed just now"),))
        with root.parent(item.path) as (fd, name):
            if item.kind == "deleted":
                (os.rmdir if item.is_dir else os.unlink)(name, dir_fd=fd)
            elif item.is_dir:
                os.mkdir(name, item.mode, dir_fd=fd)
            else:
                self._write(journal, n, fd, name, replacing=force or journal.before[n] is not None)
        self._step(f"done {n}")

    def _write(self, journal: Journal, n: int, fd: int, name: str, *, replacing: bool) -> None:
        item, old, temporary = self._items[n], journal.before[n], _temporary(journal, n)
        with ExitStack() as stack:
            source = stack.enter_context(self._content(CONTENTS, str(item.content)))
            target = stack.enter_context(_created(fd, temporary, item.mode))
            if _copy(source, target) != item.sha256:
                raise ConfigError(f"{self._store} is damaged: the content of {item.path} is another")
            if old:
                copy_attributes(stack.enter_context(self._content(BACKUPS, str(n))), target)
                os.fchmod(target, old.mode & 0o666 | item.mode & 0o111)
        self._step(f"temporary {n}")
        if replacing:
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        else:
            rename_new(fd, temporary, name)

    def _back(self, root: Tree, journal: Journal, n: int, force: bool) -> None:
        item, old, now = self._items[n], journal.before[n], _now(root, self._items[n].path)
        if _restored(now, old) or (item.path in self._gone and self._is_older(journal, n, now)):
            return
        if not force and not _same(now, item.after) and not _same(now, old):
            return  # the user's own work of the last moment; `undo` has asked about the rest before
        with root.parent(item.path) as (fd, name):
            if old is None:
                _remove(fd, name, now)
            elif old.kind == "dir":
                if now is None:
                    os.mkdir(name, 0o700, dir_fd=fd)
                _set_mode(root, item.path, old.mode)
            else:
                self._restore(journal, n, fd, name, old)
        self._step(f"back {n}")

    def _is_older(self, journal: Journal, n: int, now: State | None) -> bool:
        """Whether the path is already back at what stood there before an earlier change of the same path."""
        earlier = (m for m in range(n) if self._items[m].path == self._items[n].path)
        return any(_restored(now, journal.before[m]) for m in earlier)

    def _restore(self, journal: Journal, n: int, fd: int, name: str, old: State) -> None:
        temporary = _temporary(journal, n)
        if old.kind == "link":
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
            os.symlink(old.target, temporary, dir_fd=fd)
            os.utime(temporary, ns=(old.mtime_ns, old.mtime_ns), dir_fd=fd, follow_symlinks=False)
        else:
            with self._content(BACKUPS, str(n)) as source, _created(fd, temporary, 0o600) as target:
                if _copy(source, target) != old.sha256:
                    raise ConfigError(f"{self._store} is damaged: the backup of {self._items[n].path} is another")
                copy_attributes(source, target)
                os.fchmod(target, old.mode)
                os.utime(target, ns=(old.mtime_ns, old.mtime_ns))
        self._step(f"temporary {n}")
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)

    @contextmanager
    def _content(self, shelf: str, name: str) -> Generator[int]:
        with tree(self._store) as store, store.regular(f"{shelf}/{name}") as fd:
            yield fd

    # What stands in the way

    def _survey(self, root: Tree) -> tuple[State | None, ...]:
        """What stands at every path now; nothing, where another change deletes it first."""
        return tuple(
            None if item.kind != "deleted" and item.path in self._gone else _now(root, item.path)
            for item in self._items
        )

    def _compare(self, root: Tree, now: tuple[State | None, ...]) -> tuple[Conflict, ...]:
        found = (self._conflict(root, item, state) for item, state in zip(self._items, now, strict=True))
        return tuple(conflict for conflict in found if conflict)

    def _conflict(self, root: Tree, item: Change, now: State | None) -> Conflict | None:
        """How the folder differs from what it was at collection, at one path."""
        if now and now.kind == "other":
            return Conflict(item.path, "it cannot be read, is a special file or lies behind a link", hard=True)
        if item.kind != "deleted" and not self._has_parent(root, item.path):
            return Conflict(item.path, "its folder is gone", hard=True)
        if now and now.kind != self._expected(item):
            return Conflict(item.path, "something of another kind stands there by now", hard=True)
        if item.kind == "deleted" and item.is_dir and now:
            return self._newcomers(root, item)
        if now is None:
            return Conflict(item.path, "it was deleted meanwhile") if item.kind == "modified" else None
        if item.before is None:
            return None if item.is_dir else Conflict(item.path, "it exists by now")
        return (
            None
            if now.same_content(item.before) and not item.before.late
            else Conflict(item.path, "it was changed meanwhile")
        )

    @staticmethod
    def _expected(item: Change) -> str:
        if item.before:
            return item.before.kind
        return "dir" if item.is_dir else "file"

    def _has_parent(self, root: Tree, path: str) -> bool:
        parent = path.rpartition("/")[0]
        if not parent or (parent in self._made and self._items[self._made[parent]].is_dir):
            return True
        state = _now(root, parent)
        return state is not None and state.kind == "dir"

    def _newcomers(self, root: Tree, item: Change) -> Conflict | None:
        names = (f"{item.path}/{name}" for name in root.names(item.path))
        new = [path for path in names if path not in self._gone]
        return Conflict(item.path, "it holds new files by now", hard=True) if new else None

    def _drift(self, root: Tree, journal: Journal) -> tuple[Conflict, ...]:
        """Paths that hold neither what was there before the apply nor what it puts there."""
        known: dict[str, list[State | None]] = {}
        for item, before in zip(self._items, journal.before, strict=True):
            known.setdefault(item.path, []).extend((before, item.after))
        found = (self._drifted(root, journal, path, states) for path, states in known.items())
        return tuple(conflict for conflict in found if conflict)

    def _drifted(self, root: Tree, journal: Journal, path: str, known: list[State | None]) -> Conflict | None:
        now = _now(root, path)
        if not any(_same(now, state) for state in known):
            hard = now is not None and now.kind in ("dir", "other")
            return Conflict(path, "it was changed since these changes were applied", hard)
        if now and now.kind == "dir" and path in self._gone and path in self._made:
            names = (name for name in root.names(path) if not name.startswith(f".{journal.token}."))
            if any(f"{path}/{name}" not in self._gone | self._made.keys() for name in names):
                return Conflict(path, "it holds new files by now", hard=True)
        return None

    def _check_room(self, root: Tree, before: tuple[State | None, ...]) -> None:
        """Raises `ConfigError` when the new contents and the copies of the old ones cannot all be held."""
        new = sum(item.size for item in self._items)
        old = sum(state.size for state in before if state)
        same = self._store.stat().st_dev == os.fstat(root.fd).st_dev
        for place, need in ((root.fd, new + old if same else new), (self._store, old)):
            room = os.statvfs(place)
            if need > room.f_bavail * room.f_frsize:
                raise ConfigError(f"{need} bytes are needed to apply these changes", hint="free space on the disk")


def _refuse(conflicts: tuple[Conflict, ...], force: bool = False) -> None:
    """Raise for conflicts; with `force`, only for those that nothing but the user can resolve."""
    conflicts = tuple(conflict for conflict in conflicts if conflict.hard or not force)
    if conflicts:
        first = conflicts[0]
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        raise ApplyConflict(
            f"{first.path}: {first.reason}{more}", conflicts, hint="look at it, then run again or use force"
        )


def _now(root: Tree, path: str) -> State | None:
    try:
        return root.state(path)
    except OSError:
        return State("other")


def _same(now: State | None, other: State | None) -> bool:
    return now is other is None or (now is not None and now.same_content(other))


def _reached(now: State | None, goal: State | None) -> bool:
    """Whether a change is made already, who may execute included."""
    if now and goal and goal.kind == "file" and (now.mode ^ goal.mode) & 0o111:
        return False
    return _same(now, goal)


def _restored(now: State | None, old: State | None) -> bool:
    """Whether all is as it was, times and permissions included."""
    if now and old and (now.mode != old.mode or (old.kind == "file" and now.mtime_ns != old.mtime_ns)):
        return False
    return _same(now, old)


def _temporary(journal: Journal, n: int) -> str:
    return f".{journal.token}.{n}.tmp"


@contextmanager
def _created(directory: int, name: str, mode: int) -> Generator[int]:
    """A new file to be filled, durable afterwards; a left-over of that name goes first."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, mode, dir_fd=directory)
    try:
        yield fd
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy(source: int, target: int) -> str:
    """Copy all of a file; its SHA-256."""
    digest = hashlib.sha256()
    while data := os.read(source, CHUNK):
        digest.update(data)
        write_all(target, data)
    return digest.hexdigest()


def _remove(fd: int, name: str, now: State | None) -> None:
    if now is None:
        return
    if now.kind != "dir":
        os.unlink(name, dir_fd=fd)
        return
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:  # the user has put files of their own there; they stay
            raise


def _set_mode(root: Tree, path: str, mode: int) -> None:
    with root.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fchmod(fd, stat.S_IMODE(mode))
