"""InfiAgent-DABench: a closed question about a table.

The task is the question, its constraints and the format of the answer, with the table as its file. The answer is right
when it holds every `@name[value]`, as the benchmark's own script compares them.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from .problems import Problem, Record, Values, find_split, read_problems

__all__ = ["load"]


def load(data: Path, split: Path | None) -> list[Problem]:
    """The problems of `data`, whose tables are in its folder `dabench_tables`. Raises `ConfigError`."""
    problems = read_problems(find_split(data, "dabench", split), lambda record: _problem(record, data))
    missing = sorted({table.name for p in problems for table in p.inputs if not table.is_file()})
    if missing:
        raise ConfigError(f"there are no tables {', '.join(missing[:5])} in {data / 'dabench_tables'}")
    return problems


def _problem(record: Record, data: Path) -> Problem:
    table = record.text("file_name")
    if Path(table).name != table:
        raise record.wrong(f"{table!r} is not the name of a table")
    said = [record.text("question").strip(), str(record.values.get("constraints") or "").strip()]
    text = "\n".join([*filter(None, said), f"Print the answer in this format: {record.text('format').strip()}"])
    hidden = Values(tuple(record.pairs("answers")))
    return Problem(f"DABench/{record.name('id')}", text, hidden, (data / "dabench_tables" / table,), (table,))
