"""The commands of a session: `:undo`, `:vars` and the like."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigError

from ..cli.effects import diff_lines, print_lines
from ..cli.lines import describe
from ..cli.terminal import is_live, note, say
from .show import step_lines, variable_lines

if TYPE_CHECKING:
    from .loop import Repl

__all__ = ["COMMANDS", "run"]

_RULE = """\
What parses as Python is Python; anything else is a task for the model, and so are words alone
that are no names here. The prompt shows which, while you type.
  > CODE          Python in any case
  ? SENTENCE      a task in any case
Enter runs what is whole (a block after an empty line), Alt-Enter runs in any case, Ctrl-O makes
a new line, Tab completes, Ctrl-C stops what runs, Ctrl-D leaves."""


def run(repl: Repl, text: str) -> bool:
    """Do the command `text`, given without its colon. Raises `ConfigError` for one that there is not."""
    name, _, rest = text.partition(" ")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean `:{close[0]}`?" if close else "`:help` lists the commands"
        raise ConfigError(f"there is no command :{name}", hint=hint)
    COMMANDS[name][0](repl, rest.strip())
    return True


def _undo(repl: Repl, argument: str) -> None:
    repl.talk.undo(_number(argument))
    note(f"undone; {_where(repl)}")


def _redo(repl: Repl, argument: str) -> None:
    repl.talk.redo(_number(argument))
    note(f"done again; {_where(repl)}")


def _branch(repl: Repl, argument: str) -> None:
    repl.talk.branch()
    note("a branch: `:adopt` keeps what you do from here on, `:drop` makes it undone")


def _adopt(repl: Repl, argument: str) -> None:
    repl.talk.adopt()
    note(f"adopted; {_where(repl)}")


def _drop(repl: Repl, argument: str) -> None:
    dropped = repl.talk.drop()
    note(f"dropped {_count(dropped, 'step')}; {_where(repl)}")


def _vars(repl: Repl, argument: str) -> None:
    names = repl.talk.names()
    say("\n".join(variable_lines(names)))
    if not names:
        note("there are no names yet")


def _files(repl: Repl, argument: str) -> None:
    files = [f"{mark} {path}" for mark, path in repl.talk.files() if argument in path]
    say("\n".join(files))
    if not files:
        note("there are no files")


def _diff(repl: Repl, argument: str) -> None:
    changes = repl.talk.changes()
    if not changes:
        note("no file is changed")
    elif is_live():
        print_lines(diff_lines(changes))
    else:
        say("\n".join(line.text for line in diff_lines(changes)))


def _apply(repl: Repl, argument: str) -> None:
    changes = repl.talk.apply()
    note("\n".join(changes.summary()) or "no file is changed")
    if changes:
        note(f"applied to {changes.folder}")


def _save(repl: Repl, argument: str) -> None:
    name = argument.removesuffix(" --force").strip()
    if not name:
        raise ConfigError("there is no name to save as", hint="`:save FILE.py`")
    saved = repl.talk.save(Path(name).expanduser(), force=argument.endswith(" --force"))
    note(f"saved {saved.path}: run again, it did the same")
    if saved.arguments:
        note("its arguments: " + ", ".join(f"{option} ({file})" for option, file in saved.arguments.items()))


def _trace(repl: Repl, argument: str) -> None:
    for line in step_lines(repl.talk.steps, repl.talk.branch_start):
        say(line.text)
    if repl.events:
        note("the last task:")
    for event in repl.events:
        print_lines(describe(event, verbose=True))


def _help(repl: Repl, argument: str) -> None:
    width = max(len(usage) for _, usage, _ in COMMANDS.values())
    lines = [f"  :{usage:<{width}}  {about}" for _, usage, about in COMMANDS.values()]
    say("\n".join([_RULE, *lines]))


def _quit(repl: Repl, argument: str) -> None:
    repl.over = True


def _number(argument: str) -> int:
    if argument and not argument.isdecimal():
        raise ConfigError(f"{argument!r} is no number of steps")
    return int(argument or 1)


def _where(repl: Repl) -> str:
    undone = f", {repl.talk.undone} undone" if repl.talk.undone else ""
    return f"{_count(len(repl.talk.steps), 'step')}{undone}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_Command = Callable[["Repl", str], None]
COMMANDS: dict[str, tuple[_Command, str, str]] = {
    "undo": (_undo, "undo [N]", "go back N steps: names and files"),
    "redo": (_redo, "redo [N]", "go forth again"),
    "branch": (_branch, "branch", "try something: everything up to `:adopt` or `:drop` is one branch"),
    "adopt": (_adopt, "adopt", "keep what was done in the branch"),
    "drop": (_drop, "drop", "leave the branch as if it had never been"),
    "vars": (_vars, "vars", "the names that exist"),
    "files": (_files, "files [TEXT]", "the files as programs see them: + new, ~ changed, - gone"),
    "diff": (_diff, "diff", "what would change in your folder"),
    "apply": (_apply, "apply", "write the changes to your folder"),
    "save": (_save, "save FILE.py", "the steps as a script that was seen to do the same; --force overwrites"),
    "trace": (_trace, "trace", "the steps so far, and how the last task was solved"),
    "help": (_help, "help", "this"),
    "quit": (_quit, "quit", "leave, as Ctrl-D does"),
}
