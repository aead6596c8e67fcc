"""The two streams of the door: data on stdout, everything else on stderr, nothing hostile on either."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

__all__ = ["ask", "clean", "is_interactive", "is_live", "note", "say", "say_json", "use_utf8"]


def use_utf8() -> None:
    """Write UTF-8 whatever the locale says; what UTF-8 cannot hold (lone surrogates) is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def clean(text: str) -> str:
    """`text`, whole, without what a terminal would act upon."""
    from sandbox import text as untrusted

    return untrusted.clean(text, sys.maxsize)


def is_live() -> bool:
    """Whether progress goes to a terminal that can redraw lines."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def is_interactive() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]


def say(text: str) -> None:
    """Data: `text` without control characters, on stdout, with one newline at its end."""
    if text:
        _write(sys.stdout, clean(text).rstrip("\n") + "\n")


def say_json(value: Any) -> None:
    """Data: one JSON object on stdout, in which control characters stand as escapes."""
    from sandbox.text import json_text

    _write(sys.stdout, json_text(value, indent=2) + "\n")


def note(text: str) -> None:
    """A line for the reader on stderr, without control characters."""
    _write(sys.stderr, clean(text).rstrip("\n") + "\n")


def ask(question: str, choices: str) -> str:
    """The first letter of the answer, asked until it is one of `choices`; the end of input means the first choice."""
    while True:
        sys.stderr.write(clean(question) + " ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return choices[0]
        letter = line.strip().lower()[:1]
        if letter and letter in choices:
            return letter


def _write(stream: TextIO, text: str) -> None:
    """Write and flush. A reader who went away (`| head`) ends the output, not the run."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
