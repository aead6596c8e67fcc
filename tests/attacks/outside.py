"""Runs programs as plain processes of this user, without a wall: forks of one that has imported what they all import.

Run as `python -I -c`, by `Outside`; each program has its own `__main__`, folder and output, and ends as a script does.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_SERVER = """
import ctypes, errno, hashlib, json, os, re, signal, socket, struct, subprocess, sys, time
asks = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, fds, _, _ = socket.recv_fds(asks, 1 << 20, 1)
    if not message:
        sys.exit()
    pid = os.fork()
    if pid == 0:
        break
    os.close(fds[0])
    os.waitpid(pid, 0)
    asks.send(b"ended")
asks.close()
os.dup2(fds[0], 1); os.dup2(fds[0], 2); os.close(fds[0])
folder, program = json.loads(message)
os.chdir(folder)
sys.argv = ["-c"]
exec(compile(program, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
"""


class Outside:
    """A warm process that controls are forked from. It inherits what is inheritable when it is made."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._asks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _SERVER, str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                close_fds=False,
            )

    def run(self, program: str, folder: Path, seconds: float = 30) -> str:
        """What `program` prints until it and all that it started have closed their output."""
        said, theirs = os.pipe()
        try:
            socket.send_fds(self._asks, [json.dumps([str(folder), program]).encode()], [theirs])
            os.close(theirs)
            text = _read(said, time.monotonic() + seconds)
            self._asks.settimeout(seconds)
            assert self._asks.recv(10) == b"ended"
            return text
        finally:
            os.close(said)

    def close(self) -> None:
        self._asks.close()
        self._process.wait(30)


def _read(fd: int, deadline: float) -> str:
    """Everything until the end. Raises `TimeoutError`."""
    parts: list[bytes] = []
    while select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
        if not (data := os.read(fd, 1 << 16)):
            return b"".join(parts).decode(errors="replace")
        parts.append(data)
    raise TimeoutError("a control goes on for too long")
