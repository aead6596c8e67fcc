"""The command `sandsmith` and its subcommands. Only click is imported here; a command imports what it needs."""

from __future__ import annotations

import click

from ..repl.command import repl
from .bench import bench
from .execute import execute
from .history import apply, replay, runs, show
from .host import doctor, model
from .image import image
from .packages import packages
from .script import save, script
from .solve import run

__all__ = ["app"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sandsmith", prog_name="sandsmith")
def app() -> None:
    """One sentence in, a checked Python program out: written by a code model, run behind a wall, repaired
    until it holds. Your folder changes only when you accept it.

    \b
      sandsmith run "Which region sold most?" sales.csv
      sandsmith repl reports/
      sandsmith exec script.py
      sandsmith doctor
    """


for command in (run, repl, execute, apply, runs, show, replay, save, script, doctor, model, packages, image, bench):
    app.add_command(command)
