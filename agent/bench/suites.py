"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import ConfigError
from . import dabench, humaneval, jobs, mbpp, quixbugs
from .problems import Problem

__all__ = ["SUITES", "load_problems"]

SUITES: Mapping[str, Callable[[Path, Path | None], list[Problem]]] = MappingProxyType(
    {
        "humaneval": humaneval.load,
        "mbpp": mbpp.load,
        "dabench": dabench.load,
        "quixbugs": quixbugs.load,
        "jobs": jobs.load,
    }
)
"""What reads the problems of each from a folder, and from a file in it where there are several."""


def load_problems(name: str, data: Path, split: Path | None = None, most: int | None = None) -> list[Problem]:
    """The first `most` problems of a benchmark, in the order of its file. Raises `ConfigError`."""
    if name not in SUITES:
        raise ConfigError(f"there is no benchmark {name!r}", hint=f"there are: {', '.join(SUITES)}")
    return SUITES[name](data, split)[:most]
