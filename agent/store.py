"""Run folders: everything one task left behind, private to the user.

runs/20261122-153000-x7k2/
    task.json      what was asked, with which model, sandbox, budget and set of packages (versions and hashes)
    trace.jsonl    the events as they happened (kept even when the run is killed)
    program.py     the best program
    result.json    what came out
    changes/       the change set of the winning session
    inputs/        what a door took from its standard input, if anything
"""

from __future__ import annotations

import difflib
import math
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from sandbox import Changes, PackageSet
from sandbox.text import json_text

from .errors import ConfigError
from .events import plain
from .secrets import find_secrets, redact_data
from .task import Author, Check, Kind, RunResult, Task
from .trace import parse_object, read_trace

__all__ = [
    "Run",
    "RunFolder",
    "create_run",
    "find_id",
    "list_runs",
    "load_run",
    "read_json",
    "runs_folder",
    "write_json",
]

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without the letters and digits that look alike."""


def runs_folder() -> Path:
    """Where runs are kept unless the caller says otherwise."""
    from .settings import load_settings

    return load_settings().data_dir / "runs"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run that is being made."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def trace(self) -> Path:
        return self.path / "trace.jsonl"

    @property
    def changes(self) -> Path:
        return self.path / "changes"

    @property
    def collected(self) -> Path:
        """Where change sets are put while the run is made."""
        return self.path / "collected" / "changes"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    def keep_changes(self, changes: Changes) -> Changes:
        """Keep the change set of the winner, as `changes/`."""
        changes.store.replace(self.changes)
        return Changes.load(self.changes)

    def drop_changes(self) -> None:
        """Remove the change sets that were collected and not kept."""
        shutil.rmtree(self.collected.parent, ignore_errors=True)

    def save_task(self, task: Task, **more: Any) -> None:
        """Write `task.json`: the task and what else the caller wants to find again."""
        write_json(self.path / "task.json", {**plain(task), **plain(more)})

    def save_result(self, result: RunResult) -> None:
        """Write `result.json`, and `program.py` when there is a program."""
        if result.program is not None:
            _write(self.path / "program.py", result.program.code.rstrip("\n") + "\n")
        write_json(self.path / "result.json", plain(result))


@dataclass(frozen=True, slots=True)
class Run:
    """A run as found on disk. `status` is its outcome, `unfinished` without a result, `broken` when unreadable."""

    id: str
    path: Path
    status: str
    task: Task | None = None
    seconds: float = 0.0
    model: str = ""
    reason: str = ""
    packages: PackageSet | None = None
    """The set of packages that programs could import; None: those installed beside this one."""
    live: bool = False
    """Whether the task went on in the session of a conversation."""
    sandbox: str | None = None
    """What its programs ran in, where that is known."""
    strategy: str | None = None
    """The policy that was chosen by hand; None: by the model's size."""

    def events(self) -> list[dict[str, Any]]:
        """The events of the trace as plain data; empty when there is none."""
        path = RunFolder(self.path).trace
        return list(read_trace(path)) if path.is_file() else []

    def program(self) -> str | None:
        """The best program's text, or None."""
        path = self.path / "program.py"
        return path.read_text("utf-8", "replace") if path.is_file() else None

    def replayable_task(self) -> Task:
        """The task, with the kept copy of each file from elsewhere that is gone. Raises `ConfigError` without one."""
        if self.task is None:
            raise ConfigError(f"the task of run {self.id} cannot be read")
        kept = RunFolder(self.path).inputs
        files = [f if f.exists() or not (kept / f.name).is_file() else kept / f.name for f in self.task.files]
        return replace(self.task, files=tuple(files))

    def result(self) -> dict[str, Any] | None:
        """`result.json` as plain data; None when there is none, or a damaged one."""
        try:
            return read_json(self.path / "result.json")
        except (OSError, ValueError):
            return None


