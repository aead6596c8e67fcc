"""`sandsmith bench`: how many tasks of a benchmark are solved, and at what cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from .door import OK, Door
from .options import by_policy, second_models
from .pump import Pump
from .terminal import clean, is_live, note, say

if TYPE_CHECKING:
    from agent.bench.compare import Paired
    from agent.bench.results import Row
    from agent.bench.running import Bench, Heard
    from agent.bench.tables import Group
    from agent.task import Budget

__all__ = ["bench"]

_SUITES = {
    "humaneval": "HumanEval: complete a function from its docstring",
    "mbpp": "MBPP (sanitized): write a function from a sentence and one assertion",
    "dabench": "InfiAgent-DABench: answer a closed question about a table",
    "quixbugs": "QuixBugs: mend a function with one wrong line",
    "jobs": "a folder of jobs, each with its input files and a check",
}
_PATH = click.Path(path_type=Path)
_JOBS = (
    "Tasks tried at once (1). One by one, a task takes the seconds that a user would wait; side by side, those of a "
    "machine that it shares."
)
_LISTED = 20
"""Tasks that are named in a comparison."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    """The options of `sandsmith bench NAME` as click gives them."""

    data: Path
    split: Path | None
    model: str | None
    planner_model: str | None
    escalate_model: str | None
    drafts: int | None
    repairs: int | None
    seconds: float | None
    seed: int | None
    jobs: int
    strategy: str | None
    number: int | None
    resume: bool
    out: Path | None


@click.group()
def bench() -> None:
    """Measure how many tasks of a benchmark are solved, judged by hidden tests, or compare two such results.

    \b
      sandsmith bench mbpp --data data/ --n 20 --out small/
      sandsmith bench mbpp --data data/ --n 20 --policy plain --out plain/
      sandsmith bench humaneval --data data/ --jobs 4
      sandsmith bench compare plain/ small/
    """


def _add(name: str, what: str) -> None:
    """The command that runs one benchmark."""

    @bench.command(name, short_help=what, help=f"Run {what}. docs/solving.md tells what each file has to hold.")
    @click.option("--data", type=_PATH, required=True, metavar="DIR", help="The folder with the benchmark's files.")
    @click.option("--split", type=_PATH, metavar="FILE", help=f"The tasks (default: the one {name}*.jsonl of DIR).")
    @click.option("-m", "--model", help="Model to ask: a name of `sandsmith model list`, or provider:name.")
    @second_models
    @click.option("--drafts", type=click.IntRange(1), metavar="N", help="Programs to draw at most (6).")
    @click.option("--repairs", type=click.IntRange(0), metavar="N", help="Repairs by the model at most.")
    @click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Time for each task.")
    @click.option("--seed", type=int, metavar="N", help="Seed of the draws.")
    @click.option("-j", "--jobs", type=click.IntRange(1), default=1, metavar="K", help=_JOBS)
    @by_policy
    @click.option("-n", "--n", "number", type=click.IntRange(1), metavar="N", help="Only the first N tasks.")
    @click.option("--resume", is_flag=True, help="Go on with what was begun in the folder of results.")
    @click.option("--out", type=_PATH, metavar="DIR", help=f"The folder for the results (default: bench-{name}).")
    @click.pass_obj
    def run(door: Door, **options: Any) -> int:  # pyright: ignore[reportUnusedFunction]
        return _measure(door, name, _Options(**options))


for _name, _what in _SUITES.items():
    _add(_name, _what)


@bench.command()
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
def compare(first: Path, second: Path) -> int:
    """Compare the results in FIRST with those in SECOND, paired over the tasks that both hold.

    p is that of McNemar's exact test: small where the difference is unlikely to be chance.

    \b
      sandsmith bench compare plain/ small/
    """
    from agent.bench.compare import compare as pair
    from agent.bench.results import read_rows

    found = pair(read_rows(first), read_rows(second))
    lines = [f"A: {_origin(first)}", f"B: {_origin(second)}"]
    lines += [f"{found.tasks} tasks in both" + (f", {found.unpaired} in one only" if found.unpaired else ""), ""]
    rows = [_paired("solved", found.solved), _paired("first draft passes", found.first_draft)]
    lines += _table(["", "A", "B", "A only", "B only", "p"], rows)
    lines += ["", f"B / A: tokens {found.tokens:.2f}, seconds {found.seconds:.2f}"]
    lines += [_listed("A", found.solved.only_first), _listed("B", found.solved.only_second)]
    say("\n".join(lines))
    return OK


def _measure(door: Door, suite: str, chosen: _Options) -> int:
    from agent.agent import Agent
    from agent.bench.results import Results, options_of
    from agent.bench.running import Bench
    from agent.bench.suites import load_problems

    problems = load_problems(suite, chosen.data, chosen.split, chosen.number)
    out, budget = chosen.out or Path(f"bench-{suite}"), _budget(chosen)
    second = {"planner_model": chosen.planner_model, "escalate_model": chosen.escalate_model}
    agent = Agent(
        chosen.model,
        budget=budget,
        apply=True,
        runs=out / "runs",
        strategy=chosen.strategy,
        planner_model=chosen.planner_model,
        escalate_model=chosen.escalate_model,
        parallel=chosen.jobs,
    )
    options = {**options_of(suite, problems, chosen.model, chosen.strategy, budget, chosen.jobs), **second}
    with closing(Results(out, options, resume=chosen.resume)) as results:
        running = Bench(problems, agent, results, parallel=chosen.jobs)
        try:
            code = _follow(door, running, len(problems), chosen.jobs)
        finally:  # what there is, also after Ctrl-C and when the model went away
            _report(results.rows, len(problems), results.file)
    if not door.abandoned:
        agent.close()
    return code


def _budget(chosen: _Options) -> Budget:
    from agent.task import Budget

    names = ("drafts", "repairs", "seconds", "seed")
    return Budget(**{name: value for name in names if (value := getattr(chosen, name)) is not None})


def _follow(door: Door, running: Bench, total: int, jobs: int) -> int:
    """Show what happens until the last task has been tried, or a signal comes. Returns the exit code."""
    pump = Pump(running.run, running.cancel)
    with _open_display(total, total - len(running.left), jobs) as display:
        for step in pump:
            display.show(step)
    if pump.signal is None:
        return OK
    door.abandoned = True  # a model that is being loaded would be waited for
    note("interrupted; --resume goes on")
    return pump.exit_code


# --- while it runs ---


class _Display(AbstractContextManager["_Display"], Protocol):
    def show(self, step: Heard | Row) -> None: ...


def _open_display(total: int, done: int, jobs: int) -> _Display:
    return _Bar(total, done, jobs) if is_live() else _Lines(total, done, jobs)


class _Lines:
    """A line for each task that was tried, with an estimate of the time left."""

    def __init__(self, total: int, done: int, jobs: int) -> None:
        self._total, self._done, self._jobs = total, done, jobs
        self._began: dict[str, float] = {}
        """When each task in progress was begun."""
        self._took: list[float] = []
        """Seconds of those that were tried here."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def show(self, step: Heard | Row) -> None:
        from agent.bench.results import Row

        self._count(step)
        if isinstance(step, Row):
            note(f"{_line(step)} ({self._done} of {self._total}{self._left()})")

    def _count(self, step: Heard | Row) -> None:
        from agent.bench.results import Row

        now = time.monotonic()
        if isinstance(step, Row):
            self._done += 1
            self._took.append(now - self._began.pop(step.task, now))
        else:
            self._began.setdefault(step.problem.id, now)

    def _left(self) -> str:
        """How long the other tasks will take, as many at once as here, if they are like those so far."""
        left = self._total - self._done
        if not left or not self._took:
            return ""
        mean = sum(self._took) / len(self._took)
        minutes, seconds = divmod(round(mean * left / min(self._jobs, left)), 60)
        return f", {minutes // 60}:{minutes % 60:02}:{seconds:02} left"


