"""What comes after a program that did not pass: another draft, a repair, or the end. Which one depends on the model.

    SMALL   below 7B, or local: draw again rather than show the model its own mistake. One repair for a mechanical
            error, and one with call, got and want for the best program when several drafts have failed. Where nothing
            checks what a program does, draw again until two do the same.
    LARGE   plan first where there is something to plan, repair first, by search/replace blocks, and draw again when
            that leads nowhere.
    PLAIN   one draft from the task's text and nothing else: what the others are measured against.

A repair turn fixes about 4 % of what Qwen2.5-Coder-1.5B failed and 26 % at 14B; for a small model the same tokens are
better spent on a fresh draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from sandbox import Execution

from .edits import UNAPPLIED
from .errors import ConfigError
from .feedback import describe_failure
from .judge import answer_of
from .models.base import ModelProfile
from .outcome import Behaviour, groups
from .task import Budget, Program, Verdict

__all__ = [
    "LARGE",
    "PLAIN",
    "SMALL",
    "STRATEGIES",
    "Move",
    "Strategy",
    "Trial",
    "agreeing",
    "best_of",
    "choose_strategy",
    "find_strategy",
    "handed_over",
    "is_agreed",
    "next_move",
    "wants_agreement",
]

_MECHANICAL = frozenset(
    (
        *("SyntaxError", "IndentationError", "NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError"),
        *(
            "AttributeError",
            "KeyError",
            "IndexError",
            "FileNotFoundError",
            "TypeError",
            "ValueError",
            "UnicodeDecodeError",
        ),
    )
)
_SMALL_BELOW = 7.0
"""Billions of parameters."""
_SLOW = 10.0
"""A program that runs for more seconds is not compared: the others would as well."""
_SHARE = 0.25
"""Of the task's time: once so much is used, no draft is drawn for a comparison."""
_COMPARED_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Strategy:
    """How to drive a model."""

    name: str
    repair_first: bool
    facts_tokens: int
    """Tokens of the prompt that facts about the files may take."""
    hints: bool = False
    """Whether it is told how to go about a kind of work."""
    openings: bool = False
    """Whether its program is begun for it, where its reply can be: with code that reads the files, or with the head of
    the function."""
    mends: bool = False
    """Whether code mends what it can in a program, without the model."""
    rewinds: bool = False
    """Whether a crash is repaired from the statement that failed on, where the model's reply can be begun for it."""
    facts_repair_after: int = 3
    """Failed drafts before the best program is shown to the model with what its result should have been."""
    agreement: int = 0
    """Programs that must do the same before one is taken that nothing checks, as far as there are drafts; 0: the first
    that runs is taken."""
    plain: bool = False
    """Whether the model gets the task's text alone, and what it writes is run once as it stands: no rules, no facts,
    nothing mended, no second attempt."""
    plans: bool = False
    """Whether the model writes steps before its first draft, where the task has files or is long."""
    edits: bool = False
    """Whether a repair may name only what changes, as search/replace blocks."""


