"""A collected change set: shown, read, applied, undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..text import printable
from . import diffs
from .applying import Step, Transaction
from .beneath import tree
from .nouns import Change, Conflict, Phase, Skipped
from .store import BACKUPS, CONTENTS, load_manifest

__all__ = ["Changes"]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Changes:
    """What a program did to its view of `folder`. Nothing of it is in the folder before `apply`."""

    folder: Path | None
    """None when the session had no folder; then there is nothing to apply to."""
    store: Path
    """Holds the contents, the manifest, and the journal and backups of an apply; must outlive them."""
    items: tuple[Change, ...]
    """Deletions first, children before parents; then what is made, parents before children."""
    skipped: tuple[Skipped, ...] = ()
    """What the program left behind that is not taken over, and why."""

    @classmethod
    def load(cls, store: Path) -> Changes:
        """The changes kept in `store`. Raises `ConfigError` when its manifest is missing, damaged or hostile."""
        folder, items, skipped = load_manifest(store)
        return cls(folder, store, items, skipped)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.items)

    @property
    def state(self) -> Phase:
        """`applying` is what an interrupted apply or undo leaves; `finish` and `undo` lead on from there."""
        journal = None if self.folder is None else self._transaction().journal
        if journal is None:
            return "pending"
        return "applying" if journal.phase in ("preparing", "undoing") else journal.phase

    def read(self, path: str) -> bytes:
        """The new content of a created or modified file. Raises `ConfigError` when there is none of that path."""
        return self._new(self._written(path))

    def diff(self, path: str) -> str:
        """A unified diff of one file, in which nothing is hidden; `binary, 12 kB` for what cannot be shown so.

        Raises `ConfigError` for a path that is not changed.
        """
        changes = [(n, item) for n, item in enumerate(self.items) if item.path == path]
        if not changes:
            raise ConfigError(f"{printable(path)} is not among the changes")
        saved = self._has_backups()
        return "".join(self._diff(item, n if saved else None) for n, item in changes)

    def summary(self) -> list[str]:
        """One line for each change, by path: `+ out.csv (1.2 kB)`, `~ a.txt (+3 -1)`, `- old.txt`."""
        saved = self._has_backups()
        ordered = sorted(enumerate(self.items), key=lambda pair: pair[1].path)
        return [self._line(item, n if saved else None) for n, item in ordered]

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": None if self.folder is None else str(self.folder),
            "changes": [item.to_json() for item in self.items],
            "skipped": [{"path": entry.path, "reason": entry.reason} for entry in self.skipped],
        }

    def conflicts(self) -> tuple[Conflict, ...]:
        """Where the user's folder is no longer as the changes (or, once applied, their undoing) expect it."""
        return self._transaction().conflicts()

    def apply(self, *, force: bool = False, _step: Step | None = None) -> None:
        """Make the changes true in the folder: all of them, or on any error none.

        With `force`, files that the user has changed meanwhile are overwritten (`undo` brings them back). Raises
        `ApplyConflict` when the folder has changed, `ConfigError` when it cannot be changed or this is not the first
        apply.
        """
        self._transaction(_step).apply(force)

    def finish(self, *, force: bool = False, _step: Step | None = None) -> None:
        """Complete an apply that was interrupted; nothing happens after a complete one. Raises as `apply`."""
        self._transaction(_step).finish(force)

    def undo(self, *, force: bool = False, _step: Step | None = None) -> None:
        """Take back an apply, complete or interrupted; nothing happens the second time.

        Raises `ApplyConflict` when a file was changed since, unless `force`, which loses that change.
        """
        self._transaction(_step).undo(force)

    def _transaction(self, step: Step | None = None) -> Transaction:
        if self.folder is None:
            raise ConfigError("there is no folder to apply the changes to", hint="open the session with a workspace")
        return Transaction(self.folder, self.store, self.items, step)

    def _written(self, path: str) -> Change:
        for item in self.items:
            if item.path == path and item.content is not None:
                return item
        raise ConfigError(f"{printable(path)} is not a created or modified file")

    def _new(self, item: Change, limit: int | None = None) -> bytes:
        try:
            with tree(self.store) as store:
                return store.read(f"{CONTENTS}/{item.content}", limit)
        except OSError as error:
            raise ConfigError(f"{self.store} is damaged: {error.strerror}") from error

    def _has_backups(self) -> bool:
        """Whether the folder may hold the new contents, so that the old ones are to be taken from the backups."""
        return self.state in ("applying", "applied")

    def _old(self, item: Change, backup: int | None) -> bytes | None:
        """The old content as far as a diff needs it."""
        if item.before is None or self.folder is None:
            return None
        try:
            if backup is not None:
                with tree(self.store) as store, suppress(FileNotFoundError):
                    return store.read(f"{BACKUPS}/{backup}", diffs.MAX_BYTES + 1)
            with tree(self.folder) as folder:
                return folder.read(item.path, diffs.MAX_BYTES + 1)
        except OSError:
            return b""  # gone since; `conflicts` tells

    def _diff(self, item: Change, backup: int | None) -> str:
        if item.is_dir or (item.before and item.before.kind == "link"):
            return f"{item.kind} {'folder' if item.is_dir else 'link'}\n"
        new = None if item.content is None else self._new(item, diffs.MAX_BYTES + 1)
        return diffs.unified(self._old(item, backup), new, item.path, max(item.size, item.old_size or 0))

    def _line(self, item: Change, backup: int | None) -> str:
        name = item.path + ("/" if item.is_dir else "")
        if item.kind == "deleted":
            return f"- {name}"
        if item.kind == "created":
            return f"+ {name}" if item.is_dir else f"+ {name} ({diffs.human(item.size)})"
        return f"~ {name} ({self._difference(item, backup)})"

    def _difference(self, item: Change, backup: int | None) -> str:
        if item.before and item.before.sha256 == item.sha256:
            return "now executable" if item.mode & 0o111 else "no longer executable"
        counts = diffs.tally(self._old(item, backup) or b"", self._new(item, diffs.MAX_BYTES + 1))
        if counts is None:
            return f"{diffs.human(item.old_size or 0)} -> {diffs.human(item.size)}"
        return f"+{counts[0]} -{counts[1]}"
