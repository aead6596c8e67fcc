"""Runs a recorded task again with the replies it recorded, without a model, and says what came out differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sandbox import Changes

from .agent import Agent
from .errors import ConfigError
from .events import Event, Executed, Finished, Judged, to_json
from .models.base import Model
from .store import Run, RunFolder, load_run
from .task import Budget, RunResult, Task

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


def replay(run: Run | str, *, sandbox: str = "jail") -> ReplayReport:
    """Replay a run, given by itself, its id, a unique beginning of one, or `last`. Leaves no run of its own.

    Raises `ConfigError` for a run that recorded no reply or whose folder is gone, `SandboxUnavailable` as `Agent.run`.
    """
    found = load_run(run) if isinstance(run, str) else run
    recorded = found.events()
    replies = [str(e["reply"]) for e in _of(recorded, "drafted")]
    if found.task is None or not replies:
        raise ConfigError(f"run {found.id} recorded no reply", hint="choose another run: `sandsmith runs` lists them")
    model = _scripted(replies, recorded)
    with Agent(model, sandbox=sandbox, budget=_budget(recorded), runs=False) as agent:
        events = list(agent.stream(_task(found, found.task)))
    result = next(e.result for e in events if isinstance(e, Finished))
    differences = tuple(_differences(recorded, _comparable(events)))
    return ReplayReport(found.id, len(replies), result, differences, _notes(found))


def _of(events: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [e for e in events if e.get("event") == kind]


def _comparable(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [to_json(e) for e in events if isinstance(e, (Executed, Judged, Finished))]


def _scripted(replies: Sequence[str], recorded: Sequence[dict[str, Any]]) -> Model:
    """A model that gives the replies, with the profile of the recorded one, which chose the strategy."""
    from .models.scripted import ScriptedModel

    loaded = _of(recorded, "modelloaded")
    profile: dict[str, Any] = (loaded[0].get("profile") if loaded else None) or {"name": "scripted"}
    known = ("name", "parameters", "context_tokens", "prefill")
    return ScriptedModel(replies, **{key: value for key, value in profile.items() if key in known})


def _budget(recorded: Sequence[dict[str, Any]]) -> Budget:
    """As many drafts and repairs as were recorded, and time enough: another machine may be slower."""
    asked = {e["attempt"]: e["kind"] for e in _of(recorded, "prompted") if e["kind"] != "continue"}
    written = [asked.get(e["attempt"], "draft") for e in _of(recorded, "drafted")]
    return Budget(drafts=written.count("draft"), repairs=written.count("repair"), seconds=3600.0, max_tokens=1 << 20)


def _task(run: Run, task: Task) -> Task:
    """The recorded task, with the kept copy of each file from elsewhere that is gone."""
    kept = RunFolder(run.path).inputs
    files = [f if f.exists() or not (kept / f.name).is_file() else kept / f.name for f in task.files]
    return replace(task, files=tuple(files))


def _differences(recorded: Sequence[dict[str, Any]], replayed: Sequence[dict[str, Any]]) -> Iterator[Difference]:
    for kind in ("executed", "judged", "finished"):
        before, now = _by_attempt(recorded, kind), _by_attempt(replayed, kind)
        for attempt in sorted({*before, *now}):
            old, new = before.get(attempt, {}), now.get(attempt, {})
            for what in dict.fromkeys((*old, *new)):
                if old.get(what) != new.get(what):
                    yield Difference(attempt, what, str(old.get(what, "nothing")), str(new.get(what, "nothing")))


def _by_attempt(events: Sequence[dict[str, Any]], kind: str) -> dict[int, dict[str, Any]]:
    """What is compared of each attempt's last event of a kind."""
    return {int(e.get("attempt", 0)): _SAID[kind](e) for e in _of(events, kind)}


def _executed(event: dict[str, Any]) -> dict[str, Any]:
    run = event["execution"]
    error: dict[str, Any] = run.get("error") or {}
    return {"status": run["status"], "printed": run["stdout"], "value": run["value"], "error": error.get("type")}


def _judged(event: dict[str, Any]) -> dict[str, Any]:
    return {f"check {r['check']['text']}": r["passed"] for r in event["verdict"]["results"]}


def _finished(event: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": event["result"]["outcome"], "answer": event["result"]["answer"]}


_SAID = {"executed": _executed, "judged": _judged, "finished": _finished}


def _notes(run: Run) -> tuple[str, ...]:
    """What may explain a difference."""
    store = run.path / "changes"
    if any(store.glob("*")) and Changes.load(store).state == "applied":
        return ("the changes of this run were applied, so the folder is not as it was",)
    return ()
