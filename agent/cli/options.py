"""Values on the command line: sizes, checks, environment variables, files to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.files import write_file

__all__ = [
    "by_policy",
    "min_tier",
    "parse_env",
    "refuse_existing",
    "sandbox_kind",
    "second_models",
    "size",
    "write_file",
]

Command = TypeVar("Command", bound=Callable[..., Any])
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?\Z", re.IGNORECASE)


min_tier = click.option(
    "--min-tier",
    type=click.Choice(("landlock", "namespaces", "full")),
    help="Refuse to run behind a weaker wall than this one (see `sandsmith doctor`).",
)
sandbox_kind = click.option(
    "--sandbox",
    "kind",
    type=click.Choice(("restricted", "jail", "docker")),
    help="What programs run in: a restricted Python, the jail (default), or a jail in a container.",
)
by_policy = click.option(
    "--policy",
    "strategy",
    metavar="NAME",
    help="How to drive the model: small, large or plain (default: by its size); small-mends does without mends.",
)


def second_models(command: Command) -> Command:
    """`--planner-model` and `--escalate-model`."""
    planner = click.option(
        "--planner-model", metavar="NAME", help="A second model, which writes the steps of a plan first."
    )
    bigger = click.option(
        "--escalate-model", metavar="NAME", help="A bigger model, which goes on when the first has given up."
    )
    return planner(bigger(command))


def size(value: str) -> int:
    """Bytes, from text such as `512M` or `1.5GiB` (a click type)."""
    found = _SIZE.match(value.strip())
    if not found or not float(found[1]):
        raise click.BadParameter(f"{value!r} is not a size such as 512M or 2G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def parse_env(pairs: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` pairs as a mapping."""
    bad = next((pair for pair in pairs if "=" not in pair), None)
    if bad is not None:
        raise click.BadParameter(f"{bad!r} is not NAME=VALUE", param_hint="--env")
    return dict(pair.split("=", 1) for pair in pairs)


def refuse_existing(path: Path | None, option: str, *, force: bool) -> None:
    """Usage error, before anything runs, for a file that cannot be written or that exists."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise click.BadParameter(f"{path} cannot be written: no such folder", param_hint=option)
    if path.exists() and not force:
        raise click.BadParameter(f"{path} exists (--force overwrites it)", param_hint=option)
