"""`sandsmith doctor` and `sandsmith model`: what this machine has."""

from __future__ import annotations

import platform
import sys
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .door import OK, UNAVAILABLE
from .terminal import is_live, note, say, say_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from agent.models.base import OnProgress
    from agent.models.weights import Available
    from sandbox.jail import Probe

__all__ = ["doctor", "model"]

_PACKAGES = ("xllamacpp", "langchain", "transformers", "torch", "numpy", "pandas", "matplotlib", "openpyxl", "scipy")
_WHERE = {
    "cached": "ready",
    "pieces": "installed (joined at the first use)",
    "hub": "can be downloaded",
    "missing": "not here",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(as_json: bool) -> int:
    """Say what the jail is made of here, and which containers, models and packages there are.

    The exit code is 0 when programs can be run, 3 when the jail cannot be built.

    \b
      sandsmith doctor
      sandsmith doctor --json | jq .jail
    """
    probes, containers = _probes(), _containers()
    usable = all(p.ok for p in probes if p.needed)
    rows = _available()
    if as_json:
        say_json(_report(probes, containers, usable, rows))
    else:
        lines = [*_jail_lines(probes, usable), "", *_docker_lines(containers), "", *_model_lines(rows)]
        say("\n".join([*lines, "", *_package_lines()]))
    return OK if usable else UNAVAILABLE


def _probes() -> list[Probe]:
    if sys.platform != "linux":
        from sandbox.errors import SandboxUnavailable

        raise SandboxUnavailable(
            f"the jail needs Linux, and this is {platform.system()}",
            hint="use a Linux machine, a virtual machine, WSL 2 or a container; `--sandbox restricted` runs small "
            "programs here, with no wall: only its language policy and the limits of a process hold",
        )
    from sandbox.jail import doctor as probe

    return list(probe())


def _containers() -> list[Probe]:
    from sandbox.docker import doctor as probe

    return probe()


def _available() -> list[Available]:
    from agent.models.weights import available

    return list(available())


def _report(probes: list[Probe], containers: list[Probe], usable: bool, rows: list[Available]) -> dict[str, Any]:
    return {
        "ok": usable,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "jail": [asdict(p) for p in probes],
        "docker": [asdict(p) for p in containers],
        "models": _model_data(rows),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _jail_lines(probes: list[Probe], usable: bool) -> Iterator[str]:
    yield f"{platform.platform()}, Python {platform.python_version()}"
    yield ""
    yield "the jail can be built here" if usable else "the jail CANNOT be built here"
    yield from map(_probe_line, probes)


def _docker_lines(containers: list[Probe]) -> Iterator[str]:
    usable = all(p.ok for p in containers if p.name == "container")
    yield "containers can be used here (--sandbox docker)" if usable else "containers cannot be used here"
    yield from map(_probe_line, containers)


def _probe_line(probe: Probe) -> str:
    mark = "ok  " if probe.ok else "FAIL" if probe.needed else "no  "
    return f"  {mark} {probe.name}: {probe.detail}"


def _model_lines(rows: list[Available]) -> Iterator[str]:
    yield "models"
    for row in rows:
        yield f"  {row.name:<22} {row.parameters:>5.2f}B {row.size / 1e6:>6.0f} MB  {_WHERE[row.where]}"


def _model_data(rows: list[Available]) -> list[dict[str, Any]]:
    return [{**asdict(row), "path": str(row.path) if row.path else None} for row in rows]


def _package_lines() -> Iterator[str]:
    yield "packages"
    for name in _PACKAGES:
        yield f"  {name:<22} {_version(name) or 'not installed'}"


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@click.group()
def model() -> None:
    """The embedded models: which there are, and fetching one.

    \b
      sandsmith model list
      sandsmith model pull qwen2.5-coder-1.5b
    """


@model.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def list_models(as_json: bool) -> int:
    """List the embedded models and where each one is.

    \b
      sandsmith model list
    """
    rows = _available()
    if as_json:
        say_json({"models": _model_data(rows)})
    else:
        say("\n".join(_model_lines(rows)))
        note("any LangChain chat model works as well: --model provider:name, with its package installed")
    return OK


@model.command()
@click.argument("name")
def pull(name: str) -> int:
    """Fetch the weights of the model NAME, verified against their pinned sum; print where they are.

    \b
      sandsmith model pull qwen2.5-coder-1.5b
    """
    from agent.models.weights import pull as fetch

    with _progress() as on_progress:
        path = fetch(name, on_progress)
    say(str(path))
    return OK


def _progress() -> AbstractContextManager[OnProgress]:
    return _bar() if is_live() else _every_quarter()


@contextmanager
def _bar() -> Generator[OnProgress, None, None]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from .display import console

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda what, share: progress.update(task, description=what, completed=share)


@contextmanager
def _every_quarter() -> Generator[OnProgress, None, None]:
    seen: set[tuple[str, int]] = set()

    def on_progress(what: str, share: float) -> None:
        step = (what, int(share * 4))
        if step not in seen:
            seen.add(step)
            note(f"{what}: {share:.0%}")

    yield on_progress
