"""Run folders: everything one task left behind, private to the user.

runs/20261122-153000-x7k2/
    task.json      what was asked, with which model, sandbox and budget
    trace.jsonl    the events as they happened (kept even when the run is killed)
    program.py     the best program
    result.json    what came out
    changes/       the change set of the winning session
    inputs/        what a door took from its standard input, if anything
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import Changes

from .errors import ConfigError
from .events import plain
from .secrets import find_secrets, redact_data
from .task import Check, RunResult, Task
from .trace import read_trace

__all__ = ["Run", "RunFolder", "create_run", "list_runs", "load_run", "runs_folder"]

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
        _write_json(self.path / "task.json", {**plain(task), **plain(more)})

    def save_result(self, result: RunResult) -> None:
        """Write `result.json`, and `program.py` when there is a program."""
        if result.program is not None:
            _write(self.path / "program.py", result.program.code.rstrip("\n") + "\n")
        _write_json(self.path / "result.json", plain(result))


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

    def events(self) -> list[dict[str, Any]]:
        """The events of the trace as plain data; empty when there is none."""
        path = RunFolder(self.path).trace
        return list(read_trace(path)) if path.is_file() else []

    def program(self) -> str | None:
        """The best program's text, or None."""
        path = self.path / "program.py"
        return path.read_text("utf-8", "replace") if path.is_file() else None

    def result(self) -> dict[str, Any] | None:
        """`result.json` as plain data, or None."""
        return _read_json(self.path / "result.json")


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
    names = [run.id for run in list_runs(root)]
    found = names[:1] if ref == "last" else [n for n in names if n == ref] or [n for n in names if n.startswith(ref)]
    if len(found) == 1 and ref:
        return _load((root or runs_folder()) / found[0])
    if len(found) > 1:
        raise ConfigError(f"{ref!r} is the beginning of {len(found)} runs", hint="the newest: " + ", ".join(found[:3]))
    if not names:
        raise ConfigError("there are no runs yet")
    close = difflib.get_close_matches(ref, names, 3, 0.3) or names[:3]
    raise ConfigError(f"there is no run {ref!r}", hint="there are: " + ", ".join(close))


def _new_id() -> str:
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


def _load(path: Path) -> Run:
    try:
        task_data, result = _read_json(path / "task.json"), _read_json(path / "result.json")
        task = None if task_data is None else _task(task_data)
        model = str((task_data or {}).get("model") or "")
        if result is None:
            return Run(path.name, path, "unfinished" if task else "broken", task, model=model)
        seconds, reason = float(result.get("seconds", 0)), str(result.get("reason", ""))
        return Run(path.name, path, str(result["outcome"]), task, seconds, model, reason)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Run(path.name, path, "broken")


def _task(data: Mapping[str, Any]) -> Task:
    folder = data.get("folder")
    return Task(
        text=str(data["text"]),
        folder=None if folder is None else Path(folder),
        files=tuple(Path(f) for f in data.get("files", ())),
        checks=tuple(Check(c["kind"], c["text"], c["author"]) for c in data.get("checks", ())),
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    """None when there is no such file; `ValueError` when it holds something else than a JSON object."""
    if not path.is_file():
        return None
    data = json.loads(path.read_text("utf-8", "replace"))
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} holds no object")
    return data  # pyright: ignore[reportUnknownVariableType]


def _write_json(path: Path, data: Any) -> None:
    _write(path, json.dumps(redact_data(data, find_secrets()), indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    """Whole or not at all, so that a killed run leaves no half file."""
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text.encode("utf-8", "replace").decode("utf-8"))
    part.replace(path)
