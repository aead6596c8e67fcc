"""MBPP, sanitized (google-research): write a function from one sentence.

The task is the sentence and the first of the assertions, which says what the function is called; all of them judge.
"""

from __future__ import annotations

from pathlib import Path

from .problems import Problem, Record, Tests, find_split, read_problems

__all__ = ["load"]


def load(data: Path, split: Path | None) -> list[Problem]:
    """The problems of `data`. Raises `ConfigError`."""
    return read_problems(find_split(data, "mbpp", split), _problem)


def _problem(record: Record) -> Problem:
    tests = record.texts("test_list")
    if not tests:
        raise record.wrong("it has no assertion")
    text = f"{record.text('prompt').strip()}\nYour code should pass this test:\n{tests[0].strip()}"
    source = "\n".join([*record.texts("test_imports"), *tests, ""])
    return Problem(f"MBPP/{record.name('task_id')}", text, Tests("", source))
