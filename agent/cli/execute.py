"""`sandsmith exec`: a program in the jail, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .boundary import FAILED, OK, Door
from .options import parse_env, size, write_file
from .pump import Pump
from .stdin import decode, read_text
from .terminal import note, say, say_json

if TYPE_CHECKING:
    from sandbox import Display, Execution, Policy

__all__ = ["execute"]

_ENDINGS = {"image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpg", "text/html": "html"}


@click.command("exec")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The folder the program works on, as a copy-on-write view (default: the current one).",
)
@click.option("--apply/--no-apply", default=None, help="Write the program's changes to the folder, or do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--wall", type=float, metavar="S", help="Seconds on the clock (30).")
@click.option("--cpu", type=float, metavar="S", help="CPU seconds of one process (60).")
@click.option("--memory", type=size, metavar="SIZE", help="Memory of all processes together (2G).")
@click.option("--processes", type=int, metavar="N", help="Processes and threads at once (64).")
@click.option("--output", type=size, metavar="SIZE", help="Bytes on stdout and stderr (1M).")
@click.option("--disk", type=size, metavar="SIZE", help="Bytes written to the view of the folder (512M).")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Set a variable inside; nothing is inherited.")
@click.option(
    "--read-only",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A further folder the program may read, at its own path.",
)
@click.option("--figures", type=click.Path(file_okay=False, path_type=Path), help="Folder to save figures in.")
@click.pass_obj
def execute(door: Door, file: Path, folder: Path, apply: bool | None, as_json: bool, **options: Any) -> int:
    """Run the Python program FILE (`-`: from stdin) in the jail.

    It sees the folder, cannot reach the network or the rest of the machine, and changes nothing until you accept it.

    \b
      sandsmith exec report.py --memory 512M --wall 10
      echo 'sum(range(10))' | sandsmith exec -
    """
    from agent.events import plain
    from sandbox import open_session

    from .effects import Settlement, settle

    policy = _policy(options)
    code = _read(file, policy.source_bytes)
    with open_session("jail", workspace=_view(folder), policy=policy) as session:
        pump = Pump(lambda: (session.execute(code),), session.cancel)
        execution = next(iter(list(pump)), None)
        if execution is None:
            return _abandon(door, pump)
        _save_figures(execution.displays, options["figures"])
        if not as_json:
            _print(execution)
        changes = session.changes()
        applied = settle(changes, Settlement(ok=execution.ok, apply=apply, ask=not as_json, quiet=as_json))
        if as_json:
            say_json({**execution.to_json(), "changes": plain(changes), "applied": applied})
    return pump.exit_code if pump.signal else OK if execution.ok else FAILED


def _policy(options: dict[str, Any]) -> Policy:
    from sandbox import Policy

    names = {
        "wall": "wall_seconds",
        "cpu": "cpu_seconds",
        "memory": "memory_bytes",
        "processes": "processes",
        "output": "output_bytes",
        "disk": "disk_bytes",
    }
    limits = {names[name]: value for name, value in options.items() if name in names and value is not None}
    return Policy(**limits, env=parse_env(options["env"]), read_only=options["read_only"])


def _view(folder: Path) -> Path | None:
    """What the program sees; nothing for a home directory and what lies above it, as in a run."""
    from agent.task import Task
    from agent.view import make_view

    view = make_view(Task("", folder.resolve()))
    if view.note:
        note(view.note)
    return view.folder


def _read(file: Path, largest: int) -> str:
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


def _abandon(door: Door, pump: Pump[Execution]) -> int:
    door.abandoned = pump.abandoned
    note("sandsmith: error: interrupted")
    return pump.exit_code


def _print(execution: Execution) -> None:
    """What a Python prompt would show: output, the last value, the traceback."""
    from .lines import problem_line

    say(execution.stdout)
    say(execution.value or "")
    if execution.stderr:
        note(execution.stderr)
    if execution.error:
        note(execution.error.traceback or f"{execution.error.type}: {execution.error.message}")
    if not execution.ok and execution.status != "error":
        note(f"sandsmith: {problem_line(execution)}")
    if execution.truncated:
        note("sandsmith: the output was cut")


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
