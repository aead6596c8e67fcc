"""Know-how for kinds of work, put into the prompt when the task or what is known about the files calls for it.

The hints are data, in `prompts/hints.toml`: what a good programmer would tell a beginner before he starts.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

__all__ = ["Hint", "hints_for"]

_MOST = 3
"""A small model does not heed more at once."""


@dataclass(frozen=True, slots=True)
class Hint:
    """One piece of know-how."""

    say: str
    """The words, in one line."""
    imports: tuple[str, ...]
    """What a program that follows it imports."""
    task: re.Pattern[str]
    facts: re.Pattern[str]
    reading: bool
    """Whether it is about how files are read."""
    frames: str = ""
    """The words where tables were read with pandas, if those are others."""


@cache
def _hints() -> tuple[Hint, ...]:
    data = tomllib.loads(resources.files("prompts").joinpath("hints.toml").read_text("utf-8"))
    return tuple(
        Hint(
            " ".join(hint["say"].split()),
            tuple(hint.get("imports", ())),
            re.compile(hint.get("task", ""), re.IGNORECASE | re.DOTALL),
            re.compile(hint.get("facts", ""), re.MULTILINE),
            hint.get("reading", False),
            " ".join(hint.get("frames", "").split()),
        )
        for hint in data["hint"]
    )


def hints_for(text: str, facts: str, *, reads: bool = True, frames: bool = False) -> tuple[Hint, ...]:
    """The hints whose patterns are found in the task `text` and in the `facts` about its files, at most three.

    `reads`: whether the model has to read the files itself; `frames`: whether pandas has read the tables.
    """
    fit = [h for h in _hints() if h.task.search(text) and h.facts.search(facts) and (reads or not h.reading)]
    return tuple(replace(hint, say=hint.frames) if frames and hint.frames else hint for hint in fit[:_MOST])
