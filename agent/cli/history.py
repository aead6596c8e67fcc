"""`sandsmith apply`, `runs`, `show`, `replay`: what earlier runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from .door import FAILED, OK
from .terminal import note, say, say_json

if TYPE_CHECKING:
    from agent.store import Run
    from sandbox import Changes

__all__ = ["apply", "replay", "runs", "show"]


@click.command()
@click.argument("run")
@click.option("--force", is_flag=True, help="Apply although files changed meanwhile, or the task was not solved.")
@click.option("--finish", is_flag=True, help="Finish an application that was cut off.")
@click.option("--undo", is_flag=True, help="Take an application back.")
def apply(run: str, force: bool, finish: bool, undo: bool) -> int:
    """Write the changes of an earlier RUN (an id, its beginning, or `last`) to its folder: all of them or none.

    \b
      sandsmith apply last
      sandsmith apply last --undo
    """
    if finish and undo:
        raise click.UsageError("--finish and --undo exclude each other", click.get_current_context())
    found = _load(run)
    changes = _changes(found)
    if not changes:
        note(f"run {found.id} changed no file")
        return OK
    if undo:
        changes.undo(force=force)
    elif finish:
        changes.finish(force=force)
    else:
        _refuse_unsolved(found, force)
        changes.apply(force=force)
    note("\n".join(changes.summary()))
    note(f"{'taken back in' if undo else 'applied to'} {changes.folder}")
    return OK


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("-n", "number", type=click.IntRange(1), default=20, show_default=True, help="How many at most.")
def runs(as_json: bool, number: int) -> int:
    """List the runs, the newest first.

    \b
      sandsmith runs -n 5
    """
    from agent.store import list_runs

    found = list_runs()[:number]
    if as_json:
        say_json({"runs": [_row(r) for r in found]})
    elif found:
        say("\n".join(f"{r.id}  {r.status:<11} {r.seconds:>6.1f} s  {_task_line(r)}" for r in found))
    else:
        note("there are no runs yet")
    return OK


@click.command()
@click.argument("run")
@click.option("--program", "what", flag_value="program", help="The program alone.")
@click.option("--trace", "what", flag_value="trace", help="The trace as JSON lines.")
@click.option("--diff", "what", flag_value="diff", help="The diffs of the changed files.")
@click.option("--json", "what", flag_value="json", help="The result as one JSON object.")
def show(run: str, what: str | None) -> int:
    """Show an earlier RUN (an id, its beginning, or `last`): the task, the outcome, the program, the changes.

    \b
      sandsmith show last
      sandsmith show last --program > program.py
    """
    found = _load(run)
    match what:
        case "program":
            say(_program(found))
        case "trace":
            for event in found.events():
                say(json.dumps(event))
        case "diff":
            say("\n".join(_diffs(_changes(found))))
        case "json":
            say_json({**_row(found), "result": found.result()})
        case _:
            say("\n".join(_overview(found)))
    return OK


@click.command()
@click.argument("run")
def replay(run: str) -> int:
    """Go through an earlier RUN again with the replies it recorded, without a model; the folder stays as it is.

    The exit code is 0 when everything came out as recorded, 1 when something differs.

    \b
      sandsmith replay last
    """
    from agent.replay import replay as play

    report = play(_load(run))
    say(report.result.answer)
    for text in report.notes:
        note(text)
    for d in report.differences:
        where = f"attempt {d.attempt}" if d.attempt else "result"
        note(f"{where}: {d.what} was {d.recorded!r}, now {d.replayed!r}")
    note(f"run {report.run_id}: {'everything came out as recorded' if report.same else 'something differs'}")
    return OK if report.same else FAILED


def _load(ref: str) -> Run:
    from agent.store import load_run

    return load_run(ref)


def _changes(run: Run) -> Changes | None:
    """The change set of a run; None when it left none."""
    from sandbox import Changes

    store = run.path / "changes"
    return Changes.load(store) if (store / "changes.json").exists() else None


def _refuse_unsolved(run: Run, force: bool) -> None:
    from agent.errors import ConfigError

    if run.status not in ("solved", "unverified") and not force:
        raise ConfigError(f"run {run.id} ended as `{run.status}`", hint="--force applies its changes all the same")


def _program(run: Run) -> str:
    from agent.errors import ConfigError

    program = run.program()
    if program is None:
        raise ConfigError(f"run {run.id} has no program", hint=f"see `sandsmith show {run.id} --trace`")
    return program


def _row(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "status": run.status,
        "task": run.task.text if run.task else None,
        "folder": str(run.task.folder) if run.task and run.task.folder else None,
        "model": run.model,
        "seconds": run.seconds,
        "reason": run.reason,
        "packages": run.packages and run.packages.to_json(),
        "path": str(run.path),
    }


def _task_line(run: Run, width: int = 80) -> str:
    flat = " ".join(run.task.text.split()) if run.task else ""
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _overview(run: Run) -> Iterator[str]:
    yield f"run      {run.id}"
    yield f"task     {run.task.text if run.task else '(unreadable)'}"
    yield f"outcome  {run.status}{': ' + run.reason if run.reason else ''}"
    yield f"model    {run.model}"
    if (by := _author(run)) not in ("", run.model):
        yield f"written  by {by}"
    yield f"seconds  {run.seconds:.1f}"
    if run.packages:
        yield f"packages {' '.join(map(str, run.packages.packages))}"
    yield f"kept in  {run.path}"
    if program := run.program():
        yield "\nprogram"
        yield from (f"    {line}" for line in program.splitlines())
    changes = _changes(run)
    if changes:
        yield f"\nchanges in {changes.folder} ({changes.state})"
        yield from (f"    {line}" for line in changes.summary())


def _author(run: Run) -> str:
    """The model that wrote the program; empty where that is not known."""
    program: Any = (run.result() or {}).get("program")
    return str(cast("dict[str, Any]", program).get("model") or "") if isinstance(program, dict) else ""


def _diffs(changes: Changes | None) -> Iterator[str]:
    from .effects import diff_lines

    return (line.text for line in diff_lines(changes)) if changes else iter(())
