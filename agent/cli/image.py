"""`sandsmith image`: what containers are made of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .door import OK
from .packages import steps
from .terminal import note, say, say_json

if TYPE_CHECKING:
    from sandbox.docker import Daemon, Image

__all__ = ["image"]


@click.group()
def image() -> None:
    """Images for --sandbox docker: a Python, and the packages that programs may import.

    \b
      sandsmith image build
      sandsmith image list
    """


@image.command()
@click.option(
    "--packages",
    multiple=True,
    metavar="NAME,...",
    help="What programs may import; `none` for nothing. Default: numpy, pandas and their like, as installed here.",
)
@click.option(
    "--base",
    metavar="IMAGE",
    help="What to build upon; `none` for what is on this machine, which is also the default without a registry.",
)
def build(packages: tuple[str, ...], base: str | None) -> int:
    """Make the image that containers are started from, in place of the one before.

    \b
      sandsmith image build
      sandsmith image build --packages 'numpy,pandas>=2' --base python:3.12-slim
    """
    from sandbox.docker import build_image
    from sandbox.packages import split

    names = [name for text in packages for name in split(text) if name != "none"] if packages else None
    with steps("image") as on_step:
        made = build_image(names, base=base, on_step=on_step)
    say(_line(made))
    return OK


@image.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, with the packages of each.")
def list_them(as_json: bool) -> int:
    """List the images, the one that is used first.

    \b
      sandsmith image list
    """
    from sandbox.docker import list_images

    with _daemon() as daemon:
        rows = list_images(daemon)
    if as_json:
        say_json({"images": [asdict(row) for row in rows]})
    elif rows:
        say("\n".join(map(_line, rows)))
    else:
        note("there are no images yet: `sandsmith image build`")
    return OK


@image.command()
@click.option("--all", "all_of_them", is_flag=True, help="Also the image that is used.")
def remove(all_of_them: bool) -> int:
    """Remove the images of other versions.

    \b
      sandsmith image remove
      sandsmith image remove --all
    """
    from sandbox.docker import list_images, remove_image

    with _daemon() as daemon:
        for row in list_images(daemon):
            if all_of_them or not row.current:
                remove_image(daemon, row)
                note(f"removed {_line(row)}")
    return OK


@contextmanager
def _daemon() -> Generator[Daemon]:
    from sandbox.docker import connect

    daemon = connect()
    try:
        yield daemon
    finally:
        daemon.close()


def _line(row: Image) -> str:
    name = row.tags[0] if row.tags else "untagged"
    age = "" if row.current else ", of another version"
    packages = ", ".join(row.packages) or "no packages"
    return f"{name}  {row.id[7:19]}  {row.size / 1e6:.0f} MB  from {row.base}{age}  ({packages})"
