"""What a program's process says of itself, made harmless: shapes are checked, texts are capped and cleaned."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from ..execution import Display, Problem
from ..text import clean

__all__ = ["display", "problem"]

_FIELDS = ("type", "message", "source", "traceback")


def problem(claim: Any, limit: int) -> Problem | None:
    if not isinstance(claim, dict):
        return None
    fields: dict[str, Any] = claim  # pyright: ignore[reportUnknownVariableType]
    texts = {name: clean(str(fields.get(name, "")), limit) for name in _FIELDS}
    notes = fields.get("notes")
    line = fields.get("line")
    return Problem(
        **texts,
        line=line if isinstance(line, int) and 0 < line < 1_000_000_000 else None,
        notes=tuple(clean(str(n), 1000) for n in notes[:8]) if isinstance(notes, list) else (),  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    )


def display(message: dict[str, Any], number: int) -> list[Display]:
    """The figure in a frame, if it is one."""
    try:
        data = b64decode(str(message.get("data", "")), validate=True)
    except ValueError:
        return []
    if message.get("mime") != "image/png" or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return []
    return [Display("image/png", data, f"figure-{number}.png")]
