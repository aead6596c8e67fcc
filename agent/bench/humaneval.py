"""HumanEval (openai/human-eval): complete a function from its head and docstring.

The task is the function as it stands. The loop finds the examples in its docstring, as in any task; `test` judges.
"""

from __future__ import annotations

from pathlib import Path

from .problems import Problem, Record, Tests, find_split, read_problems

__all__ = ["load"]


def load(data: Path, split: Path | None) -> list[Problem]:
    """The problems of `data`. Raises `ConfigError`."""
    return read_problems(find_split(data, "humaneval", split), _problem)


def _problem(record: Record) -> Problem:
    prompt = record.text("prompt")
    tests = f"{record.text('test')}\ncheck({record.text('entry_point')})\n"
    return Problem(record.name("task_id"), f"Complete this function:\n\n{prompt.strip()}", Tests(prompt, tests))
