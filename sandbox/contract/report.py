"""All checks, made one after another, and what came of them."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from . import branches, effects, ending, history, limits, running
from .bench import Bench, Capability, Check, NotHere, Opener
from .kinds import lacking

__all__ = ["CHECKS", "Outcome", "Report", "verify"]

CHECKS: tuple[Check, ...] = tuple(
    one
    for subject in (running, limits, history, branches, effects, ending)
    for one in vars(subject).values()
    if isinstance(one, Check)
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check."""

    check: Check
    status: Literal["kept", "broken", "skipped"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all checks."""

    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether no promise was broken."""
        return not any(outcome.status == "broken" for outcome in self.outcomes)

    def __str__(self) -> str:
        lines = [f"{o.status:8}{o.check.name}{f': {o.why}' if o.why else ''}" for o in self.outcomes]
        counts = {status: sum(o.status == status for o in self.outcomes) for status in ("kept", "broken", "skipped")}
        return "\n".join([*lines, ", ".join(f"{number} {status}" for status, number in counts.items())])


def verify(
    opener: Opener, *, without: Mapping[Capability, str] | None = None, checks: Iterable[Check] = CHECKS
) -> Report:
    """Make `checks` with the sandbox that `opener` opens. `without`: what it cannot do by design, and why (None: what
    its receipt tells of one of our own kinds).

    Raises `SandboxUnavailable` when it cannot be opened at all, `ConfigError` under `python -O`, which drops asserts.
    """
    if not __debug__:
        raise ConfigError("the checks are assertions", hint="run without -O and PYTHONOPTIMIZE")
    with Bench(opener) as bench:
        with bench.session() as session:
            without = lacking(session.receipt) if without is None else without
        return Report(tuple(_made(one, bench, without) for one in checks))


def _made(one: Check, bench: Bench, without: Mapping[Capability, str]) -> Outcome:
    if why := one.lacks(without):
        return Outcome(one, "skipped", why)
    try:
        one(bench)
    except NotHere as error:
        return Outcome(one, "skipped", str(error))
    except Exception:
        return Outcome(one, "broken", traceback.format_exc())
    return Outcome(one, "kept")
