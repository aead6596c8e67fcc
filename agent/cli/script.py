"""`sandsmith save` and `sandsmith script run`: programs that are kept as scripts, and run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .door import FAILED, OK, Door
from .execute import Job, conduct, policy_of, read_program, with_limits
from .options import sandbox_kind, size, write_file
from .terminal import ask, is_interactive, note, say

if TYPE_CHECKING:
    from agent.running import Script
    from agent.saving import Saved
    from agent.task import RunResult
    from sandbox import Policy

    from .lines import Line

__all__ = ["save", "script"]


@click.command()
@click.argument("run")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--wall", type=click.FloatRange(0, min_open=True), metavar="S", help="Seconds of one execution (30).")
@click.option("--memory", type=size, metavar="SIZE", help="Memory of one execution (2G).")
@click.option("--allow-host", multiple=True, metavar="HOST[:PORT]", help="Let the program reach this host (port 443).")
@sandbox_kind
def save(run: str, target: Path, force: bool, kind: str | None, **options: Any) -> int:
    """Write the program of an earlier RUN (an id, its beginning, or `last`) as a script to FILE.

    The script is what the result depends on, with its packages pinned (inline metadata, PEP 723) and its input files
    as arguments. It is run first, over the same files, and written only if it does the same again.

    \b
      sandsmith save last report.py
      python report.py --help
      sandsmith script run report.py other.csv
    """
    from agent.saving import save_run
    from agent.settings import load_settings
    from agent.store import load_run
    from sandbox import Policy

    names = {"wall": "wall_seconds", "memory": "memory_bytes"}
    limits: dict[str, Any] = {name: options[key] for key, name in names.items() if options[key] is not None}
    policy = Policy(**limits, allow_hosts=options["allow_host"], minimum_tier=load_settings().minimum_tier)
    saved = save_run(load_run(run), target, policy=policy, kind=kind, force=force)
    say(str(saved.path))
    for line in describe_saved(saved):
        note(line)
    return OK


def describe_saved(saved: Saved) -> Iterator[str]:
    """What to tell of a script that was written."""
    yield f"run again in a fresh sandbox, it did the same{'; nothing could be left out' if saved.whole else ''}"
    if saved.arguments:
        yield "arguments: " + ", ".join(f"{name} ({file})" for name, file in saved.arguments.items())
    if saved.dependencies:
        yield f"packages: {' '.join(saved.dependencies)}"


@click.group()
def script() -> None:
    """Scripts with inline metadata (PEP 723), such as those that `sandsmith save` writes.

    \b
      sandsmith script run report.py data.csv
      sandsmith script run report.py data.csv --repair
    """


@script.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("file", metavar="SCRIPT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.option("--repair", is_flag=True, help="Have the model mend the script when it fails or its checks do not hold.")
@click.option("-m", "--model", help="Model to repair with: a name of `sandsmith model list`, or provider:name.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Time for the repair.")
@with_limits
@click.pass_obj
def run_script(
    door: Door,
    file: Path,
    arguments: tuple[str, ...],
    folder: Path,
    apply: bool | None,
    as_json: bool,
    repair: bool,
    **options: Any,
) -> int:
    """Run SCRIPT in the jail with the command line ARGS.

    ARGS that are files are shown to it, wherever they are. It imports what is installed here, the packages of --with,
    or an installed set that has what its metadata ask for. The folder changes only when you accept it. The exit code
    is the script's. Options that this command knows are its own; what follows `--` is the script's.

    With --repair, a script that `sandsmith save` wrote and that fails now, because its input has another format, say,
    is mended by the model until it runs and its checks hold. The difference is shown, and what passes is saved.

    \b
      sandsmith script run report.py march.csv --apply
      sandsmith script run report.py march.csv --repair
      sandsmith script run report.py -- --help
    """
    from agent.running import choose_packages, load_script

    if repair and as_json:
        raise click.UsageError("--repair and --json exclude each other", click.get_current_context())
    policy = policy_of(options)
    chosen = load_script(file, read_program(file, policy.source_bytes), arguments, folder.resolve())
    packages, told = choose_packages(chosen.about, policy.packages)
    for line in (*told, *filter(None, [chosen.view.note])):
        note(line)
    policy = replace(policy, packages=packages)
    job = Job(chosen.execute, chosen.view.folder, chosen.view.inputs, policy, options["kind"])
    if repair:
        job = replace(job, problem=chosen.problem)
    ended = conduct(door, job, apply=apply, as_json=as_json, figures=options["figures"])
    if ended.ok or ended.interrupted or not repair:
        return ended.code
    return _repair(door, chosen, folder.resolve(), policy, apply, options)


def _repair(
    door: Door, script: Script, folder: Path, policy: Policy, apply: bool | None, options: dict[str, Any]
) -> int:
    from agent.agent import Agent
    from agent.running import repair_task
    from agent.task import Budget

    from .display import open_display
    from .pump import Pump
    from .solve import follow

    task = repair_task(script, folder)
    budget = Budget() if options["seconds"] is None else Budget(seconds=options["seconds"])
    agent = Agent(options["model"], sandbox=options["kind"], policy=policy, budget=budget)
    pump = Pump(lambda: agent.stream(task), agent.cancel)
    with open_display(quiet=False, verbose=False) as display:
        result = follow(pump, display, door)
    door.abandoned = pump.signal is not None
    if pump.signal is not None:
        return pump.exit_code
    agent.close()
    return _deliver(script, policy, result, apply) if result.ok else _give_up(script, result)


def _give_up(script: Script, result: RunResult) -> int:
    note(f"{script.path} was not changed: {result.reason or 'it could not be mended'}")
    return FAILED


def _deliver(script: Script, policy: Policy, result: RunResult, apply: bool | None) -> int:
    """The difference, the script, the answer and the effects."""
    from agent.running import repaired
    from agent.store import load_run

    from .effects import Settlement, print_lines, settle

    saved = repaired(load_run(result.run_id), script, policy)
    print_lines(_difference(script, saved))
    if is_interactive() and ask(f"save the mended {script.path}? [y]es, [n]o:", "ny") == "n":
        note(f"{script.path} was not changed; `sandsmith save {result.run_id} FILE` writes what passed")
        return FAILED
    write_file(script.path, saved.code.encode())
    note(f"saved {script.path}")
    say(result.answer)
    settle(result.changes, Settlement(result.ok, apply, run_id=result.run_id))
    return OK


def _difference(script: Script, saved: Saved) -> Iterator[Line]:
    from sandbox.changes.diffs import unified

    from .effects import styled

    old, new = script.code.encode(), saved.code.encode()
    return styled(unified(old, new, script.path.name, max(len(old), len(new))))
