"""The wire between host and worker: frames of length-prefixed JSON objects over a socket.

A frame is four bytes of length, big-endian, then that many bytes of UTF-8 JSON. What comes from the worker is hostile:
`FrameReader` caps the length before it reads, and `decode` refuses what is deep, not finite or no object.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, cast

__all__ = ["MAX_FRAME", "FrameReader", "ProtocolError", "decode", "encode", "receive", "send"]

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of the largest frame that is read."""
_MAX_DEPTH: Final = 32
_MAX_ITEMS: Final = 1 << 18
"""Commas and opening brackets in a frame of `FrameReader`: as objects, 16 MiB of empty lists would be 500 MiB."""
_HEADER: Final = struct.Struct("!I")
_MAX_FDS: Final = 8


class ProtocolError(ValueError):
    """The other side did not send a well-formed frame."""


def encode(message: dict[str, Any]) -> bytes:
    """The frame that holds `message`. Lone surrogates are escaped."""
    data = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode()
    return _HEADER.pack(len(data)) + data


def decode(data: bytes) -> dict[str, Any]:
    """The object in a frame's body. Raises `ProtocolError` for anything else."""
    try:
        message = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON frame: {str(error)[:200]}") from None
    if not isinstance(message, dict) or not _shallow(cast("dict[str, Any]", message)):
        raise ProtocolError("not a shallow JSON object")
    return cast("dict[str, Any]", message)


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < float("inf") else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not allowed")


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
    """Turns the bytes of a stream into messages, however they were cut."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

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
            if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_ITEMS:
                raise ProtocolError("a frame of too many items")
            yield decode(body)


def send(channel: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one frame, with descriptors if any. Raises `OSError`."""
    data = encode(message)
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        data = data[channel.sendmsg([data], rights) :]
    channel.sendall(data)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next frame and the descriptors that came with it, waiting for it; None at the end of the stream.

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
    return decode(body), fds


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
