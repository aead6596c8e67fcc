"""How two contents differ, for a reader. Contents are hostile: sizes are capped, and nothing is hidden from view."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..text import escape

__all__ = ["MAX_BYTES", "human", "tally", "unified"]

MAX_BYTES = 512 * 1024
"""Larger contents are not compared line by line."""
MAX_CHARS = 100_000
"""Longest diff that is shown."""
_MAX_PAIRS = 20_000
"""Pairs of equal lines up to which difflib is fast whatever the text; its worst case is cubic."""
_Opcode: TypeAlias = tuple[str, int, int, int, int]


def human(size: int) -> str:
    """`size` bytes as `12 B`, `1.2 kB`, `34 MB`."""
    if size < 1000:
        return f"{size} B"
    power = 1 if size < 999_500 else 2 if size < 999_500_000 else 3
    value = size / 1000**power
    return f"{value:.{1 if value < 9.95 else 0}f} {'kMG'[power - 1]}B"


def unified(old: bytes | None, new: bytes | None, path: str, size: int) -> str:
    """A unified diff; None stands for no file. One line instead for what is no text, or `size` bytes long."""
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        word = "large" if size > MAX_BYTES else "binary"
        return f"{word}, {human(size)}\n"
    name = escape(path)
    head = f"--- {'/dev/null' if old is None else 'a/' + name}\n+++ {'/dev/null' if new is None else 'b/' + name}\n"
    text = "".join(_hunk(before, after, codes) for codes in _Matcher(before, after).get_grouped_opcodes())
    text = head + text if text else ""
    if len(text) > MAX_CHARS:
        text = text[:MAX_CHARS].rpartition("\n")[0] + f"\n[... {len(text) - MAX_CHARS} characters cut ...]\n"
    return text


def tally(old: bytes, new: bytes) -> tuple[int, int] | None:
    """Lines added and removed; None for what is no text."""
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        return None
    codes = [code for code in _opcodes(before, after) if code[0] != "equal"]
    return sum(c[4] - c[3] for c in codes), sum(c[2] - c[1] for c in codes)


def _lines(data: bytes | None) -> list[str] | None:
    """The lines with their ends, None for no text."""
    if data is None:
        return []
    if len(data) > MAX_BYTES or b"\0" in data:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _opcodes(old: Sequence[str], new: Sequence[str]) -> list[_Opcode]:
    """Edits from `old` to `new`, as difflib's; one replacement of the middle where the smallest would take too long."""
    start = _common(old, new, len(old), len(new))
    end = _common(old[::-1], new[::-1], len(old) - start, len(new) - start)
    middle = old[start : len(old) - end], new[start : len(new) - end]
    codes: list[_Opcode] = [("equal", 0, start, 0, start)] if start else []
    counts = Counter(middle[1])
    if sum(counts[line] for line in middle[0]) > _MAX_PAIRS:
        codes.append(("replace", start, len(old) - end, start, len(new) - end))
    else:
        for tag, i, j, k, m in difflib.SequenceMatcher(None, *middle, autojunk=False).get_opcodes():
            codes.append((tag, i + start, j + start, k + start, m + start))
    if end:
        codes.append(("equal", len(old) - end, len(old), len(new) - end, len(new)))
    return codes


def _common(old: Sequence[str], new: Sequence[str], most_old: int, most_new: int) -> int:
    most = min(most_old, most_new)
    return next((i for i in range(most) if old[i] != new[i]), most)


class _Matcher(difflib.SequenceMatcher[str]):
    """Groups the edits as difflib does, but finds them in bounded time."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, (), ())
        self._edits = _opcodes(old, new)

    def get_opcodes(self) -> list[Any]:
        return self._edits


def _hunk(old: Sequence[str], new: Sequence[str], codes: Sequence[_Opcode]) -> str:
    first, last = codes[0], codes[-1]
    lines = [f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"]
    for tag, i, j, k, m in codes:
        if tag == "equal":
            lines += [_shown(" ", line) for line in old[i:j]]
        else:
            lines += [_shown("-", line) for line in old[i:j]] + [_shown("+", line) for line in new[k:m]]
    return "".join(lines)


def _shown(sign: str, line: str) -> str:
    return sign + escape(line) + ("" if line.endswith("\n") else "\n\\ No newline at end of file\n")


def _range(start: int, stop: int) -> str:
    """A hunk's position as in the unified format: lines count from 1, an empty range names the line before it."""
    length = stop - start
    return f"{start + 1}" if length == 1 else f"{start + 1 if length else start},{length}"
