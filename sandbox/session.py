"""The contract every backend keeps, and the one way to open a session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from .changes import Changes
from .errors import ConfigError
from .execution import Execution, Receipt
from .policy import Policy

__all__ = ["OnError", "Sandbox", "Session", "open_sandbox", "open_session"]

OnError = Literal["rollback", "keep"]


class Session(AbstractContextManager["Session"], Protocol):
    """A live interpreter behind its wall, with a copy-on-write view of a folder as its working directory."""

    @property
    def receipt(self) -> Receipt:
        """The layers around this session."""
        ...

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """Run `code` in the session's `__main__`; names and files stay for the next call.

        A failed execution leaves memory and files as they were before it, unless `on_error="keep"`. A program that
        fails is data in the `Execution`. Raises `SandboxUnavailable` when the wall itself broke.
        """
        ...

    def changes(self) -> Changes:
        """What the session did to its view of the folder, copied out; the user's folder is untouched."""
        ...

    def cancel(self) -> None:
        """Kill what runs, now, from any thread; the `execute` in progress returns with status `killed`."""
        ...

    def close(self) -> None:
        """End the session and every process in it."""
        ...


class Sandbox(AbstractContextManager["Sandbox"], Protocol):
    """A warm wall that opens sessions, each fresh: no name, no file of one is seen by the next."""

    def open(self) -> Session:
        """A fresh session in a few milliseconds."""
        ...

    def close(self) -> None:
        """End the sandbox, its sessions and every process in them."""
        ...


def open_sandbox(
    kind: str = "jail",
    *,
    workspace: str | Path | None = None,
    policy: Policy | None = None,
    inputs: Sequence[Path] = (),
    store: Path | None = None,
) -> Sandbox:
    """Open a warm sandbox over `workspace` (None: an empty folder).

    `inputs` are further files to show in the view, by their own names, when they lie outside the workspace.
    `store` is the folder in which change sets are kept (None: a temporary one, removed on close).
    Raises `ConfigError` for an unknown kind or folder, `SandboxUnavailable` when this host cannot build the wall.
    """
    if kind != "jail":
        raise ConfigError(f"unknown sandbox {kind!r}", hint="the kinds are: jail")
    from .jail import Jail

    return Jail(workspace=workspace, policy=policy or Policy(), inputs=inputs, store=store)


def open_session(
    kind: str = "jail",
    *,
    workspace: str | Path | None = None,
    policy: Policy | None = None,
    inputs: Sequence[Path] = (),
    store: Path | None = None,
) -> Session:
    """Open one session in a sandbox of its own; arguments and errors as in `open_sandbox`."""
    sandbox = open_sandbox(kind, workspace=workspace, policy=policy, inputs=inputs, store=store)
    try:
        session = sandbox.open()
    except BaseException:
        sandbox.close()
        raise
    return _Owning(sandbox, session)


class _Owning:
    """A session that closes its sandbox with itself."""

    def __init__(self, sandbox: Sandbox, session: Session) -> None:
        self._sandbox, self._session = sandbox, session

    @property
    def receipt(self) -> Receipt:
        return self._session.receipt

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        return self._session.execute(code, on_error=on_error, wall_seconds=wall_seconds)

    def changes(self) -> Changes:
        return self._session.changes()

    def cancel(self) -> None:
        self._session.cancel()

    def close(self) -> None:
        try:
            self._session.close()
        finally:
            self._sandbox.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
