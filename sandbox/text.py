"""Text that a program wrote, made fit for a terminal, a log and a model's prompt.

Covered: terminal commands (colours, titles, clipboard), control characters, characters that reorder or hide text,
lone surrogates, length. Not covered: what the words say; a reader may still be lied to.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["clean", "decode", "escape", "json_text", "printable"]

# What a terminal would act upon: CSI, the string commands up to their end (OSC, DCS, SOS, PM, APC), other escapes.
# The classes exclude the characters that start and end a sequence, so the search is linear in the text.
_COMMANDS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
# C0 and C1 controls, marks that reorder or reshape text (UAX #9), separators that some readers take for a new line,
# lone surrogates, annotations, and the tag characters, which show nothing and which a model reads all the same.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_IN_NAME = re.compile(f"[\t\n{_UNSAFE}]")
_MARK = "\n[... {} characters cut ...]\n"


def clean(text: str, limit: int) -> str:
    """`text` without terminal commands, other unsafe characters as escapes, in at most `limit` characters.

    New lines and tabs stay; a carriage return counts as a new line. A longer text keeps its head and its tail.
    """
    return _cut(escape(_COMMANDS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")), limit)


def decode(data: bytes, limit: int) -> str:
    """`clean` text from UTF-8; bytes that are none show as `\\xff`."""
    return clean(data.decode("utf-8", "backslashreplace"), limit)


def escape(text: str) -> str:
    """`text` with every unsafe character written out (`\\x1b`), so that nothing is hidden; new lines and tabs stay."""
    return _IN_TEXT.sub(_written_out, text)


def printable(name: str) -> str:
    """`name` on one line, with every unsafe character written out."""
    return _IN_NAME.sub(_written_out, name)


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON in which unsafe characters stand as escapes only: the same data, and nothing for a terminal."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _IN_TEXT.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    room = limit - len(_MARK.format(len(text)))
    if room < 2:
        return text[: max(limit, 0)]
    head = (room + 1) // 2
    tail = room - head
    return text[:head] + _MARK.format(len(text) - room) + text[len(text) - tail :]
