"""QuixBugs: mend a function of one wrong line.

The task is the function and its description. The loop finds the examples in that; `test` judges, after `preamble`.
"""

from __future__ import annotations

from pathlib import Path

from .problems import Problem, Record, Tests, find_split, read_problems

__all__ = ["load"]

_ONCE = """
for _name in [name for name in globals() if name.startswith("test")]:
    del globals()[_name]
"""
"""The tests have called their functions, some of which change what the next ones see: nobody may call them again."""


def load(data: Path, split: Path | None) -> list[Problem]:
    """The problems of `data`. Raises `ConfigError`."""
    return read_problems(find_split(data, "quixbugs", split), _problem)


def _problem(record: Record) -> Problem:
    text = f"Fix the bug in this function:\n\n{record.text('buggy').strip()}\n\n{record.text('description').strip()}"
    before = record.text("preamble") if record.values.get("preamble") else ""
    return Problem(f"QuixBugs/{record.text('name')}", text, Tests(before, record.text("test") + _ONCE))
