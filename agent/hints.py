"""Know-how for kinds of work, put into the prompt when the task or what is known about the files calls for it.

The hints are data, in `prompts/hints.toml`: what a good programmer would tell a beginner before he starts. Some come
with a function that does the hard part, in `prompts/helpers/`: a program that uses it gets its source.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

__all__ = ["Hint", "helpers", "hints_for"]

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
    helped: str = ""
    """The words where the helper is there."""
    helper: str = ""
    """The source of a function that a program may use."""


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
            " ".join(hint.get("helped", "").split()),
            helpers()[hint["helper"]] if "helper" in hint else "",
        )
        for hint in data["hint"]
    )


@cache
def helpers() -> Mapping[str, str]:
    """By its name the source of each function that a program may use, with its imports."""
    files = resources.files("prompts").joinpath("helpers").iterdir()
    return {file.name.removesuffix(".py"): file.read_text("utf-8") for file in files if file.name.endswith(".py")}


def hints_for(text: str, facts: str, *, reads: bool = True, frames: bool = False) -> tuple[Hint, ...]:
    """The hints whose patterns are found in the task `text` and in the `facts` about its files, at most three.

    `reads`: whether the model has to read the files itself; `frames`: whether pandas has read the tables.
    """
    fit = [h for h in _hints() if h.task.search(text) and h.facts.search(facts) and (reads or not h.reading)]
    return tuple(replace(hint, say=hint.helped or (frames and hint.frames) or hint.say) for hint in fit[:_MOST])
