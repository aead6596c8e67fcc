"""What checks are made with: sessions of the sandbox under test, over folders that are all alike."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

from ..execution import Execution
from ..policy import Policy
from ..session import Sandbox, Session

__all__ = ["Bench", "Capability", "Check", "NotHere", "Opener", "check", "value"]

Capability = Literal["system", "processes", "threads", "packages", "copies", "branches"]
"""What not every kind of sandbox can do. `system`: programs import any module, `os` and `ctypes` with all that is in
them. `processes`: they start others. `threads`: they start threads. `packages`: they import what is installed.
`copies`: the memory of a process that has ended is still there. `branches`: sessions grow branches."""
_FILES = {"a.txt": "hello\n", "naïve ☃.txt": "ünï\n", "sub/b.csv": "x,y\n1,2\n"}
_PRIVATE = "private.txt"
_ROOMY: Mapping[str, Any] = {"wall_seconds": 30, "memory_bytes": 512 << 20}


class Opener(Protocol):
    """Opens the sandbox under test, as `open_sandbox` does for a kind of its own."""

    def __call__(
        self, *, workspace: Path | None = None, policy: Policy | None = None, inputs: Sequence[Path] = ()
    ) -> Sandbox: ...


class NotHere(Exception):
    """A check cannot be made here, which says nothing about the sandbox; the text says why."""


class Bench:
    """Opens sessions of the sandbox under test. Sandboxes stay warm; closing the bench ends them and removes all."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._stack = ExitStack()
        self._place = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="contract-")))
        self._numbers = count()
        self._shared = self.folder()
        self._warm: dict[str, Sandbox] = {}

    def folder(self) -> Path:
        """A new folder of the user's, in which a file and a folder are closed to others."""
        folder = self._place / f"work {next(self._numbers)}"
        for name, text in _FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / _PRIVATE).write_text("mine\n")
        (folder / _PRIVATE).chmod(0o600)
        (folder / "sub").chmod(0o700)
        return folder

    def sandbox(self, workspace: Path | None = None, *, inputs: Sequence[Path] = (), **limits: Any) -> Sandbox:
        """A sandbox that the caller closes."""
        return self._open(workspace=workspace, policy=Policy(**{**_ROOMY, **limits}), inputs=inputs)

    def session(self, **limits: Any) -> Session:
        """A fresh session over a folder like `folder()` that nobody applies changes to, in a warm sandbox."""
        key = json.dumps(limits, sort_keys=True)
        if key not in self._warm:
            self._warm[key] = self._stack.enter_context(self.sandbox(self._shared, **limits))
        return self._warm[key].open()

    @contextmanager
    def session_over(self, folder: Path, **options: Any) -> Generator[Session]:
        """A session over `folder` in a sandbox of its own."""
        with self.sandbox(folder, **options) as sandbox, sandbox.open() as session:
            yield session

    def close(self) -> None:
        """End every sandbox, and remove the folders."""
        self._stack.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the contract. Calling it raises `AssertionError` where it is broken, `NotHere` where it cannot be
    told."""

    name: str
    promise: str
    """In one sentence."""
    act: Callable[[Bench], None]
    needs: frozenset[Capability]

    def __call__(self, bench: Bench) -> None:
        self.act(bench)

    def lacks(self, without: Mapping[Capability, str]) -> str:
        """Why a sandbox that is `without` some capabilities need not keep this, or an empty string."""
        return next((why for capability, why in without.items() if capability in self.needs), "")


def check(*needs: Capability) -> Callable[[Callable[[Bench], None]], Check]:
    """Make a function a check, with its docstring for the promise."""
    return lambda act: Check(act.__name__, (act.__doc__ or "").strip(), act, frozenset(needs))


def value(session: Session, code: str, **options: Any) -> str | None:
    """What an execution that must succeed gives."""
    run: Execution = session.execute(code, **options)
    assert run.ok, run
    return run.value