SMALL = Strategy(
    "small",
    repair_first=False,
    facts_tokens=900,
    hints=True,
    openings=True,
    mends=True,
    rewinds=True,
    agreement=2,
)
LARGE = Strategy("large", repair_first=True, facts_tokens=3000, mends=True, plans=True, edits=True)
PLAIN = Strategy("plain", repair_first=False, facts_tokens=0, plain=True)
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({s.name: s for s in (SMALL, LARGE, PLAIN)})
"""Those that can be chosen by hand, by their names."""
_WITHOUT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "facts": {"facts_tokens": 0},
        "hints": {"hints": False},
        "openings": {"openings": False},
        "mends": {"mends": False},
        "rewinds": {"rewinds": False},
        "agreement": {"agreement": 0},
        "plans": {"plans": False},
        "edits": {"edits": False},
    }
)
"""What a strategy is that does without one of its techniques."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt: what was asked for, what came back, and what became of it."""

    attempt: int
    kind: Literal["draft", "repair", "given"]
    program: Program | None = None
    problem: str = ""
    """Why there is no program, or why it was not run."""
    execution: Execution | None = None
    verdict: Verdict | None = None
    base: int | None = None
    """The attempt that a repair started from."""
    repeats: int | None = None
    """The attempt that had the same program before."""
    behaviour: Behaviour | None = None
    """What it did, where it passed and is compared with others."""

    @property
    def passed(self) -> bool:
        return self.verdict is not None and self.verdict.passed

    @property
    def unapplied(self) -> bool:
        """Whether it is a repair whose edits did not fit the program."""
        return self.program is None and self.problem.startswith(UNAPPLIED)

    @property
    def failure(self) -> str:
        """Why it did not pass, in one sentence."""
        return describe_failure(self.execution, self.verdict, self.problem)

    @property
    def signature(self) -> str:
        """What went wrong, without the place: the same twice means that a path leads nowhere."""
        error = self.execution.error if self.execution else None
        if error is not None:
            return f"{error.type}: {error.message}"
        return self.execution.status if self.execution and not self.execution.ok else self.failure

    @property
    def mechanical(self) -> bool:
        """Whether it ended with an error that a model can repair when it is told what there is."""
        error = self.execution.error if self.execution else None
        return error is not None and error.type in _MECHANICAL

    @property
    def score(self) -> tuple[bool, int, bool, bool, int]:
        """The better program has the larger score; between equals the shorter one wins."""
        checks = [r.passed for r in self.verdict.results] if self.verdict else []
        ran = self.execution is not None and self.execution.ok
        length = len(self.program.code) if self.program else 1 << 30
        return (self.passed, sum(checks), ran, bool(answer_of(self.execution)), -length)


@dataclass(frozen=True, slots=True)
class Move:
    """What to do next, and why."""

    kind: Literal["draft", "repair", "stop"]
    why: str = ""
    base: Trial | None = None
    """The program that a repair starts from."""
    most: int | None = None
    """Drafts to write at once at most; None: as many as the model can."""
    problem: str = ""
    """Why the last repair of it could not be made."""


def find_strategy(name: str) -> Strategy:
    """The strategy called `name`; `small-mends` is `small` without its mends, to measure what they are worth.

    Raises `ConfigError` when there is none, or when it has no such technique.
    """
    base, *left_out = name.split("-")
    if base not in STRATEGIES:
        raise ConfigError(f"there is no policy {name!r}", hint=f"there are: {', '.join(STRATEGIES)}")
    found = STRATEGIES[base]
    for technique in left_out:
        if technique not in (its := _techniques(found)):
            has = f"it has: {', '.join(its)}" if its else "it has nothing that could be left out"
            raise ConfigError(f"the policy {base!r} has no {technique!r} to leave out", hint=has)
        found = replace(found, name=name, **_WITHOUT[technique])
    return found


def _techniques(strategy: Strategy) -> list[str]:
    """What `strategy` can do without."""
    return [name for name, off in _WITHOUT.items() if replace(strategy, **off) != strategy]


