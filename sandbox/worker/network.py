"""A network of a session's own, with nothing in it but a listening socket that the host accepts from.

A socket stays in the network namespace in which it was made, so the host, which gets this one, is reached through it
from inside, and by nothing else. Sources: network_namespaces(7), netdevice(7).
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

from . import kernel

__all__ = ["PORT", "listen"]

PORT: Final = 3128
"""Where the proxy is found inside, on 127.0.0.1."""
_BACKLOG: Final = 128
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1


def listen() -> int:
    """Enter a new network namespace; a descriptor of the socket that listens in it. Raises `OSError`."""
    kernel.unshare(kernel.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
    server = socket.create_server(("127.0.0.1", PORT), backlog=_BACKLOG)
    return server.detach()
