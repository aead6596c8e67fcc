"""`--with`, and `sandsmith packages`: what programs may import in the place of this environment's packages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .door import OK, UNAVAILABLE
from .terminal import clean, is_live, note, say, say_json

if TYPE_CHECKING:
    from sandbox import PackageSet
    from sandbox.packages import OnStep

__all__ = ["installed", "packages", "steps", "with_packages"]

with_packages = click.option(
    "--with",
    "packages",
    multiple=True,
    metavar="NAME,...",
    help="Packages to import, in place of this environment's: installed once, as wheels ('numpy>=2,pandas').",
)


def installed(wanted: Iterable[str], *, quiet: bool = False) -> Path | None:
    """The folder of the set that the values of `--with` name, installed where it is missing; None without any."""
    from sandbox.packages import split

    names = [name for text in wanted for name in split(text)]
    return _install(names, quiet=quiet).path if names else None


@click.group()
def packages() -> None:
    """Package sets: what programs may import with --with, installed once and pinned by hash.

    \b
      sandsmith packages add pandas matplotlib
      sandsmith packages list
    """


@packages.command()
@click.argument("requirements", nargs=-1, required=True, metavar="NAME...")
def add(requirements: tuple[str, ...]) -> int:
    """Install one set of packages, each NAME as pip reads it (wheels only); print its folder.

    \b
      sandsmith packages add pandas 'matplotlib>=3.9'
    """
    say(str(_install(requirements).path))
    return OK


@packages.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, with versions and hashes.")
def list_them(as_json: bool) -> int:
    """List the sets.

    \b
      sandsmith packages list
    """
    rows = [_row(path) for path in _paths(())]
    if as_json:
        say_json({"sets": rows})
    elif rows:
        say("\n".join(_line(row) for row in rows))
    else:
        note("there are no package sets yet: `sandsmith packages add NAME`")
    return OK


@packages.command()
@click.argument("sets", nargs=-1, metavar="[SET]...")
def verify(sets: tuple[str, ...]) -> int:
    """Compare every byte of each SET (all when none is named) with what was installed.

    The exit code is 0 when all are whole, 3 when one is damaged.

    \b
      sandsmith packages verify
    """
    from sandbox.packages import load_set

    damage = {path.name: _fault(lambda path=path: load_set(path).verify()) for path in _paths(sets)}
    for name, fault in damage.items():
        say(f"{name}  {fault or 'ok'}")
    return UNAVAILABLE if any(damage.values()) else OK


@packages.command()
@click.argument("sets", nargs=-1, required=True, metavar="SET...")
def remove(sets: tuple[str, ...]) -> int:
    """Remove each SET, named by its id, the beginning of it, or what it was made of.

    \b
      sandsmith packages remove pandas,matplotlib
    """
    from sandbox.packages import delete_set

    for path in _paths(sets):
        delete_set(path)
        note(f"removed {path}")
    return OK


def _install(requirements: Iterable[str], *, quiet: bool = False) -> PackageSet:
    from agent.packages import install_packages

    with steps("packages", quiet=quiet) as on_step:
        return install_packages(requirements, on_step=on_step)


@contextmanager
def steps(title: str, *, quiet: bool = False) -> Generator[OnStep]:
    """A spinner that says what is being done; lines where stderr is no terminal."""
    if quiet:
        yield lambda what: None
    elif not is_live():
        yield note
    else:
        from .display import console

        with console().status(title) as status:
            yield lambda what: status.update(clean(what)[:200])


def _paths(sets: tuple[str, ...]) -> list[Path]:
    """The folders of the sets named, of all when none is."""
    from agent.packages import packages_folder
    from sandbox.packages import find_set, list_sets

    folder = packages_folder()
    return list(dict.fromkeys(find_set(folder, ref) for ref in sets)) if sets else list_sets(folder)


def _row(path: Path) -> dict[str, Any]:
    from sandbox.packages import load_set

    row: dict[str, Any] = {"name": path.name, "path": str(path)}
    problem = _fault(lambda: row.update(load_set(path).to_json()))
    return {**row, "problem": problem or None}


def _line(row: dict[str, Any]) -> str:
    if row["problem"]:
        return f"{row['name']}  {row['problem']}"
    wheels = " ".join(f"{p['name']}=={p['version']}" for p in row["packages"])
    return f"{row['name']}  {row['size'] / 1e6:>6.0f} MB  {','.join(row['requirements'])}  ({wheels})"


def _fault(call: Callable[[], None]) -> str:
    """What is wrong, if anything, said in a line."""
    from agent.errors import Fault

    try:
        call()
    except Fault as fault:
        return str(fault)
    return ""
