"""A folder of jobs as people give them to a command-line agent.

Each job is a folder with `task.json` (`id`, `prompt`), `input/`, of which the program gets a copy to work in, and
`check.py`, which judges that copy and what was printed: `python check.py WORKDIR STDOUT_FILE` exits 0 when the job was
done. Modules that the checks share lie beside the jobs.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..trace import parse_object
from .problems import Job, Problem, Record, check_ids

__all__ = ["load"]


def load(data: Path, split: Path | None) -> list[Problem]:
    """The jobs in `data`, by the names of their folders. Raises `ConfigError`."""
    if split is not None:
        raise ConfigError("jobs have no split", hint="--data names the folder that holds the jobs, -n takes the first")
    problems = [_problem(path) for path in sorted(data.glob("*/task.json"))]
    if not problems:
        raise ConfigError(f"there is no job in {data}", hint="a job is a folder with a task.json")
    check_ids(problems, str(data))
    return problems


def _problem(path: Path) -> Problem:
    try:
        record = Record(parse_object(path.read_text("utf-8")), str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is broken: {error}") from None
    folder = path.parent
    for name in ("input", "check.py"):
        if not (folder / name).exists():
            raise ConfigError(f"the job {folder} has no {name}")
    inputs = tuple(sorted((folder / "input").iterdir()))
    return Problem(record.name("id"), record.text("prompt").strip(), Job(folder), inputs)
