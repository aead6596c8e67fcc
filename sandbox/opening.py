"""The one way to open a sandbox, or a session of its own: which kind, and what builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import ConfigError, SandboxUnavailable
from .policy import Policy
from .session import Sandbox, Session

__all__ = ["KINDS", "choose_kind", "open_sandbox", "open_session"]


def _jail(**options: Any) -> Sandbox:
    from .jail import Jail

    return Jail(**options)


def _restricted(**options: Any) -> Sandbox:
    from .restricted import open_restricted

    return open_restricted(**options)


def _docker(**options: Any) -> Sandbox:
    from .docker import Docker

    return Docker(**options)


def _jail_or_docker(**options: Any) -> Sandbox:
    """The jail, or a container where no jail can be built. Raises `SandboxUnavailable` where neither can."""
    try:
        return _jail(**options)
    except SandboxUnavailable as error:
        refused = error
    try:
        return _docker(**options, notes=(f"in a container, for {refused}",))
    except (ConfigError, SandboxUnavailable) as error:
        raise SandboxUnavailable(
            f"{refused}; and no container can stand in: {error}",
            hint=f"{refused.hint}; or, for a container, {error.hint}; small programs run with --sandbox restricted",
        ) from None


_BUILDERS: Mapping[str, Callable[..., Sandbox]] = MappingProxyType(
    {"jail": _jail, "restricted": _restricted, "docker": _docker}
)
"""What builds a sandbox of each kind from the options of `open_sandbox`; each loads its own room when it is called."""
KINDS = tuple(_BUILDERS)


def choose_kind(asked: str | None = None) -> str:
    """The kind that was asked for, or else the one that is tried first. Raises `ConfigError` for an unknown kind."""
    kind = asked or "jail"
    if kind not in _BUILDERS:
        raise ConfigError(f"unknown sandbox {kind!r}", hint=f"the kinds are: {', '.join(KINDS)}")
    return kind


def open_sandbox(
    kind: str | None = None,
    *,
    workspace: str | Path | None = None,
    policy: Policy | None = None,
    inputs: Sequence[Path] = (),
    store: Path | None = None,
    ahead: bool = True,
) -> Sandbox:
    """Open a warm sandbox over `workspace` (None: an empty folder).

    `kind`: one of `KINDS` (None: the jail, or, where none can be built, a container where there is Docker).
    `inputs` are further files to show in the view, by their own names, when they lie outside the workspace.
    `store` is the folder in which change sets are kept (None: a temporary one, for as long as they are referred to and
    the sandbox is open). `ahead`: whether the next session is made once one has been used, so that opening it takes no
    time; it takes 4 MB while it waits.
    Raises `ConfigError` for an unknown kind or folder, `SandboxUnavailable` when this host cannot build the wall.
    """
    build = _jail_or_docker if kind is None else _BUILDERS[choose_kind(kind)]
    return build(workspace=workspace, policy=policy or Policy(), inputs=inputs, store=store, ahead=ahead)


def open_session(
    kind: str | None = None,
    *,
    workspace: str | Path | None = None,
    policy: Policy | None = None,
    inputs: Sequence[Path] = (),
    store: Path | None = None,
) -> Session:
    """Open one session in a sandbox of its own; arguments and errors as in `open_sandbox`."""
    sandbox = open_sandbox(kind, workspace=workspace, policy=policy, inputs=inputs, store=store, ahead=False)
    try:
        session = sandbox.open()
    except BaseException:
        sandbox.close()
        raise
    session.on_close(sandbox.close)
    return session
