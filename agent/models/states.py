"""What a model has read, kept for later runs: the state after the rules with which every prompt begins.

The runtime aborts on a damaged state, so a file is named by the sum of its bytes and verified before each use. The
name also says what it was made of: the weights, the runtime and the text. The folder has a bound, and what was not
used for the longest time goes first, leftovers of killed processes included.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from .store import sha256_of

__all__ = ["States"]

_BOUND = 128 << 20
"""Bytes of the whole folder. A token of the 1.5B takes 28 kB, and the rules have about 140."""


class States:
    """The states in `folder` that were made by one model. Raises `OSError` when the folder cannot be made."""

    def __init__(self, folder: Path, made_by: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._made_by = folder, made_by

    def find(self, text: str) -> str | None:
        """The name of the file with the state after `text`; None when there is none. A damaged one is removed."""
        with contextlib.suppress(OSError):
            for file in self.folder.glob(f"{self._key(text)}-*.state"):
                if file.stem.endswith(sha256_of(file)):
                    os.utime(file)
                    return file.name
                file.unlink()
        return None

    def begin(self) -> str:
        """A name for a file to write a state to; it counts for nothing until it is kept."""
        return f"part-{secrets.token_hex(8)}"

    def keep(self, part: str, text: str) -> None:
        """Have `find` give the file `part` for `text` from now on."""
        file = self.folder / part
        with contextlib.suppress(OSError):
            file.replace(self.folder / f"{self._key(text)}-{sha256_of(file)}.state")
            self._prune()

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._made_by}\0{text}".encode()).hexdigest()

    def _prune(self) -> None:
        room = _BOUND
        for stat, file in sorted(((f.stat(), f) for f in self.folder.iterdir()), key=lambda row: -row[0].st_mtime):
            room -= stat.st_size
            if room < 0:
                file.unlink()