class _Bar(_Lines):
    """A bar under the lines, with what goes on now."""

    def __init__(self, total: int, done: int, jobs: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        from .display import console

        super().__init__(total, done, jobs)
        texts = [TextColumn(f"{{task.{what}}}", markup=False) for what in ("fields[left]", "description")]
        columns = (SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), *texts)
        self._progress = Progress(*columns, console=console(), transient=True, refresh_per_second=6)
        self._task = self._progress.add_task("", total=total, completed=done, left="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def show(self, step: Heard | Row) -> None:
        from agent.bench.results import Row

        from .display import doing

        self._count(step)
        if isinstance(step, Row):
            self._progress.console.print(clean(_line(step)))
            self._progress.update(self._task, completed=self._done, left=self._left().lstrip(", "))
        elif self._jobs > 1:  # what each of them does would flicker
            self._progress.update(self._task, description=f"{len(self._began)} at once")
        elif now := doing(step.event):
            self._progress.update(self._task, description=clean(f"{step.problem.id}: {now}"))


def _line(row: Row) -> str:
    """How one task went."""
    cost = f"drafts {row.drafts}, repairs {row.repairs}, {row.completion_tokens} tokens, {row.seconds:.1f} s"
    if row.solved:
        return f"{row.task}: solved, {cost}"
    return f"{row.task}: not solved, {cost}: {row.error}: {' '.join(row.why.split())[:100]}"


# --- afterwards ---


def _report(rows: Sequence[Row], total: int, file: Path) -> None:
    """The tables of all results so far."""
    from agent.bench.tables import summarise

    if not rows:
        return
    found = summarise(rows)
    head = ["", "tasks", "solved", "", "first draft", "drafts", "repairs", "tokens", "seconds", "longest"]
    lines = _table(head, [_cells(group) for group in found.groups])
    everything = found.groups[0]
    share = f"{everything.first_passed / everything.tasks:.1%}"
    lines += ["", f"{len(rows)} of {total} tasks; pass@1 of the first draft {share}"]
    if found.escalated:
        lines += [f"escalated: {found.escalated}, of which {found.escalated_solved} are solved"]
    lines += [f"called solved and is not: {found.wrongly_solved}; called failed and is not: {found.wrongly_failed}"]
    if found.compared:
        chosen = f"another than the first was chosen in {found.rechosen}, {found.rechosen_well} of them solved"
        lines += [f"programs were compared in {found.compared} tasks; {chosen}"]
    say("\n".join(lines))
    note(f"results: {file}")


def _cells(group: Group) -> list[str]:
    share = f"{group.solved / group.tasks:.1%}"
    means = [f"{group.drafts:.2f}", f"{group.repairs:.2f}", f"{group.tokens:.0f}", f"{group.seconds:.1f}"]
    return [
        group.name,
        str(group.tasks),
        str(group.solved),
        share,
        str(group.first_passed),
        *means,
        f"{group.longest:.1f}",
    ]


def _paired(name: str, found: Paired) -> list[str]:
    counts = (found.first, found.second, len(found.only_first), len(found.only_second))
    return [name, *map(str, counts), f"{found.p:.3g}"]


def _listed(name: str, tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - _LISTED} more" if len(tasks) > _LISTED else ""
    return f"solved by {name} only: {', '.join(tasks[:_LISTED]) or 'none'}{more}"


def _origin(path: Path) -> str:
    """Where results come from: the path, and what they were asked for with."""
    from agent.bench.results import read_options

    options = read_options(path)
    told = [str(options[key]) for key in ("bench", "model", "policy") if options.get(key)]
    told += [f"{options['jobs']} at once"] if options.get("jobs") else []
    return f"{path}" + (f" ({', '.join(told)})" if told else "")


def _table(head: list[str], rows: Sequence[list[str]]) -> list[str]:
    """A Markdown table, its columns in line; the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (w + 1) + ':' for w in widths[1:])}|"
    return [line(head), rule, *map(line, rows)]
