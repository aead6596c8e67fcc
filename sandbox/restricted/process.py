"""Restricted Python where there are no jails: a process that can be killed, and no wall around it.

What holds is the language and the limits of a process, nothing else; the receipt says so. A program may read the folder
and write nowhere, so that there are no changes. Going back means a fresh process in which the earlier steps are run
again. Code of the caller's own (`OwnCode`) is refused: there is nothing that would hold it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import claims
from ..changes import Changes
from ..errors import ConfigError, SandboxUnavailable
from ..execution import Execution, Name, Receipt
from ..policy import Policy
from ..session import Branch, Checkpoint, OnError, OwnCode
from ..worker import wire
from .requirements import folders, require_usable

__all__ = ["Unwalled", "UnwalledSession"]

_RECEIPT = Receipt(
    "restricted",
    None,
    ("language-policy", "process"),
    (
        "no wall: on this system only the language policy and the limits of a process hold; whoever gets past the "
        "language can do what you can",
        "programs can read the folder and write nowhere",
        "limits on memory, output and time are those of one process, and watched by itself and by its parent",
    ),
)
_WAY_OUT = "use Linux, or the sandbox docker"
_START_SECONDS = 30.0
_FEW_BYTES = 1 << 20


class Unwalled:
    """Opens sessions. See `sandbox.Sandbox` for the contract."""

    def __init__(
        self,
        *,
        workspace: str | Path | None = None,
        policy: Policy | None = None,
        inputs: Sequence[Path] = (),
        store: Path | None = None,
        ahead: bool = True,
    ) -> None:
        self._policy = policy or Policy()
        require_usable(self._policy)
        if self._policy.minimum_tier != "landlock":
            raise SandboxUnavailable(
                f"the tier {self._policy.minimum_tier} is demanded, and on this system there is no wall at all",
                hint=_WAY_OUT,
            )
        self._empty = tempfile.TemporaryDirectory(prefix="sandsmith-")  # Scratch needs locks that Windows lacks
        folder = Path(workspace).expanduser().absolute() if workspace is not None else None
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder")
        self._shown = folder or Path(self._empty.name)
        self._folder, self._inputs = folder, {path.name: str(path.absolute()) for path in inputs}
        self._sessions: list[UnwalledSession] = []

    def open(self) -> UnwalledSession:
        """A fresh session."""
        config = {
            "folder": str(self._shown),
            "inputs": self._inputs,
            **{n: getattr(self._policy, n) for n in ("cpu_seconds", "memory_bytes", "output_bytes", "value_chars")},
        }
        session = UnwalledSession(self._policy, config, Changes(self._folder, Path(self._empty.name), ()))
        self._sessions.append(session)
        return session

    def close(self) -> None:
        """End every session."""
        for session in self._sessions:
            session.close()
        self._empty.cleanup()

    def __enter__(self) -> Unwalled:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class UnwalledSession:
    """One session. See `sandbox.Session` for the contract."""

    def __init__(self, policy: Policy, config: dict[str, Any], changes: Changes) -> None:
        self._policy, self._config, self._changes = policy, config, changes
        self._lock = threading.RLock()
        self._done: list[tuple[str, str]] = []
        """The steps that hold, with the status of each."""
        self._later: list[tuple[str, str]] = []
        self._cause = ""
        self._closed = False
        self._at_end: list[Callable[[], None]] = []
        self._process = self._start()

    @property
    def receipt(self) -> Receipt:
        """What holds, and what does not."""
        return _RECEIPT

    def execute(self, code: str, *, on_error: OnError = "rollback", wall_seconds: float | None = None) -> Execution:
        """See `sandbox.Session.execute`. Raises `ConfigError` for code of the caller's own."""
        if isinstance(code, OwnCode):
            raise ConfigError("without a wall only restricted programs are run", hint=_WAY_OUT)
        if len(code.encode("utf-8", "surrogatepass")) > self._policy.source_bytes:
            raise ConfigError(f"the program is over the limit of {self._policy.source_bytes} bytes")
        with self._in_use():
            execution = self._execute(code, wall_seconds or self._policy.wall_seconds)
            if execution.ok or (on_error == "keep" and self._process.poll() is None):
                self._done.append((code, execution.status))
                self._later.clear()
            else:
                self._go_to(len(self._done))
            return execution

    def names(self) -> tuple[Name, ...]:
        """See `sandbox.Session.names`."""
        with self._in_use():
            return claims.names((self._ask({"op": "names"}, _START_SECONDS) or {}).get("names"))

    @property
    def steps(self) -> int:
        """See `sandbox.Session.steps`."""
        return len(self._done)

    @property
    def undone(self) -> int:
        """See `sandbox.Session.undone`."""
        return len(self._later)

    def checkpoint(self) -> Checkpoint:
        """See `sandbox.Session.checkpoint`."""
        return Checkpoint(len(self._done))

    def rollback(self, to: Checkpoint) -> None:
        """See `sandbox.Session.rollback`."""
        if to.id > len(self._done) + len(self._later):
            raise ConfigError("the checkpoint is gone")
        with self._in_use():
            self._go_to(to.id)

    def undo(self, n: int = 1) -> None:
        """See `sandbox.Session.undo`."""
        if not 1 <= n <= len(self._done):
            raise ConfigError(f"{n} steps cannot be undone: there are {len(self._done)}")
        with self._in_use():
            self._go_to(len(self._done) - n)

    def redo(self, n: int = 1) -> None:
        """See `sandbox.Session.redo`."""
        if not 1 <= n <= len(self._later):
            raise ConfigError(f"{n} steps cannot be redone: there are {len(self._later)}")
        with self._in_use():
            self._go_to(len(self._done) + n)

    def branch(self, n: int = 1) -> Sequence[Branch]:
        """Raises `ConfigError`: nothing would hold branches apart."""
        raise ConfigError("there are no branches where there is no wall", hint="use checkpoint and rollback")

    def changes(self) -> Changes:
        """None, since programs write nowhere."""
        return self._changes

    def on_close(self, then: Callable[[], None]) -> None:
        """See `sandbox.Session.on_close`."""
        self._at_end.append(then)

    def cancel(self) -> None:
        """See `sandbox.Session.cancel`."""
        self._kill("cancelled")

    def close(self) -> None:
        """See `sandbox.Session.close`."""
        if not self._closed:
            self._closed = True
            self._kill("closed")
            self._wait()
            for then in self._at_end:
                then()

    def __enter__(self) -> UnwalledSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- the process -----------------------------------------------------------------------------------------------

    @contextmanager
    def _in_use(self) -> Generator[None]:
        with self._lock:
            if self._closed:
                raise ConfigError("the session is closed")
            yield

    def _start(self) -> subprocess.Popen[bytes]:
        """A fresh process. Raises `SandboxUnavailable`."""
        package = str(Path(__file__).parent.parent)
        source = (
            f"import sys; sys.path[:0] = {[package, *folders()]!r}\nfrom worker import evidence\n"
            "from inside import alone\ndel sys.path[:3]\nalone.main(evidence)"
        )
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", source]
        self._cause = ""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
        if self._ask(self._config, _START_SECONDS) is None:
            raise SandboxUnavailable("the process of the restricted sandbox could not be started")
        return self._process

    def _execute(self, code: str, wall_seconds: float) -> Execution:
        began = time.monotonic()
        claim = self._ask({"op": "execute", "code": code}, wall_seconds) or {}
        if not claim:
            self._wait()
        limit, cause = self._policy.value_chars, self._cause or str(claim.get("cause", "died"))
        ended: dict[str, Any] = _ENDED.get(cause, {"status": "ok"})
        error, code_of_exit = claims.problem(claim.get("error"), limit), claims.exit_code(claim.get("exit_code"))
        if cause == "result" and (error or code_of_exit):
            ended = {"status": "error"}
        return Execution(
            **ended,
            stdout=claims.text(claim.get("stdout"), self._policy.output_bytes) or "",
            stderr=claims.text(claim.get("stderr"), self._policy.output_bytes) or "",
            value=claims.text(claim.get("value"), limit),
            error=error,
            exit_code=code_of_exit,
            seconds=time.monotonic() - began,
            truncated=cause == "output",
            receipt=_RECEIPT,
        )

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer of the process; None when it has none in time or has ended, and then it has been killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(seconds, self._kill, ("wall",))
        timer.daemon = True
        timer.start()
        most = 8 * (self._policy.output_bytes + 4 * self._policy.value_chars) + _FEW_BYTES
        line = b""
        with suppress(OSError):
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline(most)
        timer.cancel()
        try:
            return wire.decode(line) if line.endswith(b"\n") else None
        except wire.ProtocolError:
            return None
        finally:
            if not line.endswith(b"\n"):
                self._kill("died")

    def _kill(self, cause: str) -> None:
        self._cause = self._cause or (cause if self._process.poll() is None else "")
        self._process.kill()

    def _wait(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def _go_to(self, number: int) -> None:
        """Be where the first `number` of all known steps lead to. Raises `SandboxUnavailable` when they do not."""
        line = [*self._done, *self._later]
        self._kill("replaced")
        self._wait()
        self._process = self._start()
        for code, status in line[:number]:
            if self._execute(code, self._policy.wall_seconds).status != status:
                raise SandboxUnavailable("an earlier execution, run again, ended in another way")
        self._done, self._later = line[:number], line[number:]


def _environment() -> dict[str, str]:
    """What a Python needs to start, and nothing else is inherited."""
    return {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


_ENDED: dict[str, dict[str, Any]] = {
    "wall": {"status": "timeout", "limit": "wall"},
    "output": {"status": "output", "limit": "output"},
    "cancelled": {"status": "killed"},
    "died": {"status": "killed"},
}
