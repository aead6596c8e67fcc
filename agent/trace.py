"""The trace of a run: its events as JSON lines, each flushed as it happens, so that a killed run keeps what it had."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

from .events import Event, Progressed, Tokens, to_json
from .secrets import find_secrets, redact_data

__all__ = ["Trace", "parse_object", "read_trace"]


class Trace:
    """Writes events to a private file. Secrets of the environment are masked; streamed tokens are left out."""

    def __init__(self, path: Path) -> None:
        self._secrets = find_secrets()
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8")

    def write(self, event: Event) -> None:
        """Append one event, unless it is only progress."""
        if isinstance(event, (Tokens, Progressed)) or self._file.closed:
            return
        data = redact_data(to_json(event), self._secrets)
        self._file.write(json.dumps(data, ensure_ascii=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_trace(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a trace as plain data. Lines that are no JSON object (a run was killed) are passed over."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield parse_object(line)
            except ValueError:
                continue


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises `ValueError` for anything else, however deep it is."""
    try:
        data = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return cast("dict[str, Any]", data)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
