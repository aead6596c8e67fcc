"""Compares the programs of one task that ran where nothing checks what they did, and chooses one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from sandbox import Session

from .asking import Asker
from .outcome import Behaviour, behaviour_of, behaviour_on
from .policy import Strategy, Trial, agreeing, wants_agreement
from .task import Agreement, Budget, Program

__all__ = ["Comparer", "choose"]

_AGAIN = 20.0
"""Seconds for a program that is run again so that its function can be called; the first one took ten at most."""


@dataclass(frozen=True, slots=True)
class Comparer:
    """Finds out what programs did, where that is to be compared."""

    asker: Asker
    strategy: Strategy
    budget: Budget
    at: Callable[[], float]
    """Seconds since the task began."""
    opened: Callable[[], AbstractContextManager[Session]]
    """A fresh session, which goes afterwards."""

    def looked_at(self, trial: Trial, session: Session, others: Sequence[Trial]) -> Trial:
        """`trial`, which passed in `session`, with what it did where that is to be compared. `others`: those before it,
        and those that are written and not run yet."""
        if not self._compares(trial, others):
            return trial
        return replace(trial, behaviour=self._behaviour(trial, session))

    def _compares(self, trial: Trial, others: Sequence[Trial]) -> bool:
        if any(other.passed for other in others):
            return any(other.behaviour is not None for other in others)
        drafts = sum(one.kind == "draft" for one in (trial, *others))
        waiting = any(one.program is not None and one.execution is None for one in others)
        more = waiting or drafts < self.budget.drafts
        return more and wants_agreement(self.strategy, trial, self.budget, self.at())

    def _behaviour(self, trial: Trial, session: Session) -> Behaviour | None:
        """What a program did; of a function asked for what it returns."""
        assert trial.program is not None and trial.execution is not None
        plan = self.asker.plan
        if plan.function:
            calls = self.asker.calls(trial.program)
            return self._returned(trial.program, calls) if calls else None
        if not plan.checks:  # a class, say: nothing was to be done
            return None
        asks = any(check.kind == "answer" for check in plan.checks)
        return behaviour_of(trial.execution, session.changes(), asks=asks)

    def _returned(self, program: Program, calls: Sequence[str]) -> Behaviour | None:
        """What the function returns, in a session of its own: what it does when it is called is no part of the task."""
        with self.opened() as session:
            ran = session.execute(program.code, on_error="keep", wall_seconds=_AGAIN).ok
            return behaviour_on(session, calls) if ran else None


def choose(trials: Sequence[Trial]) -> tuple[Trial, Agreement] | None:
    """The program to take of those that were compared, and how many agree with it; None when fewer than two were."""
    compared = [trial for trial in trials if trial.behaviour is not None]
    if len(compared) < 2:
        return None
    first = min(trial.attempt for trial in compared)
    agreed = agreeing(compared)
    return agreed[0], Agreement(len(agreed), len(compared), changed=agreed[0].attempt != first)
