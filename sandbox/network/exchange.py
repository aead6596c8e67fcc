"""One connection of a program to the proxy: one request, and what becomes of it.

The request line alone decides. What is sent on is written anew from what was understood, so no reader further on can
understand it otherwise; a connection ends with its first request, so nothing can hide behind one.
Sources: RFC 9110 (CONNECT, hop-by-hop fields), RFC 9112 (forms of a request target, framing).
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import h11

from ..execution import Request
from ..text import printable
from .addresses import why_refused
from .greeting import Greeting
from .hosts import Host

__all__ = ["Connect", "Entry", "Exchange", "Log", "Resolve", "Way"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, for a port. Raises `OSError`."""
Connect = Callable[[str, int], Awaitable[socket.socket]]
"""A connection to exactly this address and port. Raises `OSError`."""

_HEAD_BYTES = 64 << 10
_HEAD_SECONDS = 15.0
_DIAL_SECONDS = 15.0
"""For a name to be resolved, and for a connection to be made."""
_PARTING_SECONDS = 2.0
_CHUNK = 64 << 10
_MOST_REQUESTS = 1000
_MOST_ADDRESSES = 4
_ABSOLUTE = re.compile(r"http://([^/?#@]*)([/?][^#]*)?(?:#.*)?\Z", re.IGNORECASE)  # urllib sends fragments, too
_HOP_BY_HOP = frozenset(
    b"connection host keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade".split()
)
_CLOSE = (b"Connection", b"close")
_TLS_HANDSHAKE = b"\x16"


class Refused(Exception):
    """The request is not carried out. `str()` is what the program is told, in ASCII on one line."""

    def __init__(self, status: int, why: str, outcome: Literal["refused", "failed"] = "refused") -> None:
        super().__init__(why)
        self.status = status
        self.outcome: Literal["refused", "failed"] = outcome


class Spent(Exception):
    """The execution's bytes are used up."""


