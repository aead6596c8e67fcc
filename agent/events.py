"""What happens during a task, in the past tense. Screen, `--json`, trace file and library all see these objects."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sandbox import Execution

from .models.base import Message, ModelProfile, Usage
from .task import Plan, Program, RunResult, Verdict

__all__ = [
    "Advised",
    "Drafted",
    "Escalated",
    "Event",
    "Executed",
    "Finished",
    "Judged",
    "Mended",
    "ModelLoaded",
    "Planned",
    "Progressed",
    "Prompted",
    "Sampled",
    "Started",
    "Tokens",
    "plain",
    "to_json",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. `at`: seconds since the task started."""

    at: float


@dataclass(frozen=True, slots=True)
class Started(Event):
    run_id: str
    task: str
    model: str
    sandbox: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Something that takes long got on: joining weights, reading a prompt. Not kept in the trace."""

    what: str
    share: float


@dataclass(frozen=True, slots=True)
class ModelLoaded(Event):
    model: str
    seconds: float
    profile: ModelProfile | None = None


@dataclass(frozen=True, slots=True)
class Advised(Event):
    """The exact reply of the model that was asked for the steps of a plan, and the steps in it (none: `problem` says
    why)."""

    model: str
    reply: str
    steps: tuple[str, ...]
    problem: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Planned(Event):
    plan: Plan


@dataclass(frozen=True, slots=True)
class Prompted(Event):
    """The exact prompt of one attempt, or of a plan (attempt 0)."""

    attempt: int
    kind: str
    """`draft` or `repair` (or `continue`), or of attempt 0 `plan`, or `calls` of the function asked for."""
    messages: tuple[Message, ...]
    temperature: float
    seed: int | None
    """Of the first reply; the next ones have the numbers after it."""
    prefill: str = ""
    n: int = 1
    """Replies that were asked for at once; each is an attempt of its own, this one and the next ones."""


@dataclass(frozen=True, slots=True)
class Tokens(Event):
    """A piece of the reply as it streams. Not kept in the trace, which holds the whole reply. Replies that are written
    at once are heard one after another, all under the attempt of the first."""

    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Drafted(Event):
    """The exact reply, and the program found in it (None: no code that parses; then `problem` says why)."""

    attempt: int
    reply: str
    finish_reason: str
    program: Program | None
    problem: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """The model's reply with calls of the function asked for, and those that programs are compared by."""

    reply: str
    calls: tuple[str, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Mended(Event):
    """A mechanical error was mended without a token."""

    attempt: int
    program: Program


@dataclass(frozen=True, slots=True)
class Executed(Event):
    attempt: int
    program: Program
    execution: Execution


@dataclass(frozen=True, slots=True)
class Judged(Event):
    attempt: int
    verdict: Verdict
    decision: str
    """What comes next: `stop`, `redraw`, `repair`, or `compare`: it passed, and is compared with further drafts."""


@dataclass(frozen=True, slots=True)
class Escalated(Event):
    """The model has given up, and a bigger one goes on."""

    model: str
    why: str
    """Why the first one gave up, in one sentence."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    result: RunResult


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON data, its kind under `event`."""
    return {"event": type(event).__name__.lower(), **_plain_fields(event)}


def _plain_fields(value: Any) -> dict[str, Any]:
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def plain(value: Any) -> Any:
    """`value` as plain JSON data: dataclasses field by field (or by their `to_json`), paths and the like as text."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
