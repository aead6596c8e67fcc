"""The wire between host and worker: frames of length-prefixed JSON objects over a socket.

A frame is four bytes of length, big-endian, then that many bytes of UTF-8 JSON. What comes from the worker is hostile:
`FrameReader` caps the length before it reads and the items before it parses, and `decode` refuses what is deep, what is
no object, and numbers that are not finite or too long. Of a key that comes twice the last value counts.
"""

from __future__ import annotations

import array
import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, cast

__all__ = ["MAX_FRAME", "FrameReader", "ProtocolError", "decode", "encode", "receive", "send"]

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of the largest frame that is read."""
_MAX_DEPTH: Final = 32
_MAX_OPEN: Final = 4000
"""Lists and objects in a frame. The parser goes down into each, and where a caller has raised the recursion limit of
this process nothing else keeps it from the end of the stack."""
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_DIGITS: Final = 20
"""Characters of the longest whole number, enough for 64 bits."""
_MAX_ITEMS: Final = 1 << 18
"""Commas and opening brackets in a frame of `FrameReader`: as objects, 16 MiB of empty lists would be 500 MiB."""
_HEADER: Final = struct.Struct("!I")
_MAX_FDS: Final = 8


class ProtocolError(ValueError):
    """The other side did not send a well-formed frame."""


def encode(message: dict[str, Any]) -> bytes:
    """The frame that holds `message`. Lone surrogates are escaped."""
    data = _to_json(message).encode()
    return _HEADER.pack(len(data)) + data


def decode(data: bytes) -> dict[str, Any]:
    """The shallow object in a frame's body. Raises `ProtocolError` for anything else."""
    if _opens(data) > _MAX_OPEN and _opens(_STRING.sub(b"", data)) > _MAX_OPEN:
        raise ProtocolError("too many lists and objects")
    message = _object(data)
    if not _shallow(message):
        raise ProtocolError("not a shallow JSON object")
    return message


def _opens(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _object(data: bytes) -> dict[str, Any]:
    try:
        message = _from_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON frame: {str(error)[:200]}") from None
    if not isinstance(message, dict):
        raise ProtocolError("not a JSON object")
    return cast("dict[str, Any]", message)


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < float("inf") else _refuse(text)


def _short(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else _refuse(f"a number of {len(digits)} digits")


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what} is not allowed")


_to_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_from_json = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_short).decode


def _shallow(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def _children(item: Any) -> Sequence[Any]:
    if isinstance(item, dict):
        return list(cast("dict[str, Any]", item).values())
    return cast("list[Any]", item) if isinstance(item, list) else ()


class FrameReader:
    """Turns the bytes of a stream into messages, however they were cut; holds one frame of `limit` bytes at most."""

    def __init__(self, limit: int = MAX_FRAME, items: int = _MAX_ITEMS) -> None:
        self._buffer = bytearray()
        self._limit, self._items = limit, items

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes. Raises `ProtocolError`; the stream is of no use afterwards."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._buffer)
            if size > self._limit:
                raise ProtocolError(f"a frame of {size} bytes is over the limit of {self._limit}")
            end = _HEADER.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            if sum(map(body.count, (b",", b"[", b"{"))) > self._items:
                raise ProtocolError("a frame of too many items")
            yield decode(body)


def send(channel: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one frame, with descriptors if any. Raises `OSError`."""
    data = encode(message)
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        data = data[channel.sendmsg([data], rights) :]
    if data:  # sending nothing fails as well where the other side has read the whole and closed
        channel.sendall(data)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next frame of one who is trusted and the descriptors that came with it, waiting for it; None at the end of
    the stream.

    Raises `ProtocolError` and `OSError`.
    """
    fds: list[int] = []
    header = _read(channel, _HEADER.size, fds)
    if header is None:
        return None
    (size,) = _HEADER.unpack(header)
    body = _read(channel, min(size, MAX_FRAME + 1), fds) if size <= MAX_FRAME else None
    if body is None:
        raise ProtocolError("a frame was cut or is over the limit")
    return _object(bytes(body)), fds


def _read(channel: socket.socket, size: int, fds: list[int]) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece, ancillary, _, _ = channel.recvmsg(size - len(data), socket.CMSG_SPACE(_MAX_FDS * 4))
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds += array.array("i", payload[: len(payload) - len(payload) % 4])
        if not piece:
            return None
        data += piece
    return bytes(data)
