"""Opens sessions, each in a container of its own, the next of which is started ahead."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError, SandboxUnavailable
from ..execution import Receipt
from ..jail.launch import gather
from ..jail.view import checked_folder
from ..jail.walls import WATCHED, require
from ..policy import Policy
from ..scratch import Scratch
from ..tiers import Tier, reaches
from ..worker.wire import ProtocolError
from . import answers
from .container import LAYERS, Container, sweep
from .daemon import Daemon, connect
from .folder import send_folder
from .image import Image, find_image
from .session import PATIENCE, DockerSession, Place

__all__ = ["Docker"]

_OURS = ("cpus", "read_only", "packages", "allow_hosts", "minimum_tier")
"""Fields of a policy that are not for the jail in the container."""
_TEXTS = 72
"""Bytes that a frame may have for each character of a value: it and four texts of an error, each character written as
two escapes at worst."""
_ROOM = 1 << 20
_STRONG = "runsc"
_ENDING = 10.0
"""Seconds for a container to be gone."""


class _Ready(NamedTuple):
    """A container in which a jail is warm, and what its receipt says."""

    container: Container
    receipt: Receipt


class Docker:
    """A warm container over one folder: `open()` sends the folder there. Use it as a context manager."""

    def __init__(
        self,
        *,
        workspace: str | Path | None = None,
        policy: Policy | None = None,
        inputs: Sequence[Path] = (),
        store: Path | None = None,
        ahead: bool = True,
        notes: Sequence[str] = (),
    ) -> None:
        """`notes` are for its receipts, beside its own; the rest is that of `open_sandbox`."""
        self._policy = policy or Policy()
        _require_possible(self._policy)
        self._folder = checked_folder(workspace)
        self._scratch = Scratch()
        self._maker = ThreadPoolExecutor(1, "sandsmith-docker")
        self._ahead, self._opened, self._closed = ahead, 0, False
        self._sessions: list[DockerSession] = []
        self._containers: list[Container] = []
        self._spare: Future[_Ready] | None = None
        self._daemon: Daemon | None = None
        self._lock = threading.Lock()
        self._notes = [*notes]
        try:
            self._keep, self._store = store is not None, store or self._scratch.path / "changes"
            self._inputs = gather(inputs, self._scratch.path / "inputs", None)
            self._daemon = connect()
            sweep(self._daemon)
            self._image = find_image(self._daemon)
            self._runtime = _STRONG if _STRONG in self._daemon.runtimes else None
            self._spare = self._maker.submit(self._make)
            self._spare.result()
        except BaseException:
            self.close()
            raise

    @property
    def image(self) -> Image:
        """What the containers are made of."""
        return self._image

    def open(self) -> DockerSession:
        """A fresh session in a container of its own. Raises `SandboxUnavailable`."""
        with self._lock:
            if self._closed:
                raise ConfigError("the sandbox is closed")
            ready = self._waiting() or self._make()
            number, self._opened = self._opened, self._opened + 1
            store = self._store.with_name(f"{self._store.name}-{number}") if number else self._store
            try:
                session = self._begun(ready, store)
            except BaseException:
                ready.container.close()
                raise
            self._sessions = [*(s for s in self._sessions if not s.closed), session]
            return session

    def _begun(self, ready: _Ready, store: Path) -> DockerSession:
        """The session in a container, once the folder is there."""
        link = ready.container.link
        place = Place(link, self._policy, self._folder, self._inputs, store, keep=self._keep)
        send_folder(link, self._folder, self._inputs, self._policy)
        link.call("begin", PATIENCE)
        return DockerSession(place, ready.receipt, 0, self._make_next)

    def _make_next(self) -> None:
        """Have a container started in advance."""
        with self._lock:
            if self._ahead and not self._closed and self._spare is None:
                self._spare = self._maker.submit(self._make)

    def _waiting(self) -> _Ready | None:
        """The container that was started in advance, if there is one and it runs."""
        spare, self._spare = self._spare, None
        with suppress(SandboxUnavailable, OSError):  # making one anew tells why
            if spare is not None and not (ready := spare.result()).container.link.lost:
                return ready
        return None

    def _make(self) -> _Ready:
        """A container with a warm jail, by the stronger runtime if that can hold one. Raises `SandboxUnavailable`."""
        if self._runtime is None:
            return self._made(None)
        try:
            return self._made(self._runtime)
        except SandboxUnavailable as error:
            ready = self._made(None)
            self._runtime = None
            self._notes.append(f"the runtime {_STRONG} is offered, and no jail can be built in it: {error}")
            return ready._replace(receipt=self._receipt(ready.container, ready.receipt))

    def _made(self, runtime: str | None) -> _Ready:
        assert self._daemon is not None
        policy = self._policy
        reader = {
            "limit": max(policy.display_bytes * 4 // 3, _TEXTS * policy.value_chars) + _ROOM,
            "items": 8 * policy.value_chars + _ROOM,
        }
        container = Container(self._daemon, self._image.id, policy, runtime, reader)
        self._containers = [*(one for one in self._containers if not one.link.wait(0)), container]
        try:
            answer = container.link.call("start", PATIENCE, policy=_inner(policy))
            inside = Receipt("jail", answers.tier(answer.get("tier")), answers.lines(answer.get("layers")))
            require(policy.minimum_tier, _tier(inside.tier), "no namespaces can be made in the container")
            return _Ready(container, self._receipt(container, inside, *answers.lines(answer.get("notes"))))
        except ProtocolError as error:
            container.close()
            raise SandboxUnavailable(f"the container broke the protocol: {error}") from None
        except BaseException:
            container.close()
            raise

    def _receipt(self, container: Container, inside: Receipt, *notes: str) -> Receipt:
        """What the wall in the container is made of, and what the container adds."""
        assert self._daemon is not None
        by = f"docker {self._daemon.version}, runtime {self._runtime or 'default'}, image {self._image.id[7:19]}"
        added = () if LAYERS[0] in inside.layers else (*LAYERS, by)
        said = (*self._notes, *container.notes, *notes, *inside.notes)
        kept = tuple(note for note in said if note != WATCHED)
        return Receipt("docker", _tier(inside.tier), (*inside.layers, *added), tuple(dict.fromkeys(kept)))

    def close(self) -> None:
        """End every session and container, and remove what this sandbox kept. Safe to call twice."""
        with self._lock:
            self._closed = True
            if ready := self._waiting():
                ready.container.close()
        self._maker.shutdown()
        for session in self._sessions:
            session.close()
        for container in self._containers:
            container.link.wait(_ENDING)
        if self._daemon is not None:
            self._daemon.close()
        self._scratch.close()

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _tier(inside: Tier | None) -> Tier:
    """Of both walls together: the container's control group holds memory and processes of its one session."""
    return "full" if inside is not None and reaches(inside, "namespaces") else "landlock"


def _inner(policy: Policy) -> dict[str, Any]:
    """The policy of the jail in the container, as plain data."""
    values = {item.name: getattr(policy, item.name) for item in fields(policy) if item.name not in _OURS}
    return {**values, "env": dict(policy.env)}


def _require_possible(policy: Policy) -> None:
    """Raises `ConfigError` for what a container without network and without the host's folders cannot give."""
    if policy.allow_hosts:
        raise ConfigError("a container has no network, so no host can be allowed", hint="use the jail: --sandbox jail")
    if policy.read_only:
        raise ConfigError("no folder of the host is shown in a container", hint="use the jail: --sandbox jail")
    if policy.packages is not None:
        raise ConfigError(
            "a container has the packages of its image and no others",
            hint="sandsmith image build --packages NAME,... makes an image with them; or use the jail",
        )
