"""`sandsmith exec`: a program in the jail, without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .door import FAILED, OK, Door
from .options import min_tier, parse_env, sandbox_kind, size, write_file
from .packages import installed, with_packages
from .pump import Pump
from .stdin import decode, read_text
from .terminal import note, say, say_json

if TYPE_CHECKING:
    from sandbox import Display, Execution, Policy, Receipt, Session

__all__ = ["Ended", "Job", "conduct", "execute", "policy_of", "print_execution", "read_program", "with_limits"]

_ENDINGS = {"image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpg", "text/html": "html"}

_LIMITS = (
    click.option(
        "--folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=".",
        help="The folder the program works on, as a copy-on-write view (default: the current one).",
    ),
    click.option("--apply/--no-apply", default=None, help="Write the program's changes to the folder, or do not ask."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option("--wall", type=float, metavar="S", help="Seconds on the clock (30)."),
    click.option("--cpu", type=float, metavar="S", help="CPU seconds of one process (60)."),
    click.option("--memory", type=size, metavar="SIZE", help="Memory of all processes together (2G)."),
    click.option("--processes", type=int, metavar="N", help="Processes and threads at once (64)."),
    click.option("--output", type=size, metavar="SIZE", help="Bytes on stdout and stderr (1M)."),
    click.option("--disk", type=size, metavar="SIZE", help="Bytes written to the view of the folder (512M)."),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="Set a variable inside; nothing is inherited."),
    click.option(
        "--read-only",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
        help="A further folder the program may read, at its own path.",
    ),
    click.option("--allow-host", multiple=True, metavar="HOST[:PORT]", help="Let programs reach this host (port 443)."),
    with_packages,
    sandbox_kind,
    min_tier,
    click.option("--figures", type=click.Path(file_okay=False, path_type=Path), help="Folder to save figures in."),
)


def with_limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a program that is run: its folder, its limits and permissions, what becomes of its effects."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


@click.command("exec")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@with_limits
@click.pass_obj
def execute(door: Door, file: Path, folder: Path, apply: bool | None, as_json: bool, **options: Any) -> int:
    """Run the Python program FILE (`-`: from stdin) in the jail.

    It sees the folder, cannot reach the rest of the machine or the network (but for --allow-host), and changes nothing
    until you accept it.

    \b
      sandsmith exec report.py --memory 512M --wall 10
      echo 'sum(range(10))' | sandsmith exec -
    """
    policy = policy_of(options)
    code = read_program(file, policy.source_bytes)
    job = Job(lambda session: session.execute(code), _view(folder), (), policy, options["kind"])
    ended = conduct(door, job, apply=apply, as_json=as_json, figures=options["figures"])
    return ended.code if ended.interrupted else OK if ended.ok else FAILED


@dataclass(frozen=True, slots=True)
class Job:
    """A program that is to be run, and where. `problem` says what is wrong after it ran to its end, if anything."""

    execute: Callable[[Session], Execution]
    folder: Path | None
    inputs: tuple[Path, ...]
    policy: Policy
    kind: str | None
    problem: Callable[[Session, Execution], str] = lambda session, execution: ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    ok: bool
    code: int
    """Its own exit code, 1 for a failure without one; 128 and the signal that interrupted it."""
    interrupted: bool = False


def conduct(door: Door, job: Job, *, apply: bool | None, as_json: bool, figures: Path | None) -> Ended:
    """Run a program, show what it printed and did, and settle its effects."""
    from agent.events import plain
    from sandbox import open_session

    from .effects import Settlement, settle

    with open_session(job.kind, workspace=job.folder, inputs=job.inputs, policy=job.policy) as session:
        _warn(session.receipt)
        pump = Pump(lambda: (job.execute(session),), session.cancel)
        execution = next(iter(list(pump)), None)
        if execution is None:
            return _abandon(door, pump)
        _save_figures(execution.displays, figures)
        if not as_json:
            print_execution(execution)
        changes = session.changes()
        problem = job.problem(session, execution) if execution.ok else ""
        if problem:
            note(f"sandsmith: {problem}")
        ok = execution.ok and not problem
        applied = settle(changes, Settlement(ok=ok, apply=apply, ask=not as_json, quiet=as_json))
        if as_json:
            say_json({**execution.to_json(), "changes": plain(changes), "applied": applied})
    if pump.signal:
        return Ended(ok, pump.exit_code, interrupted=True)
    return Ended(ok, OK if ok else execution.exit_code or FAILED)


def _warn(receipt: Receipt) -> None:
    from .lines import weak_wall

    if warning := weak_wall(receipt):
        note(f"sandsmith: {warning}")


def policy_of(options: dict[str, Any]) -> Policy:
    """The limits and permissions that the options ask for."""
    from agent.settings import load_settings
    from sandbox import Policy

    names = {
        "wall": "wall_seconds",
        "cpu": "cpu_seconds",
        "memory": "memory_bytes",
        "processes": "processes",
        "output": "output_bytes",
        "disk": "disk_bytes",
    }
    limits: dict[str, Any] = {
        names[name]: value for name, value in options.items() if name in names and value is not None
    }
    return Policy(
        **limits,
        minimum_tier=options["min_tier"] or load_settings().minimum_tier,
        env=parse_env(options["env"]),
        read_only=options["read_only"],
        allow_hosts=options["allow_host"],
        packages=installed(options["packages"]),
    )


def _view(folder: Path) -> Path | None:
    """What the program sees; nothing for a home directory and what lies above it, as in a run."""
    from agent.task import Task
    from agent.view import make_view

    view = make_view(Task("", folder.resolve()))
    if view.note:
        note(view.note)
    return view.folder


def read_program(file: Path, largest: int) -> str:
    """The program's text. Raises `ConfigError` when it is missing, too large or not text."""
    from agent.errors import ConfigError

    if str(file) == "-":
        return read_text(largest, "the program")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > largest:
        raise ConfigError(f"{file} is larger than {largest} bytes")
    return decode(data, str(file))


def _abandon(door: Door, pump: Pump[Execution]) -> Ended:
    door.abandoned = pump.abandoned
    note("sandsmith: error: interrupted")
    return Ended(False, pump.exit_code, interrupted=True)


def print_execution(execution: Execution) -> None:
    """What a Python prompt would show: output, the last value, the traceback."""
    from .lines import network_hint, problem_line, requests_line

    say(execution.stdout)
    say(execution.value or "")
    if execution.stderr:
        note(execution.stderr)
    if execution.error:
        note(execution.error.traceback or f"{execution.error.type}: {execution.error.message}")
    if not execution.ok and execution.status != "error":
        note(f"sandsmith: {problem_line(execution)}")
    for text in filter(None, (requests_line(execution), network_hint(execution))):
        note(text)
    if execution.truncated:
        note("sandsmith: the output was cut")
    for text in execution.notes:
        note(f"sandsmith: {text}")


def _save_figures(figures: Sequence[Display], folder: Path | None) -> None:
    """Figures as files `figure-1.png`, ...; without a folder they are only announced."""
    if folder is None:
        if figures:
            note(f"{len(figures)} figures were drawn; --figures DIR saves them")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, figure in enumerate(figures, 1):
        path = folder / f"figure-{number}.{_ENDINGS.get(figure.mime, 'bin')}"
        write_file(path, figure.data)
        note(f"saved {path}")
