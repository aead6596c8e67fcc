"""One task of a benchmark, and the files of JSON lines that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError
from ..trace import parse_object

__all__ = ["Hidden", "Job", "Problem", "Record", "Tests", "Values", "check_ids", "find_split", "read_problems"]


@dataclass(frozen=True, slots=True)
class Tests:
    """Right when `source` runs without an error after the program, which runs after `before`."""

    before: str
    """What the benchmark gives the program: the function's head, classes that its tests use."""
    source: str


@dataclass(frozen=True, slots=True)
class Values:
    """Right when the answer holds `@name[value]` for each of these pairs."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Job:
    """Right when `check.py` of this folder says so of the working folder and of what was printed."""

    folder: Path


Hidden = Tests | Values | Job
"""What judges the result; the loop never sees it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One task of a benchmark."""

    id: str
    text: str
    """The sentence that the agent gets."""
    hidden: Hidden
    inputs: tuple[Path, ...] = ()
    """Files and folders of which the working folder holds copies."""
    files: tuple[str, ...] = ()
    """Those of them that are named with the task, as `sandsmith run TASK FILE` does."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a benchmark's file. What a field should be and is not is a `ConfigError` that names the line."""

    values: dict[str, Any]
    where: str

    def text(self, key: str) -> str:
        """The text under `key`, which holds something."""
        value = self._value(key)
        if isinstance(value, str) and value.strip():
            return value
        raise self.wrong(f"its `{key}` is no text")

    def name(self, key: str) -> str:
        """A text or a whole number under `key`, as text."""
        value = self._value(key)
        return str(value) if type(value) is int else self.text(key)

    def texts(self, key: str) -> list[str]:
        """The list of texts under `key`."""
        value = self._value(key)
        if isinstance(value, list) and all(isinstance(v, str) for v in value):  # pyright: ignore[reportUnknownVariableType]
            return value  # pyright: ignore[reportUnknownVariableType]
        raise self.wrong(f"its `{key}` is no list of texts")

    def pairs(self, key: str) -> list[tuple[str, str]]:
        """The list of pairs of texts under `key`."""
        value: Any = self._value(key)
        if not isinstance(value, list) or not value:
            raise self.wrong(f"its `{key}` is no list of pairs")
        return [self._pair(key, pair) for pair in cast("list[Any]", value)]

    def _pair(self, key: str, value: Any) -> tuple[str, str]:
        if not isinstance(value, list) or len(cast("list[Any]", value)) != 2:
            raise self.wrong(f"its `{key}` is no list of pairs")
        name, said = cast("list[Any]", value)
        return str(name), str(said)

    def wrong(self, why: str) -> ConfigError:
        return ConfigError(f"{self.where}: {why}", hint="see docs/solving.md for the fields of each benchmark")

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise self.wrong(f"it has no `{key}`")
        return self.values[key]


def find_split(data: Path, name: str, split: Path | None) -> Path:
    """The file to read: `split` (also relative to `data`), else the one file `NAME*.jsonl` of `data`.

    Raises `ConfigError` when there is none, or a choice of several.
    """
    if not data.is_dir():
        raise ConfigError(f"there is no folder {data}", hint="--data names the folder with the benchmark's files")
    if split is not None:
        found = [path for path in (split, data / split) if path.is_file()]
        if not found:
            raise ConfigError(f"there is no file {split}", hint=f"it is looked for here and in {data}")
        return found[0]
    found = sorted(data.glob(f"{name}*.jsonl"))
    if len(found) == 1:
        return found[0]
    there = ", ".join(path.name for path in found) or "none"
    raise ConfigError(f"which file of {data}? Of {name}*.jsonl there are: {there}", hint="name it with --split FILE")


def read_problems(path: Path, make: Callable[[Record], Problem]) -> list[Problem]:
    """The problems of a file of JSON lines. Raises `ConfigError` for a line that is none, and for an empty file."""
    problems = [make(record) for record in _records(path)]
    if not problems:
        raise ConfigError(f"{path} holds no task")
    check_ids(problems, str(path))
    return problems


def check_ids(problems: Sequence[Problem], where: str) -> None:
    """Raise `ConfigError` for two tasks of one name: their results could not be told apart."""
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise ConfigError(f"{where} holds the task {problem.id} twice")
        seen.add(problem.id)


def _records(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"line {number} of {path}"
            try:
                yield Record(parse_object(line), where)
            except ValueError as error:
                raise ConfigError(f"{where} is broken: {error}") from None
