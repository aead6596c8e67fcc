"""Progress on stderr: live on a terminal, plain lines elsewhere, nothing with `--quiet`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from agent.events import (
    Drafted,
    Escalated,
    Event,
    Executed,
    Finished,
    Judged,
    ModelLoaded,
    Planned,
    Progressed,
    Prompted,
    Tokens,
)

from .lines import Line, describe
from .terminal import clean, is_live, note

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["STYLES", "Display", "console", "doing", "open_display"]

_CODE_LINES = 8
"""Lines of the program being written that are shown at once."""
_KEEP = 4000
"""Characters of the reply that the panel looks at."""
STYLES = {"plain": "", "dim": "dim", "good": "green", "bad": "red", "warn": "yellow"}


class Display(AbstractContextManager["Display"], Protocol):
    """Shows events as they happen. `pause` clears the live part, so that something else can use the terminal."""

    def show(self, event: Event) -> None: ...

    def line(self, line: Line) -> None: ...

    def pause(self) -> None: ...


def open_display(*, quiet: bool = False, verbose: bool = False) -> Display:
    """The display that fits stderr."""
    if quiet:
        return _Quiet()
    return _Live(verbose) if is_live() else _Plain(verbose)


def console() -> Console:
    """A rich console on stderr that neither guesses nor interprets what is in a text."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=False)


class _Quiet:
    def show(self, event: Event) -> None: ...

    def line(self, line: Line) -> None: ...

    def pause(self) -> None: ...

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exc: object) -> None: ...


class _Plain(_Quiet):
    """One line after the other, without an escape code."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._doing = ""

    def show(self, event: Event) -> None:
        if isinstance(event, Progressed) and event.what != self._doing:
            self._doing = event.what
            note(f"{event.what} ...")
        for line in describe(event, verbose=self._verbose):
            self.line(line)

    def line(self, line: Line) -> None:
        note(line.text)


class _Live(_Quiet):
    """Lines that stay, and under them what goes on now: a spinner, the clock, the last lines of the program."""

    def __init__(self, verbose: bool) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._verbose = verbose
        self._console = console()
        self._began = time.monotonic()
        self._doing = "starting"
        self._reply = ""
        self._spinner = Spinner("dots")
        # Six frames a second: the model needs the processor more than the spinner does.
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=6,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, event: Event) -> None:
        self._doing = doing(event) or self._doing
        if isinstance(event, Tokens):
            self._reply = (self._reply + event.text)[-_KEEP:]
        elif not isinstance(event, Progressed):
            self._reply = ""
        for line in describe(event, verbose=self._verbose):
            self.line(line)

    def line(self, line: Line) -> None:
        from rich.text import Text

        self._console.print(Text(clean(line.text), style=STYLES[line.style]))

    def pause(self) -> None:
        self._live.stop()

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        seconds = time.monotonic() - self._began
        self._spinner.update(text=Text.assemble(clean(self._doing), (f"  {seconds:.0f} s", "dim")))
        tail = [line for line in clean(self._reply).splitlines() if not line.startswith("```")][-_CODE_LINES:]
        return Group(self._panel(tail), self._spinner) if tail else self._spinner

    def _panel(self, tail: list[str]) -> RenderableType:
        from rich.panel import Panel
        from rich.syntax import Syntax

        code = Syntax("\n".join(tail), "python", theme="ansi_dark", background_color="default")
        return Panel(code, border_style="dim", expand=True)


def doing(event: Event) -> str:
    """What goes on after `event`."""
    match event:
        case Progressed():
            return f"{event.what} {event.share:.0%}"
        case ModelLoaded():
            return "planning"
        case Planned():
            return "asking the model"
        case Prompted(kind="calls"):
            return "choosing calls to compare programs by"
        case Prompted(kind="plan"):
            return "planning the steps"
        case Escalated():
            return f"asking {event.model}"
        case Prompted():
            return f"{event.attempt}: reading the prompt" if event.kind == "draft" else f"{event.attempt}: {event.kind}"
        case Tokens(attempt=0):
            return ""
        case Tokens():
            return f"{event.attempt}: writing"
        case Drafted():
            return f"{event.attempt}: running"
        case Executed():
            return f"{event.attempt}: checking"
        case Judged() | Finished():
            return "deciding"
        case _:
            return ""
