"""Results summed up: all tasks together, and by what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .results import Row

__all__ = ["Group", "Summary", "summarise"]


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the tasks, at least one; means are per task."""

    name: str
    tasks: int
    solved: int
    first_passed: int
    """Tasks whose first draft passes the hidden tests: pass@1."""
    drafts: float
    repairs: float
    tokens: float
    """That the model wrote."""
    seconds: float
    longest: float
    """Seconds of the slowest task."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the rows come to."""

    groups: tuple[Group, ...]
    """All tasks, the solved ones, those with each failure of the first draft, the unsolved ones by failure."""
    wrongly_solved: int
    """Tasks that the loop calls solved and the hidden tests refuse."""
    wrongly_failed: int
    """Tasks that the loop calls failed and the hidden tests accept."""
    compared: int
    """Tasks in which programs were compared, since nothing checked what they did."""
    rechosen: int
    """Those in which another one was chosen than the first that ran."""
    rechosen_well: int
    """Those of them that are solved."""
    escalated: int = 0
    """Tasks that a bigger model went on with."""
    escalated_solved: int = 0
    """Those of them that are solved."""


def summarise(rows: Sequence[Row]) -> Summary:
    """The groups of `rows`, of which there must be one."""
    solved = [row for row in rows if row.solved]
    unsolved = [row for row in rows if not row.solved]
    groups = [_group("all", rows), *([_group("solved", solved)] if solved else [])]
    groups += [
        _group(f"first draft: {name}", [row for row in rows if row.first_error == name])
        for name in _ranked([row.first_error for row in rows if row.first_error])
    ]
    groups += [
        _group(f"not solved: {name}", [row for row in unsolved if row.error == name])
        for name in _ranked([row.error for row in unsolved])
    ]
    wrongly_solved = sum(row.outcome == "solved" for row in unsolved)
    wrongly_failed = sum(row.outcome in ("failed", "gave_up") for row in solved)
    rechosen = [row for row in rows if row.rechosen]
    compared, well = sum(row.compared > 0 for row in rows), sum(row.solved for row in rechosen)
    escalated = [row for row in rows if row.escalated]
    helped = sum(row.solved for row in escalated)
    return Summary(tuple(groups), wrongly_solved, wrongly_failed, compared, len(rechosen), well, len(escalated), helped)


def _ranked(names: Sequence[str]) -> list[str]:
    """Each name once, the most frequent first."""
    return [name for name, _ in Counter(sorted(names)).most_common()]


def _group(name: str, rows: Sequence[Row]) -> Group:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(rows)

    return Group(
        name,
        tasks=len(rows),
        solved=sum(row.solved for row in rows),
        first_passed=sum(row.first_passed for row in rows),
        drafts=mean([row.drafts for row in rows]),
        repairs=mean([row.repairs for row in rows]),
        tokens=mean([row.completion_tokens for row in rows]),
        seconds=mean([row.seconds for row in rows]),
        longest=max(row.seconds for row in rows),
    )
