"""What was piped in: the task, a program, or an input file."""

from __future__ import annotations

import csv
import json
import os
import select
import stat
import sys
from pathlib import Path

from .terminal import note

__all__ = ["read_text", "take_input"]

_PATIENCE = 2.0
"""Seconds to wait for the first byte of a pipe that nobody announced."""
_LARGEST = 256 * 1024 * 1024
_CHUNK = 1024 * 1024
_SAMPLE = 64 * 1024


def read_text(largest: int, what: str) -> str:
    """All of stdin as UTF-8 text of at most `largest` bytes. Raises `ConfigError` with `what` in its message."""
    data = sys.stdin.buffer.read(largest + 1)
    if len(data) > largest:
        raise _refused(f"{what} on stdin is larger than {largest} bytes")
    return decode(data, f"{what} on stdin")


def decode(data: bytes, what: str) -> str:
    """UTF-8 text (a byte order mark is dropped). Raises `ConfigError` for other bytes and for NUL."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(f"{what} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    if "\0" in text:
        raise _refused(f"{what} holds a NUL character", hint="is this a text file?")
    return text


def take_input(folder: Path, *, asked: bool = False) -> Path | None:
    """Copy what is piped into stdin to a file in `folder`, named by what it looks like; None when there is nothing.

    A terminal, `/dev/null` and an empty pipe hold nothing. A pipe that stays silent is given up after two seconds,
    unless the caller `asked` for it. Raises `ConfigError` when there is more than 256 MiB.
    """
    if not _is_piped() or not (asked or _has_begun()):
        return None
    raw = folder / "stdin"
    if not _copy(raw):
        return None
    return raw.rename(folder / f"stdin.{_kind(raw)}")


def _refused(message: str, hint: str = "") -> Exception:
    from agent.errors import ConfigError  # only now, because it brings the sandbox with it

    return ConfigError(message, hint=hint)


def _is_piped() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _has_begun() -> bool:
    """Whether stdin has a first byte, or its end, within the patience."""
    if sys.platform == "win32" or select.select([sys.stdin], [], [], _PATIENCE)[0]:
        return True
    note("stdin is open but silent: going on without it (name `-` as a file to wait for it)")
    return False


def _copy(target: Path) -> int:
    """Bytes copied from stdin to `target`."""
    size = 0
    with target.open("xb") as file:
        while chunk := sys.stdin.buffer.read(_CHUNK):
            size += len(chunk)
            if size > _LARGEST:
                hint = "save it in the folder and name it as FILE"
                raise _refused(f"stdin holds more than {_LARGEST // 1024**2} MiB", hint=hint)
            file.write(chunk)
    return size


def _kind(path: Path) -> str:
    """`json`, `jsonl`, `csv`, `tsv` or `txt`."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    whole = len(sample) == path.stat().st_size
    text = sample.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not whole:
        lines = lines[:-1]
    if text.lstrip()[:1] in ("{", "["):
        if len(lines) > 1 and all(_is_json(line) for line in lines[:10]):
            return "jsonl"
        if not whole or _is_json(text):
            return "json"
    return _table(lines) or "txt"


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _table(lines: list[str]) -> str:
    """`csv` or `tsv` when the first lines have the same number of cells, more than one; else nothing."""
    for delimiter, kind in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        try:
            widths = {len(row) for row in csv.reader(lines[:20], delimiter=delimiter, strict=True)}
        except csv.Error:
            continue
        if len(lines) > 1 and len(widths) == 1 and widths.pop() > 1:
            return kind
    return ""
