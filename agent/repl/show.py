"""What a step and a session look like."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..cli.execute import print_execution
from ..cli.lines import Line
from ..cli.terminal import clean, is_live, note

if TYPE_CHECKING:
    from agent.conversation import Rebuilt
    from agent.journal import Step
    from sandbox import Execution, Name

__all__ = ["running", "show_code", "show_execution", "show_rebuilt", "step_lines", "variable_lines"]

_CODE_LINES = 30
_LONG = 1.0
"""Seconds until a step is said to run."""
_HINTS = {"wall": "`--wall S` allows more time", "memory": "`--memory SIZE` allows more"}


@contextmanager
def running() -> Generator[None]:
    """A spinner on a terminal while something takes long."""
    if not is_live():
        yield
        return
    from ..cli.display import console

    status = console().status("running; Ctrl-C stops it")
    timer = threading.Timer(_LONG, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def show_execution(execution: Execution) -> None:
    """Output and value, or why there is none."""
    print_execution(execution)
    if execution.status == "error" and execution.error is None:
        note(f"it ended its process with exit code {execution.exit_code}")
    if not execution.ok:
        hint = f"; {_HINTS[execution.limit]}" if execution.limit in _HINTS else ""
        note(f"the session goes on: names and files are as before{hint}")


def show_code(code: str) -> None:
    """A program on stderr, coloured on a terminal."""
    lines = clean(code).rstrip().splitlines()
    more = [f"# ... {len(lines) - _CODE_LINES} more lines"] if len(lines) > _CODE_LINES else []
    text = "\n".join([*lines[:_CODE_LINES], *more])
    if not is_live():
        note(text)
        return
    from rich.syntax import Syntax

    from ..cli.display import console

    console().print(Syntax(text, "python", theme="ansi_dark", background_color="default"))


def show_rebuilt(rebuilt: Rebuilt) -> None:
    """What a fresh session holds of the old one."""
    note(f"{rebuilt.steps} step{'' if rebuilt.steps == 1 else 's'} done again in a fresh session")
    for difference in rebuilt.differences:
        note(f"  not as it was: {difference}")


def variable_lines(names: Sequence[Name]) -> Iterator[str]:
    """Names, types and previews in columns."""
    width = max((len(name.name) for name in names), default=0)
    kinds = max((len(name.type) for name in names), default=0)
    return (f"{name.name:<{width}}  {name.type:<{kinds}}  {name.preview}".rstrip() for name in names)


def step_lines(steps: Iterable[Step], branch: int | None) -> Iterator[Line]:
    """The steps that hold, and where the branch begins."""
    for number, step in enumerate(steps):
        if number == branch:
            yield Line("branch:", "warn")
        first, _, rest = step.code.partition("\n")
        what = f"task: {step.task}" if step.task else first + (" ..." if rest else "")
        yield Line(f"{step.number:>3}  {what}")
