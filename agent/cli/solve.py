"""`sandsmith run`: a task to a checked program, its answer and its effects."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .door import FAILED, OK, Door
from .options import by_policy, min_tier, refuse_existing, sandbox_kind, second_models, size, write_file
from .packages import installed, with_packages
from .pump import Pump
from .stdin import decode, read_text, take_input
from .terminal import note, say, say_json

if TYPE_CHECKING:
    from agent.events import Event
    from agent.task import Budget, Check, RunResult, Task
    from sandbox import Policy, Tier

    from .display import Display

__all__ = ["follow", "run"]

_TEXT = 1024 * 1024
"""Bytes of a task or a test file."""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    """The options of `sandsmith run` as click gives them."""

    task: str | None
    files: tuple[str, ...]
    model: str | None
    planner_model: str | None
    escalate_model: str | None
    check: tuple[str, ...]
    tests: tuple[Path, ...]
    drafts: int | None
    repairs: int | None
    seconds: float | None
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    apply: bool | None
    save: Path | None
    force: bool
    as_json: bool
    trace: Path | None
    verbose: bool
    quiet: bool
    folder: Path
    prompt_file: str | None
    allow_host: tuple[str, ...]
    memory: int | None
    wall: float | None
    packages: tuple[str, ...]
    kind: str | None
    min_tier: Tier | None
    strategy: str | None


@click.command("run")
@click.argument("task", required=False)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-m", "--model", help="Model to ask: a name of `sandsmith model list`, or provider:name.")
@second_models
@click.option("--check", multiple=True, metavar="EXPR", help="A Python expression that must hold at the end.")
@click.option("--tests", multiple=True, type=_FILE, help="A file of test functions that must pass.")
@click.option("--drafts", type=click.IntRange(1), metavar="N", help="Programs to draw at most (6).")
@click.option("--repairs", type=click.IntRange(0), metavar="N", help="Repairs by the model at most.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Time for the whole task.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Tokens of one reply at most.")
@click.option("--temperature", type=click.FloatRange(0), metavar="T", help="Temperature of every draft.")
@click.option("--seed", type=int, metavar="N", help="Seed of the draws.")
@click.option("--apply/--no-apply", default=None, help="Write the changes to the folder, or do not ask.")
@click.option("--save", type=_NEW_FILE, help="Write the final program to this file.")
@click.option("--force", is_flag=True, help="Let --save and --trace overwrite a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--trace", type=_NEW_FILE, help="Copy the trace (JSON lines) to this file.")
@click.option("-v", "--verbose", is_flag=True, help="Show prompts, replies and tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Show only errors.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The working folder, seen as a copy-on-write view (default: the current one).",
)
@click.option("--prompt-file", metavar="FILE", help="Read the task from a file (`-`: from stdin).")
@click.option("--allow-host", multiple=True, metavar="HOST[:PORT]", help="Let programs reach this host (port 443).")
@click.option("--memory", type=size, metavar="SIZE", help="Memory of one execution (2G).")
@click.option("--wall", type=click.FloatRange(0, min_open=True), metavar="S", help="Seconds of one execution (30).")
@with_packages
@sandbox_kind
@min_tier
@by_policy
@click.pass_obj
def run(door: Door, **options: Any) -> int:
    """Solve TASK with a program: write it, run it in the jail, check it, repair it.

    FILEs are what the task is about; text piped into stdin becomes one more of them. The answer goes to stdout.
    Your folder changes only when you accept the changes (or with --apply).

    \b
      sandsmith run "Which region sold most?" sales.csv
      sandsmith run "Write slugify(text)" --check 'slugify("A b") == "a-b"' --save slug.py
      df -h | sandsmith run "Which disk is fullest? Print its mount point."
    """
    from sandbox.scratch import Scratch

    chosen = _Options(**options)
    door.verbose = chosen.verbose
    refuse_existing(chosen.save, "--save", force=chosen.force)
    refuse_existing(chosen.trace, "--trace", force=chosen.force)
    with Scratch() as inputs:
        return _solve(door, chosen, _task(chosen, inputs))


def _task(chosen: _Options, inputs: Path) -> Task:
    from agent.task import Task

    text, names, stdin_is_free = _text(chosen)
    if not text.strip():
        raise click.UsageError("there is no task", click.get_current_context())
    files = [_file(name) for name in names if name != "-"]
    if stdin_is_free and (piped := take_input(inputs, asked="-" in names)):
        files.append(piped)
    return Task(text.strip(), chosen.folder.resolve(), tuple(files), _checks(chosen))


def _text(chosen: _Options) -> tuple[str, tuple[str, ...], bool]:
    """The task, the names of its files, and whether stdin is still unread."""
    source, names = chosen.prompt_file, chosen.files
    if source is None:
        if chosen.task != "-":
            return chosen.task or "", names, True
        source = "-"
    elif chosen.task is not None:
        names = (chosen.task, *names)
    if source == "-":
        return read_text(_TEXT, "the task"), names, False
    path = Path(source)
    if not path.is_file():
        raise click.BadParameter(f"there is no file {source}", param_hint="--prompt-file")
    return _read(path), names, True


def _file(name: str) -> Path:
    """As the shell means it; what is not there is left to the agent, which looks in the folder and names what is."""
    path = Path(name)
    return path.resolve() if path.exists() else path


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > _TEXT:
        raise click.UsageError(f"{path} is larger than {_TEXT} bytes")
    return decode(data, str(path))


def _checks(chosen: _Options) -> tuple[Check, ...]:
    from agent.task import as_checks

    return as_checks(chosen.check, [_read(path) for path in chosen.tests])


def _budget(chosen: _Options) -> Budget:
    from agent.task import Budget

    names = ("drafts", "repairs", "seconds", "max_tokens", "temperature", "seed")
    given = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    return Budget(**given)


def _policy(chosen: _Options) -> Policy:
    from agent.settings import load_settings
    from sandbox import Policy

    limits = {"memory_bytes": chosen.memory, "wall_seconds": chosen.wall}
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    return Policy(
        **given,
        minimum_tier=chosen.min_tier or load_settings().minimum_tier,
        allow_hosts=chosen.allow_host,
        packages=installed(chosen.packages, quiet=chosen.quiet),
    )


def _solve(door: Door, chosen: _Options, task: Task) -> int:
    from agent.agent import Agent

    from .display import open_display

    agent = Agent(
        chosen.model,
        sandbox=chosen.kind,
        policy=_policy(chosen),
        budget=_budget(chosen),
        strategy=chosen.strategy,
        planner_model=chosen.planner_model,
        escalate_model=chosen.escalate_model,
    )
    pump = Pump(lambda: agent.stream(task), agent.cancel)
    with open_display(quiet=chosen.quiet, verbose=chosen.verbose) as display:
        result = follow(pump, display, door)
    door.abandoned = pump.signal is not None  # a model that is being loaded would be waited for
    _deliver(chosen, task, result, door)
    if pump.signal is not None:
        return pump.exit_code
    agent.close()
    return OK if result.ok else FAILED


def follow(pump: Pump[Event], display: Display, door: Door) -> RunResult:
    """Show every event as it comes, and return the result of the last."""
    from agent.events import Executed, Finished, Started
    from agent.store import load_run
    from agent.task import RunResult

    from .lines import Line, weak_wall

    run_id = warning = ""
    result: RunResult | None = None
    for event in pump:
        if isinstance(event, Started):
            run_id = event.run_id
            door.trace = load_run(run_id).path / "trace.jsonl"
        elif isinstance(event, Finished):
            result = event.result
        elif isinstance(event, Executed) and not warning and (warning := weak_wall(event.execution.receipt)):
            display.line(Line(warning, "warn"))
        display.show(event)
    return result or RunResult("interrupted", reason="interrupted", run_id=run_id)


def _deliver(chosen: _Options, task: Task, result: RunResult, door: Door) -> None:
    """The answer, the files asked for, and the effects: in this order, so that nothing written can be redirected."""
    from .effects import Settlement, settle

    if chosen.trace and door.trace and door.trace.exists():
        write_file(chosen.trace, door.trace.read_bytes())
    if chosen.save and result.program and result.ok:
        write_file(chosen.save, (result.program.code.rstrip("\n") + "\n").encode())
    if result.ok and not chosen.as_json:
        say(result.answer)
    if not result.ok and not chosen.quiet:
        _explain(chosen, result)
    how = Settlement(result.ok, chosen.apply, ask=not chosen.as_json, quiet=chosen.quiet, run_id=result.run_id)
    applied = False
    try:
        applied = settle(result.changes, how)
    finally:  # a folder that changed meanwhile is an error, and the result still stands
        if chosen.as_json:
            say_json(_json(result, applied))


def _explain(chosen: _Options, result: RunResult) -> None:
    """Where to look at what did not work. Its output is no answer, so stdout stays empty."""
    from .lines import network_hint

    if result.answer:
        note(f"the best program printed:\n{_head(result.answer)}")
    if chosen.save:
        note(f"{chosen.save} was not written")
    if result.execution and (hint := network_hint(result.execution)):
        note(hint)
    if result.run_id:
        note(f"`sandsmith show {result.run_id}` shows what there is")


def _head(text: str, most: int = 10) -> str:
    lines = text.splitlines()
    more = [f"... {len(lines) - most} more lines"] if len(lines) > most else []
    return "\n".join(f"  {line}" for line in [*lines[:most], *more])


def _json(result: RunResult, applied: bool) -> dict[str, Any]:
    from agent.events import plain

    verdict = result.verdict
    return {
        "outcome": result.outcome,
        "solved": result.outcome == "solved",
        "answer": result.answer,
        "verdict": verdict and {"passed": verdict.passed, "author": verdict.author, **plain(verdict)},
        "program": result.program and result.program.code,
        "model": result.program and result.program.model,
        "changes": plain(result.changes),
        "applied": applied,
        "run": result.run_id,
        "attempts": result.drafts + result.repairs,
        "drafts": result.drafts,
        "repairs": result.repairs,
        "usage": plain(result.usage),
        "agreement": plain(result.agreement),
        "seconds": round(result.seconds, 3),
        "reason": result.reason,
        "execution": result.execution and result.execution.to_json(),
    }
