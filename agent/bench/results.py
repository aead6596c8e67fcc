"""One JSON line for each task that was tried, on the disk as soon as it has ended.

    DIR/bench.json      what was asked for: benchmark, model, budget, policy, how many at once, a digest of the tasks
    DIR/results.jsonl   one row a task
    DIR/runs/           the runs, as `sandsmith runs` keeps them

A kill in mid-run costs the tasks in progress. A line that was half written is dropped when the bench is resumed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sandbox.text import json_text

from ..errors import ConfigError
from ..events import plain
from ..files import write_file
from ..models import DEFAULT_MODEL
from ..secrets import find_secrets, redact_data
from ..settings import load_settings
from ..store import read_json
from ..task import Budget
from ..trace import parse_object
from .problems import Job, Problem

__all__ = ["Results", "Row", "options_of", "read_options", "read_rows"]

_ROWS, _OPTIONS = "results.jsonl", "bench.json"


@dataclass(frozen=True, slots=True)
class Row:
    """How one task went."""

    task: str
    solved: bool
    """Whether the hidden tests hold."""
    outcome: str
    """What the loop said of its result."""
    author: str
    """Who wrote the checks that the loop had."""
    drafts: int
    repairs: int
    mends: int
    """Mechanical errors of all programs that were mended without a token."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Of the loop, without the loading of the model and without the hidden tests."""
    first_passed: bool
    """Whether the hidden tests hold for the first draft, as the model wrote it."""
    first_error: str
    """What the loop saw go wrong with the first draft, mended: `no program`, an error's type, a limit, `visible check`;
    the last one with the type of the error or the limit, where it was not a wrong value."""
    error: str
    """Why it is not solved: one of these, or `hidden tests` where the loop saw nothing wrong."""
    why: str
    """What the hidden tests said."""
    run: str
    """The run's id."""
    compared: int = 0
    """Programs that were compared, since nothing checked what they did."""
    agreed: int = 0
    """Those of them that did what the chosen one did, that one among them."""
    rechosen: bool = False
    """Whether another one was chosen than the first that ran."""
    escalated: bool = False
    """Whether a bigger model went on when the first had given up."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Raises `ValueError` for what is no row."""
        kinds = {"str": str, "int": int, "bool": bool, "float": (int, float)}
        values = {field.name: data.get(field.name, field.default) for field in fields(cls)}
        for field in fields(cls):
            if not isinstance(values[field.name], kinds[str(field.type)]):
                raise ValueError(f"`{field.name}` is not what it should be")
        return cls(**values)


class Results:
    """Appends rows to a folder of results, which it makes, and locks while it is open.

    `rows` holds those that are there already. Raises `ConfigError` for a folder that cannot be written, that another
    process writes to, that holds results without `resume`, or results of a bench with other `options`.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], *, resume: bool = False) -> None:
        self.folder, self.file = folder, folder / _ROWS
        self.rows: list[Row] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror}", hint="choose a folder: --out") from None
        try:
            self._lock()
            self._take_up(options, resume)
        except BaseException:
            self.close()
            raise

    def add(self, row: Row) -> None:
        """Append a row and have it on the disk."""
        line = (json_text(redact_data(asdict(row), find_secrets())) + "\n").encode()
        while line:
            line = line[os.write(self._fd, line) :]
        os.fsync(self._fd)
        self.rows.append(row)

    def close(self) -> None:
        os.close(self._fd)

    def _lock(self) -> None:
        import fcntl  # not on Windows

        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another bench writes to {self.folder}", hint="choose another folder: --out") from None

    def _take_up(self, options: Mapping[str, Any], resume: bool) -> None:
        """Go on where an earlier bench was stopped, or begin."""
        self.rows = _whole_rows(self.file)
        if self.rows and not resume:
            raise ConfigError(
                f"{self.folder} holds results already", hint="--resume goes on with them, --out names another folder"
            )
        if self.rows:
            _refuse_others(self.folder, options)
        else:
            write_file(self.folder / _OPTIONS, (json_text(dict(options), indent=1) + "\n").encode())
        os.truncate(self._fd, _whole_size(self.file))


def options_of(
    name: str, problems: Sequence[Problem], model: str | None, strategy: str | None, budget: Budget, jobs: int = 1
) -> dict[str, Any]:
    """What a bench is asked for with, as `bench.json` holds it; the same for a resumed one."""
    return {
        "bench": name,
        "tasks": len(problems),
        "digest": _digest(problems),
        "model": model or load_settings().model or DEFAULT_MODEL,
        "policy": strategy,
        "jobs": jobs if jobs > 1 else None,  # as in a bench from before there was a choice
        **plain(budget),
    }


def _digest(problems: Sequence[Problem]) -> str:
    """A digest of the tasks, by which a resumed bench knows them again."""
    text = "\n".join(repr((p.id, p.text, None if isinstance(p.hidden, Job) else p.hidden)) for p in problems)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of results, or of the folder that holds it, without a last line that was half written.

    Raises `ConfigError` for what is no such file, and for one with a broken line.
    """
    file = path / _ROWS if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"there are no results in {path}", hint="name a folder that `sandsmith bench` has written")
    rows = _whole_rows(file)
    if not rows:
        raise ConfigError(f"{file} holds no result yet")
    return rows


def read_options(path: Path) -> dict[str, Any]:
    """What the results in the folder (or the file in it) were asked for with; empty where that is not known."""
    try:
        return read_json((path if path.is_dir() else path.parent) / _OPTIONS) or {}
    except (OSError, ValueError):
        return {}


def _refuse_others(folder: Path, options: Mapping[str, Any]) -> None:
    before = read_options(folder)
    other = [key for key in options if before.get(key) != options[key]]
    if other:
        told = "; ".join(f"{key} was {before.get(key)!r}, is {options[key]!r}" for key in other)
        raise ConfigError(f"{folder} was begun with other options: {told}", hint="use those, or another --out")


def _whole_size(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    return path.read_bytes().rfind(b"\n") + 1


def _whole_rows(path: Path) -> list[Row]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    rows = [_row(line, number, path) for number, line in enumerate(data.split(b"\n")[:-1], 1) if line.strip()]
    twice = {row.task for row in rows if sum(other.task == row.task for other in rows) > 1}
    if twice:
        raise ConfigError(f"{path} holds the task {min(twice)} twice")
    return rows


def _row(line: bytes, number: int, path: Path) -> Row:
    try:
        return Row.from_json(parse_object(line.decode()))
    except ValueError as error:
        raise ConfigError(f"line {number} of {path} is no result: {error}") from None
