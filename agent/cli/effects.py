"""The effects of a run on the user's folder: shown, asked about, applied or kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .lines import Line, Style
from .terminal import ask, clean, is_interactive, is_live, note

if TYPE_CHECKING:
    from sandbox import Changes

__all__ = ["Settlement", "diff_lines", "print_lines", "settle", "styled"]

_DIFF_LINES = 40
"""Lines of one file's diff that are shown before the question."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a change set is to be dealt with."""

    ok: bool
    """Whether the program succeeded: the changes of any other are never applied here."""
    apply: bool | None
    """`--apply`, `--no-apply`, or neither."""
    ask: bool = True
    """Whether a question may be asked, if somebody is there."""
    quiet: bool = False
    run_id: str = ""
    """The run that keeps the changes; empty when nothing does."""

    @property
    def later(self) -> str:
        return f"`sandsmith apply {self.run_id}` writes them" if self.run_id else "--apply writes them"


def settle(changes: Changes | None, how: Settlement) -> bool:
    """Show the changes and apply them where that is wanted. Whether they were applied.

    Raises `ConfigError` when the folder changed meanwhile.
    """
    if changes is None or not (changes.items or changes.skipped):
        return False
    if not how.quiet:
        print_lines(_summary(changes))
    if not changes:
        return False
    if not how.ok:
        return _keep("the program did not succeed: its changes are kept, not applied", how)
    if changes.folder is None:
        return _keep("the program saw no folder of yours: there is nothing to write them to", how)
    wanted = how.apply
    if wanted is None and how.ask and not how.quiet and is_interactive():
        wanted = _ask(changes)
    if not wanted:
        return _keep(f"nothing was changed in {changes.folder}; {how.later}", how)
    changes.apply()
    if not how.quiet:
        note(f"applied to {changes.folder}")
    return True


def diff_lines(changes: Changes, *, most: int | None = None) -> Iterator[Line]:
    """The diffs of all changed files, each cut to `most` lines."""
    for path in dict.fromkeys(change.path for change in changes):
        lines = changes.diff(path).splitlines()
        if len(lines) == 1:  # a folder, or no text
            lines = [f"{path}: {lines[0]}"]
        yield from (Line(line, _diff_style(line)) for line in lines[:most])
        if most is not None and len(lines) > most:
            yield Line(f"... {len(lines) - most} more lines", "dim")


def styled(diff: str) -> Iterator[Line]:
    """The lines of a unified diff."""
    return (Line(line, _diff_style(line)) for line in diff.splitlines())


def print_lines(lines: Iterator[Line]) -> None:
    """Lines on stderr, coloured on a terminal."""
    if not is_live():
        for line in lines:
            note(line.text)
        return
    from rich.text import Text

    from .display import STYLES, console

    out = console()
    for line in lines:
        out.print(Text(clean(line.text), style=STYLES[line.style]), soft_wrap=True)


def _summary(changes: Changes) -> Iterator[Line]:
    yield Line(f"changes in {changes.folder}:")
    yield from (Line(f"  {line}") for line in changes.summary())
    yield from (Line(f"  not taken over: {entry.path}: {entry.reason}", "warn") for entry in changes.skipped)


def _ask(changes: Changes) -> bool:
    print_lines(diff_lines(changes, most=_DIFF_LINES))
    while True:
        match ask(f"apply these changes to {changes.folder}? [y]es, [n]o, [d]iff in full:", "nyd"):
            case "y":
                return True
            case "d":
                print_lines(diff_lines(changes))
            case _:
                return False


def _keep(why: str, how: Settlement) -> bool:
    if not how.quiet:
        note(why)
    return False


def _diff_style(line: str) -> Style:
    if line.startswith(("+++", "---")):
        return "plain"
    return "good" if line.startswith("+") else "bad" if line.startswith("-") else "dim"
