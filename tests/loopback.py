"""An internet on loopback: names and addresses as a test wants them, and servers that keep what they were sent."""

from __future__ import annotations

import asyncio
import errno
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from sandbox.network.proxy import Proxy

PUBLIC = "93.184.215.14"
CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Of api.example.com, signed by itself, with its key: it protects nothing."""


class Upstream(socketserver.ThreadingTCPServer):
    """A server on 127.0.0.1. `answer` gets each connection and the bytes that came first."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answer: Callable[[socket.socket, bytes], None] | None = None, *, tls: bool = False) -> None:
        self.heard: list[bytes] = []
        self.at_once = self.most_at_once = 0
        self._answer, self._lock = answer or hello, threading.Lock()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._tls:
            self._tls.load_cert_chain(CERTIFICATE)
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.port: int = self.server_address[1]
        threading.Thread(target=partial(self.serve_forever, 0.01), daemon=True).start()

    def finish_request(self, request, client_address) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        with suppress(OSError):
            sock = self._tls.wrap_socket(request, server_side=True) if self._tls else request
            with sock:
                sock.settimeout(10)
                data = sock.recv(1 << 16)
                if data:
                    self.heard.append(data)
                self._answer(sock, data)
        with self._lock:
            self.at_once -= 1

    def handle_error(self, request, client_address) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        super().__exit__(*exc)


def hello(sock: socket.socket, data: bytes) -> None:
    """Answer a request of HTTP with `hello`."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


class Internet:
    """What names stand for, one answer after the other, and where addresses lead."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.routes: dict[tuple[str, int], int] = {}
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []

    def add(self, host: str, port: int, upstream: Upstream, address: str = PUBLIC) -> None:
        self.names[host] = [[address]]
        self.routes[address, port] = upstream.port

    async def resolve(self, name: str, port: int) -> list[str]:
        self.asked.append(name)
        answers = self.names.get(name)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        to = self.routes.get((address, port))
        if to is None:
            raise OSError(errno.ENETUNREACH, "no way")
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", to))
        return sock

    @property
    def proxy(self) -> Callable[..., Proxy]:
        """`Proxy`, in this internet."""
        return partial(Proxy, resolve=self.resolve, connect=self.connect)


class Client:
    """Talks to a proxy that listens on `port` of loopback, byte by byte if need be."""

    def __init__(self, port: int) -> None:
        self.port = port

    @contextmanager
    def connected(self):
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            yield sock

    def ask(self, data: bytes) -> bytes:
        """Everything that comes back for `data`, the end of the connection included."""
        with self.connected() as sock:
            with suppress(OSError):
                sock.sendall(data)
            return read_all(sock)

    def get(self, url: str, headers: str = "", host: str = "x") -> bytes:
        return self.ask(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())

    @contextmanager
    def tunnel(self, to: str):
        """A connection through the proxy. Raises `ConnectionError` with the status line when it is refused."""
        with self.connected() as sock:
            sock.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = sock.recv(1)
                if not piece:
                    break
                head += piece
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.split(b"\r\n")[0].decode())
            yield sock


def read_all(sock: socket.socket) -> bytes:
    found = b""
    with suppress(OSError):
        while data := sock.recv(1 << 16):
            found += data
    return found


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()
