"""What a program's process says of itself, made harmless: shapes are checked, texts are capped and cleaned."""

from __future__ import annotations

from typing import Any, cast

from .execution import Name, Problem
from .text import clean

__all__ = ["exit_code", "names", "problem", "text"]

_NOTES, _NOTE_CHARS = 8, 1000
_NAMES, _NAME_CHARS = 500, 300
_MOST_LINES = 1_000_000_000


def problem(claim: Any, limit: int) -> Problem | None:
    """The exception in a result, its texts in `limit` characters each; None where none is claimed."""
    if not isinstance(claim, dict):
        return None
    fields = cast("dict[str, Any]", claim)
    texts = {name: text(fields.get(name), limit) or "" for name in ("type", "message", "source", "traceback")}
    line, notes = fields.get("line"), fields.get("notes")
    given = cast("list[Any]", notes)[:_NOTES] if isinstance(notes, list) else []
    return Problem(
        **texts,
        line=line if type(line) is int and 0 < line < _MOST_LINES else None,
        notes=tuple(note for one in given if (note := text(one, _NOTE_CHARS))),
    )


def names(claim: Any) -> tuple[Name, ...]:
    """The names in an answer; those that are none are left out."""
    found: list[Name] = []
    for row in cast("list[Any]", claim)[:_NAMES] if isinstance(claim, list) else []:
        texts = [text(cell, _NAME_CHARS) for cell in cast("list[Any]", row)[:3]] if isinstance(row, list) else []
        if len(texts) == 3 and None not in texts and (texts[0] or "").isidentifier():
            found.append(Name(*(one or "" for one in texts)))
    return tuple(found)


def text(claim: Any, limit: int) -> str | None:
    """A text in at most `limit` harmless characters, which an honest one has to begin with; None for what is none."""
    return clean(claim[: 2 * limit], limit) if isinstance(claim, str) else None


def exit_code(claim: Any) -> int | None:
    """The exit code in a result; None for what is none."""
    return claim if type(claim) is int and 0 <= claim <= 255 else None
