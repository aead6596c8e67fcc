"""Runs a recorded task again with the replies it recorded, without a model, and says what came out differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import Changes, Policy

from .agent import Agent
from .errors import ConfigError
from .events import Event, Executed, Finished, Judged, to_json
from .models.base import Model
from .packages import find_recorded
from .policy import PLAIN
from .store import Run, load_run
from .task import Budget, RunResult

__all__ = ["Difference", "ReplayReport", "replay"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that came out differently the second time."""

    attempt: int
    """0 for the result as a whole."""
    what: str
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found. `same` when statuses, answers, verdicts and the outcome are those of the recording."""

    run_id: str
    attempts: int
    result: RunResult
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not self.differences


def replay(run: Run | str, *, sandbox: str | None = None) -> ReplayReport:
    """Replay a run, given by itself, its id, a unique beginning of one, or `last`. Leaves no run of its own.

    `sandbox`: what its programs are to run in (None: the same as then).

    Raises `ConfigError` for a run that went on in a live session, that recorded no reply, whose trace is damaged or
    whose folder or packages are gone, `SandboxUnavailable` as `Agent.run`.
    """
    found = load_run(run) if isinstance(run, str) else run
    if found.live:
        hint = "`sandsmith repl --resume` rebuilds a session"
        raise ConfigError(f"run {found.id} went on in the session of a conversation, which is gone", hint=hint)
    recording = _recording(found)
    if found.task is None or not recording.replies:
        raise ConfigError(f"run {found.id} recorded no reply", hint=_ANOTHER)
    model = _scripted(recording.replies, recording.profile)
    bigger = recording.bigger and _scripted(recording.bigger.replies, recording.bigger.profile)
    policy = Policy(packages=find_recorded(found.packages) if found.packages else None)
    agent = Agent(
        model,
        sandbox=sandbox or found.sandbox,
        policy=policy,
        budget=recording.budget,
        runs=False,
        strategy=found.strategy,
        # Who has nothing to say costs a note: so no steps are asked for where none were.
        planner_model=None if found.strategy == PLAIN.name else _scripted(recording.advice, {"name": "planner"}),
        escalate_model=bigger,
    )
    with agent:
        events = list(agent.stream(found.replayable_task()))
    result = next(e.result for e in events if isinstance(e, Finished))
    differences = tuple(_differences(recording.said, _said(_comparable(events))))
    attempts = recording.attempts + (recording.bigger.attempts if recording.bigger else 0)
    return ReplayReport(found.id, attempts, result, differences, _notes(found))


_ANOTHER = "choose another run: `sandsmith runs` lists them"
_Said = dict[str, dict[int, dict[str, Any]]]
"""What is compared of each attempt's last event, by kind of event and attempt."""


@dataclass(frozen=True, slots=True)
class _Bigger:
    replies: tuple[str, ...]
    attempts: int
    profile: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Recording:
    """What a trace holds that a replay needs."""

    replies: tuple[str, ...]
    """In the order in which they were asked for."""
    attempts: int
    profile: dict[str, Any]
    budget: Budget
    said: _Said
    advice: tuple[str, ...] = ()
    """What the model said that was asked for steps, whichever that was."""
    bigger: _Bigger | None = None
    """The model that went on when the first had given up."""


def _recording(run: Run) -> _Recording:
    """The recording of `run`. Raises `ConfigError` for a trace that this program has not written so."""
    events = run.events()
    try:
        mine, later = _parted(events)
        advice = tuple(str(e["reply"]) for e in _of(mine, "advised"))
        bigger = None if later is None else _Bigger(_replies(later), len(_of(later, "drafted")), _profile(later))
        budget, said = _budget(mine, later or ()), _said(events)
        attempts = len(_of(mine, "drafted"))
        return _Recording(_replies(mine), attempts, _profile(mine), budget, said, advice, bigger)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ConfigError(f"the trace of run {run.id} is damaged: {error!r}", hint=_ANOTHER) from None


def _parted(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """The events before a bigger model went on, and those after; None when none did."""
    at = next((i for i, e in enumerate(events) if e.get("event") == "escalated"), None)
    return (events, None) if at is None else (events[:at], events[at + 1 :])


def _replies(events: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(str(e["reply"]) for e in events if e.get("event") in ("drafted", "sampled"))


def _of(events: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [e for e in events if e.get("event") == kind]


def _comparable(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [to_json(e) for e in events if isinstance(e, (Executed, Judged, Finished))]


def _profile(recorded: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The recorded model's profile, which chose the strategy; of each value only one of the right kind."""
    loaded = _of(recorded, "modelloaded")
    profile: dict[str, Any] = (loaded[0].get("profile") if loaded else None) or {"name": "scripted"}
    return {key: value for key, value in profile.items() if type(value) in _PROFILE.get(key, ())}


_PROFILE = {
    "name": (str,),
    "parameters": (int, float),
    "context_tokens": (int,),
    "prefill": (bool,),
    "lanes": (int,),
}


def _scripted(replies: Sequence[str], profile: dict[str, Any]) -> Model:
    """A model that gives the recorded replies."""
    from .models.scripted import ScriptedModel

    return ScriptedModel(replies, **profile)


def _budget(*recorded: Sequence[dict[str, Any]]) -> Budget:
    """As many drafts and repairs as each model was asked for, and time enough: another machine may be slower."""
    written = [_kinds(events) for events in recorded]
    drafts, repairs = (max(kinds.count(kind) for kinds in written) for kind in ("draft", "repair"))
    return Budget(drafts=drafts, repairs=repairs, seconds=3600.0, max_tokens=1 << 20)


def _kinds(recorded: Sequence[dict[str, Any]]) -> list[str]:
    """What each reply was asked for as."""
    asked = {e["attempt"]: e["kind"] for e in _of(recorded, "prompted") if e["kind"] != "continue"}
    return [asked.get(e["attempt"], "draft") for e in _of(recorded, "drafted")]


def _differences(recorded: _Said, replayed: _Said) -> Iterator[Difference]:
    for kind in _SAYS:
        before, now = recorded[kind], replayed[kind]
        for attempt in sorted({*before, *now}):
            old, new = before.get(attempt, {}), now.get(attempt, {})
            for what in dict.fromkeys((*old, *new)):
                if old.get(what) != new.get(what):
                    yield Difference(attempt, what, str(old.get(what, "nothing")), str(new.get(what, "nothing")))


def _said(events: Sequence[dict[str, Any]]) -> _Said:
    return {kind: {int(e.get("attempt", 0)): says(e) for e in _of(events, kind)} for kind, says in _SAYS.items()}


def _executed(event: dict[str, Any]) -> dict[str, Any]:
    run = event["execution"]
    error: dict[str, Any] = run.get("error") or {}
    return {"status": run["status"], "printed": run["stdout"], "value": run["value"], "error": error.get("type")}


def _judged(event: dict[str, Any]) -> dict[str, Any]:
    return {f"check {r['check']['text']}": r["passed"] for r in event["verdict"]["results"]}


def _finished(event: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": event["result"]["outcome"], "answer": event["result"]["answer"]}


_SAYS = {"executed": _executed, "judged": _judged, "finished": _finished}


def _notes(run: Run) -> tuple[str, ...]:
    """What may explain a difference."""
    store = run.path / "changes"
    if any(store.glob("*")) and Changes.load(store).state == "applied":
        return ("the changes of this run were applied, so the folder is not as it was",)
    return ()
