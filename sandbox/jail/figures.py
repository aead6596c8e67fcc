"""Figures from a program, taken as bytes: counted, weighed and measured by their first chunk, never decoded."""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode
from typing import Any

from ..execution import Display
from ..policy import Policy
from ..text import clean, printable

__all__ = ["Figures", "size_of"]

_BEGIN = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_HEADER = struct.Struct(">I4sIIBBBBBI")
"""The chunk that comes first: length, type, width, height, depth, colour, compression, filter, interlace, checksum."""
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample that go with a type of colour."""
_MOST_NOTES = 8
_NOTE_CHARS = 200


class Figures:
    """The figures of one execution, within a policy's caps. What was left out is in `notes`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.kept: list[Display] = []
        self._left_out: list[str] = []
        self._refused = self._bytes = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each figure that was left out, a few at most, and how many more there were."""
        more = self._refused - len(self._left_out)
        return (*self._left_out, *([f"{more} more figures were left out"] if more else []))

    def take(self, message: dict[str, Any]) -> None:
        """Keep the figure in a frame, or note why not."""
        try:
            data = self._checked(message)
        except ValueError as why:
            self._refused += 1
            if len(self._left_out) < _MOST_NOTES:
                self._left_out.append(f"figure {len(self.kept) + self._refused} was left out: {why}")
            return
        self._bytes += len(data)
        self.kept.append(Display("image/png", data, f"figure-{len(self.kept) + 1}.png"))

    def _checked(self, message: dict[str, Any]) -> bytes:
        """The bytes of a figure that may be kept. Raises `ValueError`, which says why it may not."""
        policy, problem, text = self._policy, message.get("problem"), message.get("data")
        _require(len(self.kept) < policy.displays, f"there are more than {policy.displays}")
        _require(not isinstance(problem, str), _line(str(problem)))
        _require(message.get("mime") == "image/png", "it is no PNG image")
        data = _decoded(text if isinstance(text, str) else "")
        size, most = len(data), policy.display_bytes
        _require(size <= most, f"it has {size} bytes, over the limit of {most}")
        width, height = size_of(data)
        most = policy.display_pixels
        _require(width * height <= most, f"it has {width} x {height} pixels, over the limit of {most}")
        most = policy.displays_bytes
        _require(self._bytes + size <= most, f"together they have more than {most} bytes")
        return data


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG image, by its first chunk (PNG, third edition, 11.2.1). Raises `ValueError`."""
    _require(data.startswith(_BEGIN) and data.endswith(_END) and len(data) >= len(_BEGIN) + _HEADER.size, _NO_PNG)
    length, kind, width, height, depth, colour, *methods, checksum = _HEADER.unpack_from(data, len(_BEGIN))
    _require((length, kind) == (13, b"IHDR") and checksum == zlib.crc32(data[12:29]), _NO_PNG)
    _require(0 < width < 1 << 31 and 0 < height < 1 << 31 and depth in _DEPTHS.get(colour, ()), _NO_PNG)
    _require(methods[:2] == [0, 0] and methods[2] in (0, 1), _NO_PNG)
    return width, height


_NO_PNG = "it is no PNG image"


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ValueError(_NO_PNG) from None


def _line(claim: str) -> str:
    return printable(" ".join(clean(claim[:_NOTE_CHARS], _NOTE_CHARS).split()))


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
