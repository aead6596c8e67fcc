"""The journal of a conversation: its steps as JSON lines, each on the disk before anybody is told of it.

    opened     the folder's files, by size and time
    step       a program whose effects stay: code, status, digests of what came out, and the task it was written for
    undo redo  that many steps
    branch adopt drop   where a branch begins, and what became of it
    applied    the changes were written to the folder, whose files are now these
    resumed    the numbers of the steps that could be done again in a fresh session

A line that a killed process wrote half of is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sandbox import Execution, Name

from .errors import ConfigError
from .secrets import find_secrets, redact_data
from .trace import read_trace

__all__ = ["Files", "Journal", "Step", "Trail", "digest_names", "digest_run", "read_trail"]

Files = Mapping[str, list[int]]
"""Size in bytes and time of the last change (nanoseconds) of each file, by its path in the folder."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_ANSWER = 200
"""Characters of a task's answer that are kept for the tasks after it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a conversation: a program that ran, and whose effects stay."""

    number: int
    """From 1; a number is never given twice."""
    code: str
    status: str = "ok"
    digest: str = ""
    """Of its value and of what it printed."""
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """A digest of each name that the session held after it."""
    task: str = ""
    """The sentence that the program was written for; empty for what the user wrote."""
    run: str = ""
    """The run that keeps how it was written."""
    answer: str = ""
    """The beginning of what a task came to."""
    execution: Execution | None = field(default=None, compare=False)
    """What came of it; None until a resumed session has done it again."""

    def to_json(self) -> dict[str, Any]:
        kept = ("number", "code", "status", "digest", "task", "run")
        return {**{key: getattr(self, key) for key in kept}, "answer": self.answer[:_ANSWER], "names": dict(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is no step."""
        digest, task, run, answer = (str(data.get(key) or "") for key in ("digest", "task", "run", "answer"))
        names = {str(name): str(digest) for name, digest in dict(data.get("names") or {}).items()}
        return cls(int(data["number"]), str(data["code"]), str(data["status"]), digest, names, task, run, answer)


@dataclass(slots=True)
class Trail:
    """Which steps hold: what the entries of a journal come to, one after the other."""

    done: list[Step] = field(default_factory=list[Step])
    undone: list[Step] = field(default_factory=list[Step])
    """Those that can be redone, the next one last."""
    branch: int | None = None
    """How many steps there were when the branch began that is open; None without one."""
    files: Files = field(default_factory=dict[str, list[int]])
    applied: bool = False
    """Whether changes were written to the folder."""
    last: int = 0
    """The largest number that was given."""

    def add(self, step: Step) -> None:
        self.done.append(step)
        self.undone.clear()
        self.last = max(self.last, step.number)

    def undo(self, n: int) -> None:
        """Raises `ConfigError` where there are fewer steps; a branch ends at its beginning."""
        most = len(self.done) - (self.branch or 0)
        if not 1 <= n <= most:
            raise ConfigError(f"{n} steps cannot be undone: there are {most}", hint=_BRANCH if self.branch else "")
        for _ in range(n):
            self.undone.append(self.done.pop())

    def redo(self, n: int) -> None:
        """Raises `ConfigError` where there are fewer steps."""
        if not 1 <= n <= len(self.undone):
            raise ConfigError(f"{n} steps cannot be redone: there are {len(self.undone)}")
        for _ in range(n):
            self.done.append(self.undone.pop())

    def drop(self) -> list[Step]:
        """Forget the steps of the branch; returns them. Raises `ConfigError` without a branch."""
        start = self.leave()
        dropped, self.done[start:] = self.done[start:], []
        self.undone.clear()
        return dropped

    def leave(self) -> int:
        """End the branch; returns where it began. Raises `ConfigError` without a branch."""
        if self.branch is None:
            raise ConfigError("there is no branch", hint="`:branch` begins one")
        start, self.branch = self.branch, None
        return start

    def keep(self, numbers: Iterable[int]) -> None:
        """Nothing but these steps holds."""
        kept = set(numbers)
        before = self.done[: self.branch or 0]
        self.branch = None if self.branch is None else sum(step.number in kept for step in before)
        self.done = [step for step in self.done if step.number in kept]
        self.undone.clear()

    def take(self, entry: Mapping[str, Any]) -> None:
        """Follow one entry of a journal. Raises `KeyError`, `TypeError` or `ValueError` for a damaged one."""
        match entry.get("entry"):
            case "opened" | "applied" as kind:
                self.files = {str(path): [int(n) for n in stamp] for path, stamp in dict(entry["files"]).items()}
                self.applied = self.applied or kind == "applied"
            case "step":
                self.add(Step.from_json(entry))
            case "undo":
                self.undo(int(entry["n"]))
            case "redo":
                self.redo(int(entry["n"]))
            case "branch":
                self.branch = len(self.done)
            case "adopt":
                self.leave()
            case "drop":
                self.drop()
            case "resumed":
                self.keep(map(int, entry["kept"]))
            case _:
                pass


_BRANCH = "`:drop` leaves the branch"


def read_trail(path: Path) -> Trail:
    """The steps that hold after the journal at `path`. Raises `ConfigError` when it cannot be read or contradicts
    itself."""
    trail = Trail()
    try:
        for entry in read_trace(path):
            trail.take(entry)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:  # a ConfigError is a ValueError
        raise ConfigError(f"the journal {path} is damaged: {error}") from None
    return trail


class Journal:
    """Appends to the journal at `path`, which it makes, readable by the user alone, and locks while it is open.

    Raises `ConfigError` when another process has it open. Secrets of the environment are masked.
    """

    def __init__(self, path: Path) -> None:
        import fcntl  # not on Windows

        self._secrets = find_secrets()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise ConfigError(f"the session {path.parent.name} is open in another process") from None
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":  # a killed process wrote half a line
            os.write(self._fd, b"\n")

    def write(self, entry: str, **values: Any) -> None:
        """Append one entry and have it on the disk."""
        data = redact_data({"entry": entry, **values}, self._secrets)
        line = (json.dumps(data, ensure_ascii=True) + "\n").encode()
        while line:
            line = line[os.write(self._fd, line) :]
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def digest_run(execution: Execution) -> str:
    """A digest of the value and the output, the same for the same program when it does the same again: where an object
    lies in memory does not count."""
    return _digest(json.dumps([execution.value, execution.stdout]))


def digest_names(names: Iterable[Name]) -> dict[str, str]:
    """A short digest of what is seen of each name."""
    return {name.name: _digest(f"{name.type} {name.preview}")[:12] for name in names}


def _digest(text: str) -> str:
    return hashlib.sha256(_ADDRESS.sub("0x", text).encode("utf-8", "backslashreplace")).hexdigest()
