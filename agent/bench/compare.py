"""Two results of the same tasks, paired: is the one better than the other, or is it chance?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from .results import Row

__all__ = ["Comparison", "Paired", "compare"]


@dataclass(frozen=True, slots=True)
class Paired:
    """How often something holds in each of two results."""

    first: int
    second: int
    only_first: tuple[str, ...]
    """The tasks for which it holds in the first alone."""
    only_second: tuple[str, ...]
    p: float
    """McNemar's exact test, two-sided: how likely so uneven a split of the tasks that differ is by chance."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results over the tasks that both hold."""

    tasks: int
    unpaired: int
    """Tasks that only one of the two holds."""
    solved: Paired
    first_draft: Paired
    tokens: float
    """Of the second, for each that the first one wrote."""
    seconds: float
    """Of the second, for each that the first one took."""


def compare(first: Sequence[Row], second: Sequence[Row]) -> Comparison:
    """Compare two results. Raises `ConfigError` when they have no task in common, or scipy is missing."""
    other = {row.task: row for row in second}
    pairs = [(row, other[row.task]) for row in first if row.task in other]
    if not pairs:
        raise ConfigError("the two results have no task in common", hint="compare results of the same benchmark")
    return Comparison(
        len(pairs),
        len(first) + len(second) - 2 * len(pairs),
        _paired(pairs, lambda row: row.solved),
        _paired(pairs, lambda row: row.first_passed),
        _ratio([(a.completion_tokens, b.completion_tokens) for a, b in pairs]),
        _ratio([(a.seconds, b.seconds) for a, b in pairs]),
    )


def _paired(pairs: Sequence[tuple[Row, Row]], holds: Callable[[Row], bool]) -> Paired:
    only_first = tuple(a.task for a, b in pairs if holds(a) and not holds(b))
    only_second = tuple(a.task for a, b in pairs if holds(b) and not holds(a))
    counts = sum(holds(a) for a, _ in pairs), sum(holds(b) for _, b in pairs)
    return Paired(*counts, only_first, only_second, _mcnemar(len(only_first), len(only_second)))


def _mcnemar(one: int, other: int) -> float:
    """The exact test is a binomial one over the pairs that differ (Q. McNemar, Psychometrika 12, 1947)."""
    if one + other == 0:
        return 1.0
    try:
        from scipy.stats import binomtest  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
    except ImportError:
        raise ConfigError("scipy is missing, which tests for chance", hint="pip install 'sandsmith[data]'") from None
    return float(binomtest(one, one + other).pvalue)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the sums; 1 where the first one's is nothing."""
    before, now = (sum(side) for side in zip(*pairs, strict=True))
    return now / before if before else 1.0
