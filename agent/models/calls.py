"""What a model needs to serve a call: to be cancelled from outside, to stop where it was told to, to be heard."""

from __future__ import annotations

import contextvars
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Event, Thread
from typing import TypeVar

from .base import Message, OnToken

__all__ = ["Calls", "InTurn", "Silence", "StopGate", "calling_as", "estimate_tokens", "from_thread"]

T = TypeVar("T")
_TURN = 0.05
"""Seconds between two looks at whether a call was cancelled."""


_caller: ContextVar[object] = ContextVar("caller", default=None)
"""On whose behalf a model is called; None: nobody's in particular."""


@contextmanager
def calling_as(caller: object) -> Generator[None]:
    """Within it models are called, and calls cancelled, on behalf of `caller`, which is told by its identity."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


class Calls:
    """The calls in progress. Each has an event of its own, so that cancelling never reaches a later call."""

    def __init__(self) -> None:
        self._callers: dict[Event, object] = {}

    @contextmanager
    def begin(self, event: Event | None = None) -> Generator[Event]:
        """An event for one call, or the one that is given, set when the call is to stop."""
        event = event or Event()
        self._callers[event] = _caller.get()
        try:
            yield event
        finally:
            self._callers.pop(event, None)

    def cancel(self) -> None:
        """Tell the calls in progress to stop, from any thread: those of the caller (see `calling_as`), or all."""
        caller = _caller.get()
        for event, its_caller in self._callers.copy().items():
            if caller is None or its_caller is caller:
                event.set()

    def cancel_all(self) -> None:
        """Tell the calls of everyone to stop, whoever the caller is."""
        for event in self._callers.copy():
            event.set()


class Silence(Exception):
    """Nothing came for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came for {seconds:g} s")


@dataclass(frozen=True, slots=True)
class _End:
    """Behind the last item; `error` is what ended it."""

    error: BaseException | None = None


def from_thread(
    make: Callable[[], Iterable[T]], cancelled: Event, *, first_seconds: float, next_seconds: float
) -> Generator[T]:
    """What `make` yields, in a thread of its own that nobody has to wait for, until `cancelled` is set.

    Raises what it raises, and `Silence` when the first item takes longer than `first_seconds` or any other one longer
    than `next_seconds`. The thread leaves what it iterates over at the next item after nobody listens any more.
    """
    if cancelled.is_set():
        return
    items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    left = Event()
    # The caller's context has the callbacks and the tracing of LangChain.
    context = contextvars.copy_context()
    Thread(target=context.run, args=(_run_through, make, items, left), name="reader", daemon=True).start()
    seconds = first_seconds
    try:
        while not isinstance(item := _next(items, cancelled, seconds), _End):
            yield item
            seconds = next_seconds
    finally:
        left.set()
    if item.error is not None:
        raise item.error


def _run_through(make: Callable[[], Iterable[T]], items: queue.SimpleQueue[T | _End], left: Event) -> None:
    try:
        for item in make():
            if left.is_set():
                break
            items.put(item)
    except BaseException as e:
        items.put(_End(e))
    else:
        items.put(_End())


def _next(items: queue.SimpleQueue[T | _End], cancelled: Event, seconds: float) -> T | _End:
    """The next item, or the end, which also comes with `cancelled`."""
    deadline = time.monotonic() + seconds
    while not cancelled.is_set():
        try:
            return items.get(timeout=_TURN)
        except queue.Empty:
            if time.monotonic() > deadline:
                raise Silence(seconds) from None
    return _End()


class StopGate:
    """Lets a stream of text through up to the first stop string.

    A piece of text that may be the start of a stop string is held back until the next piece decides.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self.closed = False
        """Whether a stop string was met."""

    def feed(self, piece: str) -> str:
        """The text that may pass now."""
        if self.closed:
            return ""
        text = self._held + piece
        cut = min((at for at in map(text.find, self._stop) if at >= 0), default=-1)
        self.closed = cut >= 0
        passed = cut if self.closed else len(text) - self._undecided(text)
        self._held = text[passed:]
        return text[:passed]

    def flush(self) -> str:
        """The text still held back when the stream is over."""
        return "" if self.closed else self._held

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = min(len(text), max(map(len, self._stop), default=0))
        return next((k for k in range(longest, 0, -1) if any(s.startswith(text[-k:]) for s in self._stop)), 0)


class InTurn:
    """Lets a listener hear replies that are written side by side as if they were written one after another."""

    def __init__(self, on_token: OnToken) -> None:
        self._on_token = on_token
        self._now = 0
        """The reply that is heard as it is written."""
        self._waiting: defaultdict[int, str] = defaultdict(str)
        self._complete: set[int] = set()

    def take(self, reply: int, piece: str) -> None:
        """The next piece of a reply, counted from 0; an empty one when it is complete."""
        if not piece:
            self._complete.add(reply)
        elif reply == self._now:
            self._on_token(piece)
        else:
            self._waiting[reply] += piece
        while self._now in self._complete:
            self._now += 1
            if text := self._waiting.pop(self._now, ""):
                self._on_token(text)


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Prompt tokens estimated from above: one for two bytes (code has about 3.5 bytes a token), plus frames."""
    return sum(len(m.content.encode()) // 2 + 8 for m in messages)