def choose_strategy(profile: ModelProfile) -> Strategy:
    """The strategy for a model: by its size, and where that is unknown by whether it is local."""
    small = profile.prefill if profile.parameters is None else profile.parameters < _SMALL_BELOW
    return SMALL if small else LARGE


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The best program so far; the earliest of equals. None when no reply held a program that was run."""
    run = [t for t in trials if t.execution is not None]
    return max(run, key=lambda t: t.score) if run else None


def handed_over(trials: Sequence[Trial], best: Trial | None) -> list[Trial]:
    """`trials` for another model to go on from: they count against no budget of its own, and the best comes last."""
    given = [replace(trial, kind="given") for trial in trials]
    return sorted(given, key=lambda trial: best is not None and trial.attempt == best.attempt)


def next_move(strategy: Strategy, trials: Sequence[Trial], budget: Budget, seconds: float) -> Move:
    """What to do after `trials`, `seconds` into the task. Of those that were drawn at once the best one is the last."""
    if any(t.passed for t in trials):
        return _after_a_pass(strategy, trials, budget, seconds)
    if seconds >= budget.seconds:
        return Move("stop", f"the {budget.seconds:g} seconds for this task are over")
    if strategy.plain and trials:
        return Move("stop", trials[-1].failure)
    if _count(trials, "repair") < budget.repairs:
        if base := _to_edit_again(trials):
            return Move("repair", base=base, problem=trials[-1].problem)
        if base := _to_repair(strategy, trials):
            return Move("repair", base=base)
    if _count(trials, "draft") < budget.drafts:
        return Move("draft")
    return Move("stop", _given_up(trials))


def _after_a_pass(strategy: Strategy, trials: Sequence[Trial], budget: Budget, seconds: float) -> Move:
    """Another draft to compare with, or the end. A model that only repeats a program has no second opinion."""
    passed = [t.attempt for t in trials if t.passed]
    left = _count(trials, "draft") < budget.drafts and seconds <= _SHARE * budget.seconds
    if is_agreed(strategy, trials) or not left or trials[-1].repeats in passed:
        return Move("stop")
    return Move("draft", most=_COMPARED_AT_ONCE)


def wants_agreement(strategy: Strategy, trial: Trial, budget: Budget, seconds: float) -> bool:
    """Whether `trial`, the first that passed, is to be compared with others: nothing checks what it did, and that costs
    little. What was asked of the network is not asked again."""
    if not strategy.agreement or trial.execution is None or trial.verdict is None:
        return False
    cheap = trial.execution.seconds <= _SLOW and seconds <= _SHARE * budget.seconds
    return trial.verdict.outcome == "unverified" and cheap and not trial.execution.requests


def is_agreed(strategy: Strategy, trials: Sequence[Trial]) -> bool:
    """Whether a program has passed and need not be compared with another one any more."""
    passed = _by_attempt(t for t in trials if t.passed)
    return bool(passed) and (passed[0].behaviour is None or len(agreeing(trials)) >= strategy.agreement)


def agreeing(trials: Iterable[Trial]) -> list[Trial]:
    """The most programs that did the same, of those that are compared; between equals those with the earliest."""
    compared = _by_attempt(t for t in trials if t.behaviour is not None)
    found = groups([t.behaviour for t in compared if t.behaviour is not None])
    return [compared[number] for number in found[0]] if found else []


def _by_attempt(trials: Iterable[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.attempt)


def _to_edit_again(trials: Sequence[Trial]) -> Trial | None:
    """The program that the last repair meant to edit, unless that went wrong twice."""
    if len(trials) < 2 or not trials[-1].unapplied or trials[-2].unapplied:
        return None
    return next((t for t in trials if t.attempt == trials[-1].base), None)


def _to_repair(strategy: Strategy, trials: Sequence[Trial]) -> Trial | None:
    """The trial to show to the model, None when a fresh draft is better."""
    last = trials[-1] if trials else None
    if last is None:
        return None
    if strategy.repair_first:
        return last if last.execution is not None and not _leads_nowhere(last, trials) else None
    mechanical = [t for t in _since_repair(trials) if t.mechanical and not _leads_nowhere(t, trials)]
    return max(mechanical, key=lambda t: t.score) if mechanical else _worth_facts(strategy, trials)


def _since_repair(trials: Sequence[Trial]) -> list[Trial]:
    """What was drawn after the last repair; several drafts may have been written at once."""
    repairs = [n for n, t in enumerate(trials, 1) if t.kind == "repair"]
    return [*trials[repairs[-1] if repairs else 0 :]]


def _leads_nowhere(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether what went wrong was shown to the model before."""
    shown = {t.base for t in trials if t.kind == "repair"}
    return any(t.attempt in shown and t.signature == trial.signature for t in trials)


def _worth_facts(strategy: Strategy, trials: Sequence[Trial]) -> Trial | None:
    """The best program when enough drafts have failed, it ran to a wrong result, and was not shown before."""
    best = best_of(trials)
    if best is None or _count(trials, "draft") < strategy.facts_repair_after or _leads_nowhere(best, trials):
        return None
    wrong = best.execution is not None and best.execution.ok
    return best if wrong else None


def _count(trials: Sequence[Trial], kind: str) -> int:
    return sum(t.kind == kind for t in trials)


def _given_up(trials: Sequence[Trial]) -> str:
    best = best_of(trials)
    tried = f"{_count(trials, 'draft')} drafts and {_count(trials, 'repair')} repairs"
    if best is not None:
        return f"none of {tried} passed; of the best one, {best.failure}"
    return f"none of {tried} held a program: {trials[-1].failure if trials else 'the budget has no draft'}"
