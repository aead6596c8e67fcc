"""The contract that every kind of sandbox keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from .changes import Changes
from .execution import Execution, Name, Receipt

__all__ = ["Branch", "Checkpoint", "OnError", "OwnCode", "Sandbox", "Session"]

OnError = Literal["rollback", "keep"]


class OwnCode(str):
    """Code that the caller of `Session.execute` wrote, and not a model: it is behind the same wall, and a language
    policy, where there is one, does not apply to it. It then has names of its own, and the program's in `__main__`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state of one session, to roll back to."""

    id: int


class Session(AbstractContextManager["Session"], Protocol):
    """A live interpreter behind its wall, with a copy-on-write view of a folder as its working directory.

    Each execution whose effects stay is a *step*. The states between the last steps (`Policy.history`) are kept, memory
    and files together, and the session can be put into any of them. What can be gone back to is what `fork` and a copy
    of the files keep: names and objects, generators, imported modules; files of the folder, `/tmp` and `/dev/shm`, open
    ones at the offsets they had. Threads, processes that were started, pipes to them and memory shared with them live
    on in a session that goes forward, and are gone in one that went back.
    """

    @property
    def receipt(self) -> Receipt:
        """The layers around this session."""
        ...

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """Run `code` in the session's `__main__`; names and files stay for the next call.

        A failed execution leaves memory and files as they were before it, unless `on_error="keep"`: then what it did
        stays, though the memory of a process that has ended is that of before. A program that fails is data in the
        `Execution`. Raises `SandboxUnavailable` when the wall itself broke, and when the session is lost, as after a
        program that goes on behind a forged end; `ConfigError`, before anything runs, when the session cannot be
        copied (a live CUDA context, no process left to fork) and would have to be.
        """
        ...

    def names(self) -> tuple[Name, ...]:
        """What the program has defined: names, types, short previews. It is no step."""
        ...

    @property
    def steps(self) -> int:
        """How many steps can be undone."""
        ...

    @property
    def undone(self) -> int:
        """How many steps can be redone."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Mark the present state, which is then kept beyond the last steps. Costs nothing before the next execution."""
        ...

    def rollback(self, to: Checkpoint) -> None:
        """Be in the state `to` again; `redo` leads back. Raises `ConfigError` when it is kept no longer."""
        ...

    def undo(self, n: int = 1) -> None:
        """Be where the session was `n` steps ago. Raises `ConfigError` when so many cannot be undone."""
        ...

    def redo(self, n: int = 1) -> None:
        """Take back what `undo` or `rollback` did. A new step makes that impossible. Raises `ConfigError`."""
        ...

    def branch(self, n: int = 1) -> Sequence[Branch]:
        """Grow `n` sessions from the present state, that can run at the same time and cannot see, signal or touch one
        another. Until one is adopted or all are closed, this session stands still."""
        ...

    def changes(self) -> Changes:
        """What the session did to its view of the folder, copied out; the user's folder is untouched."""
        ...

    def on_close(self, then: Callable[[], None]) -> None:
        """Have `then` called once the session has been closed."""
        ...

    def cancel(self) -> None:
        """Kill what runs, now, from any thread; the `execute` in progress returns with status `killed`."""
        ...

    def close(self) -> None:
        """End the session and every process in it."""
        ...


class Branch(Session, Protocol):
    """A session that has grown from another one."""

    def adopt(self) -> None:
        """Have the session that it has grown from go on as this branch, one step further; the other branches are
        dropped, and this object is closed."""
        ...


class Sandbox(AbstractContextManager["Sandbox"], Protocol):
    """A warm wall that opens sessions, each fresh: no name, no file of one is seen by the next."""

    def open(self) -> Session:
        """A fresh session in a few milliseconds."""
        ...

    def close(self) -> None:
        """End the sandbox, its sessions and every process in them."""
        ...
