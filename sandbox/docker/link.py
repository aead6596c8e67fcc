"""Requests to the server in a container, over the stream that the daemon relays. What comes back is hostile."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from ..text import clean, decode
from ..worker import wire

__all__ = ["Link", "Sink", "demultiplexed"]

Sink = Callable[[dict[str, Any]], None]
"""Takes one part of an answer; raises `ProtocolError` for what no honest server sends."""

_CHUNK = 1 << 18
_HEADER = struct.Struct(">BxxxI")
_STDOUT, _STDERR = 1, 2
_SENDING = 60
"""Seconds that the other side may take nothing in (socket(7), SO_SNDTIMEO)."""
_LAST_WORDS = 2000
_TEXT = 2000


class _Call:
    """A request that has not been answered yet."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self.answered = threading.Event()
        self.answer: dict[str, Any] = {}
        self.problem: Exception | None = None

    def take(self, message: dict[str, Any]) -> None:
        """A part of the answer, or its end. Raises `ProtocolError`."""
        match message.get("op"):
            case "part" if self._sink is not None:
                self._part(message)
            case "done" | "failed":
                self.answer = message
                self.answered.set()
            case _:
                raise wire.ProtocolError("not an answer")

    def _part(self, message: dict[str, Any]) -> None:
        """Pass a part on; what goes wrong on this side is for the caller to know, and the stream goes on."""
        assert self._sink is not None
        if self.problem is None:
            try:
                self._sink(message)
            except OSError as error:
                self.problem = error


class Link:
    """Talks to a server; from any thread, several requests at a time. `end` is called when the stream has ended."""

    def __init__(self, stream: socket.socket, limit: int, items: int, end: Callable[[], None]) -> None:
        self._stream, self._end = stream, end
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SENDING, 0))
        self._reader = wire.FrameReader(limit, items)
        self._calls: dict[int, _Call] = {}
        self._numbers = count(1)
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._words = b""
        self.lost = ""
        """Why nothing can be asked any more."""
        self._listener = threading.Thread(target=self._read, name="sandsmith-docker", daemon=True)
        self._listener.start()

    def call(self, op: str, patience: float, sink: Sink | None = None, **values: Any) -> dict[str, Any]:
        """The answer to a request, within `patience` seconds. Raises `ConfigError` where the server says so,
        `SandboxUnavailable` where there is no answer, `OSError` as the sink."""
        call, number = _Call(sink), next(self._numbers)
        with self._state:
            self._require()
            self._calls[number] = call
        self.send(op, id=number, **values)
        if not call.answered.wait(patience):
            self.close("the container does not answer")
        self._calls.pop(number, None)
        if not call.answer:
            self._require()
        if call.problem is not None:
            raise call.problem
        return _checked(call.answer)

    def send(self, op: str, **values: Any) -> None:
        """Say something that is not answered. A stream that has ended is told by the next call."""
        data = wire.encode({"op": op, **values})
        with self._sending, suppress(OSError):
            try:
                self._stream.sendall(data)
            except BlockingIOError:
                self.close("the container takes nothing in")

    def close(self, why: str = "it was closed") -> None:
        """End the stream, and with it the server. Safe to call twice."""
        with self._state:
            self.lost = self.lost or why
        with suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Wait until all has been done that follows on the end of the stream; whether it has."""
        self._listener.join(seconds)
        return not self._listener.is_alive()

    def _require(self) -> None:
        if self.lost:
            raise SandboxUnavailable(f"the container was lost: {self.lost}", hint="open a new session")

    def _read(self) -> None:
        why = "it has ended"
        try:
            for kind, data in demultiplexed(self._stream):
                if kind == _STDERR:
                    self._words = (self._words + data)[-_LAST_WORDS:]
                elif kind == _STDOUT:
                    self._hear(data)
        except wire.ProtocolError as error:
            why = f"it broke the protocol: {clean(str(error), _TEXT)}"
        except OSError as error:
            why = f"its stream broke: {error.strerror}"
        finally:
            words = decode(self._words, _TEXT).strip()
            self._finish(f"{why}: {words}" if words else why)

    def _hear(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            number = message.get("id")
            call = self._calls.get(number) if type(number) is int else None
            if call is None or call.answered.is_set():
                raise wire.ProtocolError("an answer to nothing")
            call.take(message)

    def _finish(self, why: str) -> None:
        self.close(why)
        self._stream.close()
        self._end()
        with self._state:
            for call in list(self._calls.values()):
                call.answered.set()


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a request that was done; what was not done is raised."""
    if answer["op"] == "done":
        return answer
    message, hint = (clean(str(answer.get(name))[: 2 * _TEXT], _TEXT) for name in ("message", "hint"))
    if answer.get("fault") == "config":
        raise ConfigError(message, hint=hint)
    raise SandboxUnavailable(message, hint=hint)


def demultiplexed(stream: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The pieces of a daemon's stream, each with the stream that it came from (Docker Engine API, ContainerAttach)."""
    header, kind, left = b"", 0, 0
    while data := stream.recv(_CHUNK):
        while data:
            if not left:
                missing = _HEADER.size - len(header)
                header, data = header + data[:missing], data[missing:]
                if len(header) == _HEADER.size:
                    (kind, left), header = _HEADER.unpack(header), b""
                continue
            piece, data = data[:left], data[left:]
            left -= len(piece)
            yield kind, piece
