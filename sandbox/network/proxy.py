"""The proxy of one session: accepts from the socket that listens inside while an execution goes on, and keeps a log."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress

from ..execution import Request
from .addresses import is_own
from .exchange import Connect, Exchange, Log, Resolve, Way
from .hosts import Host

__all__ = ["Proxy", "connect", "resolve"]

_AT_ONCE = 32
"""Connections that are served; more wait until one has ended."""
_MOST_WAITING = 1000


async def resolve(name: str, port: int) -> Sequence[str]:
    """The addresses of `name` as this host knows them (getaddrinfo(3)). Raises `OSError`."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(addresses: Sequence[str], error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(addresses)

    def ask() -> None:
        addresses, failure = [], None
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError) as error:
            failure = OSError(str(error))
        with suppress(RuntimeError):  # the execution is over, and its loop is closed
            loop.call_soon_threadsafe(settle, addresses, failure)

    # It cannot be interrupted, and must not be waited for.
    threading.Thread(target=ask, name="sandsmith-resolver", daemon=True).start()
    return await answer


async def connect(address: str, port: int) -> socket.socket:
    """A connection to `address`. Raises `OSError`: `PermissionError` for this machine's own, whatever it serves."""
    if is_own(address):
        raise PermissionError("the address is this machine's own")
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


class Proxy:
    """Serves what connects to `listener` between `begin` and `end`. `resolve` and `connect` are how it gets further.

    Every execution has a log, an allowance of bytes and connections of its own, so that nothing of one that was
    ended, or taken back, goes on in the next.
    """

    def __init__(
        self,
        listener: socket.socket,
        hosts: Iterable[str],
        traffic_bytes: int,
        *,
        resolve: Resolve = resolve,
        connect: Connect = connect,
    ) -> None:
        self._listener, self._bytes = listener, traffic_bytes
        listener.setblocking(False)
        self._way = Way(frozenset(map(Host.parse, hosts)), resolve, connect)
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Serve from now on, in a thread."""
        self._hang_up_waiting()
        self._log = Log(self._bytes)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._serve(self._log))
        self._thread = threading.Thread(target=self._run, name="sandsmith-proxy", daemon=True)
        self._thread.start()

    def end(self) -> tuple[Request, ...]:
        """End every connection; what was asked for since `begin`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return ()
        self._loop.call_soon_threadsafe(self._task.cancel)
        thread.join()
        self._loop.close()
        return self._log.requests()

    def close(self) -> None:
        """End it for good. Safe to call twice."""
        self.end()
        self._listener.close()

    def _hang_up_waiting(self) -> None:
        """What connected before is of no execution: its program may have been killed, or taken back."""
        with suppress(OSError):
            for _ in range(_MOST_WAITING):
                self._listener.accept()[0].close()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    async def _serve(self, log: Log) -> None:
        room = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                client = await self._accept()
                group.create_task(self._attend(client, log)).add_done_callback(lambda _: room.release())

    async def _accept(self) -> socket.socket:
        while True:
            try:
                return (await self._loop.sock_accept(self._listener))[0]
            except OSError:  # it hung up meanwhile, or this process is out of descriptors
                await asyncio.sleep(0.05)

    async def _attend(self, client: socket.socket, log: Log) -> None:
        with client:
            await Exchange(client, self._way, log).run()
