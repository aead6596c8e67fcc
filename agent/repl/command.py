"""The command `sandsmith repl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cli.door import FAILED, OK, Door
from ..cli.options import min_tier, sandbox_kind, second_models, size
from ..cli.packages import installed, with_packages
from ..cli.terminal import is_interactive, is_live, note

if TYPE_CHECKING:
    from agent.agent import Agent
    from agent.conversation import Conversation, Home
    from sandbox import Policy

    from .loop import Repl
    from .prompt import Reader

__all__ = ["repl"]

_CPU_SECONDS = 7 * 24 * 3600.0
"""One process serves the whole session, so each step is bounded by the clock instead."""
_KEPT = ("model", "planner_model", "escalate_model", "wall", "memory", "allow_host", "packages", "kind", "min_tier")
"""Options that a resumed session has again, unless it is given others."""


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--resume", is_flag=False, flag_value="last", metavar="[ID]", help="Go on with an earlier session (last)."
)
@click.option("--model", help="As for `sandsmith run`.")
@second_models
@click.option("--drafts", type=click.IntRange(1), help="Programs to draw for a task at most (6).")
@click.option("--repairs", type=click.IntRange(0), help="Repairs of a task at most (2).")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Seconds for one task (240).")
@click.option("--wall", type=click.FloatRange(0, min_open=True), metavar="S", help="Seconds for one step (30).")
@click.option("--memory", type=size, metavar="SIZE", help="Memory of the session (2G).")
@click.option("--allow-host", multiple=True, metavar="HOST[:PORT]", help="Let programs reach this host (port 443).")
@click.option("-v", "--verbose", is_flag=True, help="Show prompts and replies.")
@with_packages
@sandbox_kind
@min_tier
@click.pass_obj
def repl(door: Door, folder: Path | None, resume: str | None, **options: Any) -> int:
    """A live session over FOLDER (default: the current one) for you and the model by turns.

    What parses as Python is run as Python, a sentence is a task for the model; the prompt shows which. Every step can
    be undone, names and files together, and a step that fails, is stopped or runs out of time or memory leaves
    everything as it was. Your folder changes only with `:apply`. `:help` lists the commands. Without a terminal the
    inputs are read from stdin; the exit code is 1 when one of them failed.

    \b
      sandsmith repl reports/
      sandsmith repl --resume
      printf 'x = 6\\nx * 7\\n:undo\\n:vars\\n' | sandsmith repl
    """
    from agent.conversation import Conversation, create_home, load_home

    if resume is not None and folder is not None:
        raise click.UsageError("--resume goes on in the session's own folder", click.get_current_context())
    door.verbose = options["verbose"]
    if resume is not None:
        home = load_home(resume)
        options |= _restored(home, options)
    else:
        home = create_home(folder or Path(), **{name: options[name] for name in _KEPT})
    policy = _policy(options)
    with _agent(options, policy) as agent:
        talk = Conversation(home, agent, policy, options["kind"])
        try:
            return _talk(talk, resumed=resume is not None, verbose=door.verbose)
        finally:
            talk.close()


def _restored(home: Home, options: dict[str, Any]) -> dict[str, Any]:
    """What the session was opened with, where nothing else is said now."""
    before: dict[str, Any] = home.about().get("options") or {}
    return {name: before[name] for name in _KEPT if name in before and not options[name]}


def _policy(options: dict[str, Any]) -> Policy:
    from agent.settings import load_settings
    from sandbox import Policy

    limits = {"memory_bytes": options["memory"], "wall_seconds": options["wall"]}
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    return Policy(
        **given,
        cpu_seconds=_CPU_SECONDS,
        minimum_tier=options["min_tier"] or load_settings().minimum_tier,
        allow_hosts=tuple(options["allow_host"]),
        packages=installed(tuple(options["packages"])),
    )


def _agent(options: dict[str, Any], policy: Policy) -> Agent:
    from agent.agent import Agent
    from agent.task import Budget

    budget = {name: options[name] for name in ("drafts", "repairs", "seconds") if options[name] is not None}
    second = {name: options[name] for name in ("planner_model", "escalate_model")}
    return Agent(options["model"], sandbox=options["kind"], policy=policy, budget=Budget(**budget), **second)


def _talk(talk: Conversation, *, resumed: bool, verbose: bool) -> int:
    from ..cli.lines import weak_wall
    from .loop import Repl

    live = is_interactive() and is_live()
    for text in filter(None, (weak_wall(talk.session.receipt), talk.note)):
        note(f"sandsmith: {text}")
    if live:
        note(f"session {talk.home.id} over {talk.folder or 'an empty folder'}, which changes only with `:apply`")
        note("Python runs, sentences are tasks; `:help` tells more")
    repl = Repl(talk, verbose=verbose)
    if resumed:
        repl.rebuild()
    repl.run(_reader(repl, live))
    return FAILED if repl.failed and not live else OK


def _reader(repl: Repl, live: bool) -> Reader:
    from agent.settings import load_settings

    from .commands import COMMANDS
    from .prompt import Pipe, Terminal

    return Terminal(repl, COMMANDS, load_settings().data_dir / "repl-history") if live else Pipe(repl)
