"""Lets the processes of a program meet by an address, as `multiprocessing` needs for managers and sent descriptors.

Its own way is a socket at a path. No program may make a socket: it could connect to every path it sees, one of the
host included. So the processes meet through socket pairs that all inherit from the first one. A listener claims a
pair and writes its number into a file at the address; a client sends one end of a fresh pair through it. What a
program could not do without this module it cannot do with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import tempfile
import threading
from contextlib import suppress
from multiprocessing import connection, process
from typing import Any

__all__ = ["install"]

_PLACES = 64
"""Listeners at once; one for each process that a policy allows by default."""
_REQUEST = 4096
"""Bytes of a request at most: PATH_MAX, for it holds the address asked for."""


class _Places:
    """The inherited pairs. Who listens holds a record lock on the pair's number, which ends with the process."""

    def __init__(self) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(_PLACES)]
        self._locks = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the program runs
        self._mine: set[tuple[int, int]] = set()  # such a lock does not keep its own process out

    def claim(self) -> int:
        """A pair that nobody listens on, emptied of what was sent to a listener before. Raises `OSError`."""
        for number in range(_PLACES):
            if self._lock(number):
                while select.select([self._pairs[number][1]], [], [], 0)[0]:
                    self.take(number)[1].close()
                return number
        raise OSError(errno.EADDRINUSE, "too many listeners")

    def taken(self, number: int) -> bool:
        """Whether somebody listens there."""
        if not self._lock(number):
            return True
        self.release(number)
        return False

    def _lock(self, number: int) -> bool:
        if (os.getpid(), number) in self._mine:
            return False
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        self._mine.add((os.getpid(), number))
        return True

    def release(self, number: int) -> None:
        """Listen there no more."""
        self._mine.discard((os.getpid(), number))
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)

    def send(self, number: int, address: str, end: socket.socket) -> None:
        """Offer one end of a pair to whoever listens there."""
        socket.send_fds(self._pairs[number][0], [os.fsencode(address)], [end.fileno()])

    def take(self, number: int) -> tuple[str, socket.socket]:
        """The next offer: the address it is meant for, and the end of the pair."""
        address, fds, _, _ = socket.recv_fds(self._pairs[number][1], _REQUEST, 1)
        os.set_inheritable(fds[0], False)
        return os.fsdecode(address), socket.socket(fileno=fds[0])


class _Listener:
    """In the place of `multiprocessing.connection.SocketListener`."""

    def __init__(self, address: str) -> None:
        self._places = _shared()
        self._number: int | None = self._places.claim()
        self._address = address
        self._last_accepted = None
        try:
            with open(address, "x") as file:
                file.write(str(self._number))
        except FileExistsError:
            self._places.release(self._number)
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None

    def accept(self) -> Any:
        while self._number is not None:
            address, end = self._places.take(self._number)
            if address == self._address:
                return connection.Connection(end.detach())
            end.close()
        raise OSError(errno.EBADF, "the listener is closed")

    def close(self) -> None:
        if self._number is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._address)
            self._places.release(self._number)
            self._number = None


def _connect(address: str) -> Any:
    """A connection to the listener at `address`. Raises `OSError` as connect(2) does."""
    with open(address) as file:
        number = int(file.read())
    places = _shared()
    if not places.taken(number):
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    ours, theirs = socket.socketpair()
    with theirs:
        places.send(number, address, theirs)
    return connection.Connection(ours.detach())


_lock = threading.Lock()
_places: list[_Places] = []


def _shared() -> _Places:
    """The pairs of this program, made before its first process starts another one."""
    with _lock:
        if not _places:
            _places.append(_Places())
        return _places[0]


def install() -> None:
    """Make `multiprocessing` meet this way, here and in every process forked from here."""
    names: Any = vars(connection)
    listener, client, start = names["SocketListener"], names["SocketClient"], process.BaseProcess.start

    def listen(address: Any, family: str, backlog: int = 1) -> Any:
        return _Listener(address) if family == "AF_UNIX" else listener(address, family, backlog)

    def connect(address: Any) -> Any:
        return _connect(address) if isinstance(address, str) else client(address)

    def begin(self: process.BaseProcess) -> None:
        _shared()
        start(self)

    names["SocketListener"], names["SocketClient"] = listen, connect
    process.BaseProcess.start = begin
