"""Where errors become a line, a hint and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from .door import FAILED, INTERNAL, UNAVAILABLE, USAGE, Door
from .terminal import note, use_utf8

__all__ = ["main"]

_INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line with `args` (None: those of the process) and return its exit code."""
    from .app import app

    use_utf8()
    door = Door()
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app.main(args, prog_name="sandsmith", standalone_mode=False, obj=door)
    except BaseException as error:
        code = _report(error, door)
    finally:
        signal.signal(signal.SIGTERM, before)
    if door.abandoned:
        sys.stdout.flush()
        os._exit(int(code or 0))
    return int(code or 0)


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C, so that temporary files go."""
    raise SystemExit(128 + number)


def _report(error: BaseException, door: Door) -> int:
    from agent.errors import ConfigError, Fault, ModelRejected, ModelUnavailable, SandboxUnavailable

    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case click.exceptions.NoArgsIsHelpError():
            note(error.format_message())
            return USAGE
        case click.ClickException():
            return _complain(error.format_message(), _help_hint(error), USAGE)
        case KeyboardInterrupt() | click.Abort():
            return _complain("interrupted", "", _INTERRUPTED)
        case ConfigError():
            return _complain(str(error), error.hint, USAGE)
        case ModelUnavailable() | ModelRejected() | SandboxUnavailable():
            return _complain(str(error), error.hint, UNAVAILABLE)
        case Fault():
            return _complain(str(error), error.hint, FAILED)
        case _:
            return _bug(error, door)


def _help_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see `{context.command_path if context else 'sandsmith'} --help`"


def _bug(error: BaseException, door: Door) -> int:
    if door.verbose:
        import traceback

        note("".join(traceback.format_exception(error)))
    kept = f"the trace is in {door.trace}; " if door.trace and door.trace.exists() else ""
    advice = "please report it" if door.verbose else "-v (of run) shows the traceback; please report it"
    return _complain(f"a bug of sandsmith: {type(error).__name__}: {error}", kept + advice, INTERNAL)


def _complain(message: str, hint: str, code: int) -> int:
    note(f"sandsmith: error: {message}")
    if hint:
        note(f"hint: {hint}")
    return code
