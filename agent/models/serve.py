"""The far end of a `ModelProcess`: holds llama.cpp and answers over one socket.

Both ends speak JSON lines. To here come `{"call": 1, "do": "open" | "complete" | "count", ...}` and `{"cancel": 1}`;
back go `{"call": 1, "piece": [reply, text]}` (see `OnPiece`), `{"call": 1, "progress": [what, share]}`, and last
`{"call": 1, "done": answer}` or `{"call": 1, "error": [type, message, hint]}`. Calls have numbers of their own. Each
`complete` is answered in a thread, as many at once as the model takes.

This process ends with the one that started it: on Linux the kernel kills it, also while native code holds the
interpreter; elsewhere it ends itself as soon as it can read that the other end is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import queue
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from agent.errors import Fault, ModelUnavailable

from .base import Message

if TYPE_CHECKING:
    from .llama import LlamaModel

__all__ = ["Link", "main"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Link:
    """JSON lines over a socket. Iterate it in one thread, send from any."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lines = sock.makefile("rb")
        self._lock = Lock()

    def send(self, **message: Any) -> None:
        """Does nothing when the other end is gone; the reader finds that out.

        Half a line cannot be taken back, so a send that is interrupted ends the link.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):
            try:
                self._socket.sendall(line)
            except KeyboardInterrupt:
                self.hang_up()
                raise

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The messages until the other end is gone."""
        with contextlib.suppress(OSError):
            for line in self._lines:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def hang_up(self) -> None:
        """Both ends read the end of the stream."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket: only for the one who reads."""
        self._lines.close()
        self._socket.close()


class _Service:
    """Answers calls with a model, which the first of them opens."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._left: dict[int, Event] = {}
        """By number the calls that were not answered yet, set when nobody waits for the answer any more."""
        self._model: LlamaModel | None = None

    def listen(self) -> None:
        """Take calls until the other end is gone, then end the process: native code is not waited for."""
        for message in self._link:
            if "cancel" not in message:
                self._left[message["call"]] = Event()
                self._calls.put(message)
            elif left := self._left.get(message["cancel"]):
                left.set()
        os._exit(0)

    def work(self) -> None:
        """Answer calls as they come. Never returns."""
        while True:
            call = self._calls.get()
            if call["do"] == "complete":
                Thread(target=self._answer, kwargs=call, name="complete", daemon=True).start()
            else:
                self._answer(**call)

    def _answer(self, call: int, do: str, **given: Any) -> None:
        doing = {"open": self._open, "complete": self._complete, "count": self._count}[do]
        try:
            self._link.send(call=call, done=doing(call, **given))
        except Exception as e:
            fault = e if isinstance(e, Fault) else ModelUnavailable(f"llama.cpp failed: {type(e).__name__}: {e}")
            self._link.send(call=call, error=[type(fault).__name__, str(fault), fault.hint])
        finally:
            del self._left[call]

    def _open(self, call: int, *, path: str, **options: Any) -> dict[str, Any]:
        from .llama import LlamaModel

        self._model = LlamaModel(Path(path), **options)
        return dataclasses.asdict(self._model.profile)

    def _complete(self, call: int, *, messages: Sequence[Sequence[Any]], **options: Any) -> list[dict[str, Any]]:
        replies = self._opened().draw(
            _messages(messages),
            on_piece=lambda reply, text: self._link.send(call=call, piece=[reply, text]),
            on_progress=lambda what, share: self._link.send(call=call, progress=[what, share]),
            cancelled=self._left[call],
            **options,
        )
        return [dataclasses.asdict(reply) for reply in replies]

    def _count(self, call: int, *, messages: Sequence[Sequence[Any]]) -> int:
        return self._opened().count_tokens(_messages(messages))

    def _opened(self) -> LlamaModel:
        assert self._model is not None
        return self._model


def _messages(rows: Sequence[Sequence[Any]]) -> list[Message]:
    return [Message(*row) for row in rows]


def main(fd: int, parent: int) -> None:
    """Serve over the socket `fd` for the process `parent`. Never returns."""
    _end_with(parent)
    # A model that aborts would leave a dump of gigabytes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    service = _Service(Link(socket.socket(fileno=fd)))
    Thread(target=service.listen, name="listen", daemon=True).start()
    service.work()


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, which may have happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    if os.getppid() != parent:
        os._exit(1)