def create_run(root: Path | None = None) -> RunFolder:
    """A fresh run folder under `root`, readable by the user alone. Raises `ConfigError` when it cannot be made."""
    root = root or runs_folder()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = root / _new_id()
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            (path / "changes").mkdir(mode=0o700)
            (path / "collected").mkdir(mode=0o700)
            return RunFolder(path)
    except OSError as error:
        hint = "set SANDSMITH_DATA_DIR to a folder that you can write"
        raise ConfigError(f"cannot keep runs in {root}: {error.strerror}", hint=hint) from error


def list_runs(root: Path | None = None) -> list[Run]:
    """All runs, the newest first. Half-written and broken ones are in the list, with that status."""
    root = root or runs_folder()
    if not root.is_dir():
        return []
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.is_symlink()), key=lambda p: p.name)
    return [_load(path) for path in reversed(folders)]


def load_run(ref: str, root: Path | None = None) -> Run:
    """The run with this id, a unique beginning of one, or `last`. Raises `ConfigError` when there is no such run."""
    return _load((root or runs_folder()) / find_id(ref, [run.id for run in list_runs(root)], "run"))


def find_id(ref: str, names: Sequence[str], what: str) -> str:
    """The one of `names` (the newest first) that `ref` means: it itself, a unique beginning of it, or `last`.

    Raises `ConfigError` when there is no such one; `what` says of what.
    """
    found = names[:1] if ref == "last" else [n for n in names if n == ref] or [n for n in names if n.startswith(ref)]
    if len(found) == 1 and ref:
        return found[0]
    if len(found) > 1:
        hint = "the newest: " + ", ".join(found[:3])
        raise ConfigError(f"{ref!r} is the beginning of {len(found)} {what}s", hint=hint)
    if not names:
        raise ConfigError(f"there are no {what}s yet")
    close = difflib.get_close_matches(ref, names, 3, 0.3) or names[:3]
    raise ConfigError(f"there is no {what} {ref!r}", hint="there are: " + ", ".join(close))


def _new_id() -> str:
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


def _load(path: Path) -> Run:
    try:
        task_data, result = read_json(path / "task.json"), read_json(path / "result.json")
        task = None if task_data is None else _task(task_data)
        model = str((task_data or {}).get("model") or "")
        packages = _packages((task_data or {}).get("packages"))
        run = Run(path.name, path, "unfinished" if task else "broken", task, model=model, packages=packages)
        run = replace(run, live=(task_data or {}).get("live") is True, sandbox=(task_data or {}).get("sandbox"))
        run = replace(run, strategy=(task_data or {}).get("strategy"))
        if result is None:
            return run
        seconds, reason = float(result.get("seconds", 0)), str(result.get("reason", ""))
        if not math.isfinite(seconds):
            raise ValueError("seconds")
        return replace(run, status=str(result["outcome"]), seconds=seconds, reason=reason)
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return Run(path.name, path, "broken")


def _packages(data: Mapping[str, Any] | None) -> PackageSet | None:
    return None if data is None else PackageSet.from_json(data)


def _task(data: Mapping[str, Any]) -> Task:
    folder = data.get("folder")
    return Task(
        text=str(data["text"]),
        folder=None if folder is None else Path(folder),
        files=tuple(Path(f) for f in data.get("files", ())),
        checks=tuple(map(_check, data.get("checks", ()))),
        program=str(data.get("program", "")),
    )


def _check(data: Mapping[str, Any]) -> Check:
    kind, author = data["kind"], data["author"]
    if kind not in get_args(Kind) or author not in get_args(Author):
        raise ValueError("an unknown check")
    return Check(kind, str(data["text"]), author)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is no such file; `ValueError` when it holds something else."""
    if not path.is_file():
        return None
    return parse_object(path.read_text("utf-8", "replace"))


def write_json(path: Path, data: Any) -> None:
    """`data` as a private file, whole or not at all; secrets of the environment are masked."""
    _write(path, json_text(redact_data(data, find_secrets()), indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    """Whole or not at all, so that a killed run leaves no half file."""
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text.encode("utf-8", "replace").decode("utf-8"))
    part.replace(path)