@dataclass(slots=True)
class Entry:
    """One request while it goes on."""

    began: float
    method: str = ""
    host: str = ""
    port: int = 0
    address: str = ""
    outcome: Literal["allowed", "refused", "failed"] = "refused"
    reason: str = ""
    up: int = 0
    down: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Log:
    """What was asked for in one execution, and how many bytes are left to it."""

    bytes_left: int
    began: float = field(default_factory=time.monotonic)
    entries: list[Entry] = field(default_factory=list[Entry])
    unheard: int = 0
    """Requests that came when there had been too many."""

    def add(self) -> Entry:
        """A new entry. Raises `Refused` when there are too many."""
        if len(self.entries) >= _MOST_REQUESTS:
            self.unheard += 1
            raise Refused(429, "too many requests in one execution")
        self.entries.append(Entry(time.monotonic()))
        return self.entries[-1]

    def spend(self, count: int) -> None:
        """Raises `Spent`."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise Spent

    def requests(self) -> tuple[Request, ...]:
        """The whole of it, fit for a terminal, a trace and a prompt."""
        more = (Request(time.monotonic() - self.began, "", "", 0, reason=f"{self.unheard} more requests were refused"),)
        return tuple(map(self._request, self.entries)) + (more if self.unheard else ())

    def _request(self, entry: Entry) -> Request:
        return Request(
            at=entry.began - self.began,
            method=printable(entry.method)[:20],
            host=printable(entry.host)[:253],
            port=entry.port,
            address=printable(entry.address)[:100],
            outcome=entry.outcome,
            reason=printable(entry.reason)[:300],
            bytes_up=entry.up,
            bytes_down=entry.down,
            seconds=entry.seconds,
        )


@dataclass(frozen=True, slots=True)
class Way:
    """Where requests may go, and how they get there."""

    hosts: frozenset[Host]
    resolve: Resolve
    connect: Connect


class Exchange:
    """Serves one connection to its end."""

    def __init__(self, client: socket.socket, way: Way, log: Log) -> None:
        self._client, self._way, self._log = client, way, log
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._entry: Entry | None = None

    async def run(self) -> None:
        """Serve. Raises nothing but what ends the whole proxy."""
        try:
            await self._serve()
        except Refused as refused:
            self._note(str(refused), refused.outcome)
            await self._say(refused.status, str(refused))
        except Spent:
            self._note("cut: the bytes of this execution are used up")
        except asyncio.CancelledError:
            if self._http.our_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):  # else the whole answer is given
                self._note("open until the execution ended")
            raise
        except Exception as error:  # whatever one connection has come to, the others go on
            self._note(f"broken off: {type(error).__name__}: {error}")
        finally:
            if self._entry is not None:
                self._entry.seconds = time.monotonic() - self._entry.began

    def _note(self, reason: str, outcome: Literal["refused", "failed"] | None = None) -> None:
        if self._entry is not None:
            self._entry.reason = reason
            self._entry.outcome = outcome or self._entry.outcome

    # -- the request -----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        request = await self._head()
        if request is None:
            return
        assert self._entry is not None
        entry = self._entry
        entry.method = request.method.decode()
        host, path = _target(request)
        entry.host, entry.port = host
        if host not in self._way.hosts:
            raise Refused(403, "not on the list of allowed hosts (--allow-host)")
        with await self._dial(host, entry) as upstream:
            entry.outcome = "allowed"
            if path is None:
                await self._tunnel(host, upstream)
            else:
                await self._forward(host, path, request, upstream)

    async def _head(self) -> h11.Request | None:
        """The request line and the header fields, None when nothing came at all. Raises `Refused`."""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                while (event := self._http.next_event()) is h11.NEED_DATA:
                    data = await self._hear()
                    if not data and self._entry is None:
                        return None
                    self._entry = self._entry or self._log.add()
                    self._http.receive_data(data)
        except TimeoutError:
            raise Refused(408, "no whole request in time") from None
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, "not a request that HTTP knows") from None
        if not isinstance(event, h11.Request):
            raise Refused(400, "not a whole request")
        return event

    async def _dial(self, host: Host, entry: Entry) -> socket.socket:
        """A connection to `host`, by an address that was looked at. Raises `Refused`."""
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                for address in await self._public_addresses(host):
                    entry.address = address
                    try:
                        return await self._way.connect(address, host.port)
                    except PermissionError as error:
                        raise Refused(403, str(error)) from None
                    except OSError:  # perhaps there is no way for this family, and the next is of the other
                        continue
        except TimeoutError:
            raise Refused(504, "the host does not answer in time", "failed") from None
        raise Refused(502, "the host cannot be reached", "failed")

    async def _public_addresses(self, host: Host) -> Sequence[str]:
        """What the name stands for, asked once. Raises `Refused` when nothing of it is public."""
        try:
            found = await self._way.resolve(*host)
        except OSError:
            raise Refused(502, "the name of the host is not known", "failed") from None
        public = [address for address in found if not why_refused(address)]
        if not public:
            why = why_refused(found[0]) if found else "the name stands for no address"
            raise Refused(403, why)
        return public[:_MOST_ADDRESSES]

    # -- TLS: bytes that are not ours to read -----------------------------------------------------------------------

    async def _tunnel(self, host: Host, upstream: socket.socket) -> None:
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            raise Refused(400, "CONNECT has no body")
        await self._tell(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        await _together(self._up(host, upstream), self._down(upstream))

    async def _up(self, host: Host, upstream: socket.socket) -> None:
        data = await self._greeting(host, self._http.trailing_data[0])
        while data:
            await self._send(upstream, data)
            data = await self._hear()
        _hang_up(upstream)

    async def _down(self, upstream: socket.socket) -> None:
        while data := await self._receive(upstream):
            await self._loop.sock_sendall(self._client, data)
        _hang_up(self._client)

    async def _greeting(self, host: Host, early: bytes) -> bytes:
        """The first bytes of a tunnel. A TLS greeting among them must be for the host. Raises `Refused`."""
        data = early or await self._hear()
        if not data.startswith(_TLS_HANDSHAKE):
            return data
        greeting, last = Greeting(), data
        try:
            while not greeting.feed(last):
                last = await self._hear()
                data += last
                if not last or len(data) > _HEAD_BYTES:
                    raise ValueError("not a whole TLS greeting")
        except ValueError as error:
            raise Refused(400, str(error)) from None
        if greeting.name != ("" if host.is_address else host.name):
            raise Refused(403, f"the TLS greeting is for {greeting.name or 'no host'}")
        return data

    # -- plain HTTP ------------------------------------------------------------------------------------------------

    async def _forward(self, host: Host, path: str, request: h11.Request, upstream: socket.socket) -> None:
        """Send the request on, and bring back the answer."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        authority = host.name if host.port == 80 else str(host)
        head = h11.Request(
            method=request.method,
            target=path,
            headers=[(b"Host", authority.encode()), *_end_to_end(request.headers), _CLOSE],
        )
        await self._send(upstream, http.send(head) or b"")
        body = asyncio.create_task(self._body(http, upstream))
        try:
            await self._answer(http, upstream)
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)
        await self._part()

    async def _body(self, http: h11.Connection, upstream: socket.socket) -> None:
        """What follows the head of the request. When it cannot be sent, the answer cannot be waited for, either."""
        try:
            while isinstance(event := await self._event(self._http, self._hear), h11.Data):
                await self._send(upstream, http.send(event) or b"")
            await self._send(upstream, http.send(h11.EndOfMessage()) or b"")
        except (OSError, Spent, h11.ProtocolError):
            _hang_up(upstream, socket.SHUT_RDWR)

    async def _answer(self, http: h11.Connection, upstream: socket.socket) -> None:
        while not isinstance(event := await self._next_of(http, upstream), h11.EndOfMessage):
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                closing = [_CLOSE] if isinstance(event, h11.Response) else []
                event = type(event)(
                    status_code=event.status_code,
                    reason=event.reason,
                    headers=[*_end_to_end(event.headers), *closing],
                )
            await self._tell(event)
        await self._tell(h11.EndOfMessage())

    async def _next_of(self, http: h11.Connection, upstream: socket.socket) -> h11.Event:
        """The next part of the host's answer. Raises `Refused` when there is none that HTTP knows."""
        try:
            return await self._event(http, lambda: self._receive(upstream))
        except h11.RemoteProtocolError:
            if self._http.our_state is not h11.SEND_RESPONSE:
                raise
            raise Refused(502, "the host gives no answer that HTTP knows", "failed") from None

    @staticmethod
    async def _event(http: h11.Connection, read: Callable[[], Awaitable[bytes]]) -> h11.Event:
        """The next event of one side. Raises `RemoteProtocolError` at the end of the stream, too."""
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await read())
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("ended early")
        return event

    # -- bytes -----------------------------------------------------------------------------------------------------

    async def _hear(self) -> bytes:
        return await self._loop.sock_recv(self._client, _CHUNK)

    async def _tell(self, event: h11.Event) -> None:
        await self._loop.sock_sendall(self._client, self._http.send(event) or b"")

    async def _send(self, upstream: socket.socket, data: bytes) -> None:
        assert self._entry is not None
        self._log.spend(len(data))
        await self._loop.sock_sendall(upstream, data)
        self._entry.up += len(data)

    async def _receive(self, upstream: socket.socket) -> bytes:
        assert self._entry is not None
        data = await self._loop.sock_recv(upstream, _CHUNK)
        self._log.spend(len(data))
        self._entry.down += len(data)
        return data

    async def _say(self, status: int, why: str) -> None:
        """Answer by ourselves, where an answer can still be given. Programs show the reason of a status."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [(b"Content-Length", b"0"), _CLOSE]
        with suppress(OSError, h11.LocalProtocolError):
            await self._tell(h11.Response(status_code=status, reason=why.encode("ascii", "replace"), headers=headers))
            await self._part()

    async def _part(self) -> None:
        """Close so that what was said is read: bytes left unread would have the kernel take it back."""
        _hang_up(self._client)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_PARTING_SECONDS):
                while await self._hear():
                    pass


def _target(request: h11.Request) -> tuple[Host, str | None]:
    """Where a request goes, and the path to ask for there; no path for a tunnel. Raises `Refused`."""
    text = request.target.decode("ascii")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
        raise Refused(400, "a body of two lengths")
    try:
        if request.method == b"CONNECT":
            return Host.parse(text), None
        if found := _ABSOLUTE.match(text):
            path = found[2] or "/"
            return Host.parse(found[1], 80), path if path.startswith("/") else f"/{path}"
    except ValueError as error:
        raise Refused(400, f"the target {error}") from None
    raise Refused(400, "this is a proxy for http:// and for CONNECT")


def _end_to_end(headers: Any) -> list[tuple[bytes, bytes]]:
    """The fields that are meant for the other end, those that `Connection` names left out."""
    named = {word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in headers.raw_items() if name.lower() not in _HOP_BY_HOP | named]


def _hang_up(sock: socket.socket, how: int = socket.SHUT_WR) -> None:
    with suppress(OSError):
        sock.shutdown(how)


async def _together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends. The first error ends the others and is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
