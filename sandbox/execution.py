"""What came of one execution."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .tiers import Tier

__all__ = ["Display", "Execution", "Name", "Problem", "Receipt", "Request", "Status"]

Status = Literal["ok", "error", "timeout", "memory", "output", "killed"]
Limit = Literal["wall", "cpu", "memory", "processes", "output", "disk", "files"]


@dataclass(frozen=True, slots=True)
class Problem:
    """The exception that ended a program, as the worker reports it (so: as the program may have forged it)."""

    type: str
    message: str
    line: int | None = None
    """1-based line of the program that was running, if any."""
    source: str = ""
    """That line's text."""
    traceback: str = ""
    """The program's own frames only."""
    notes: tuple[str, ...] = ()
    """Evidence gathered where it is: values of a few locals, real columns, keys, files, close names."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the program has defined, as the worker reports it (so: as the program may have forged it)."""

    name: str
    type: str
    """Name of the type, for example `DataFrame`."""
    preview: str = ""
    """A short `repr`, or the shape of what is large; empty for objects of the program's own classes."""


@dataclass(frozen=True, slots=True)
class Display:
    """A figure, as bytes of a known type (`image/png`) within the policy's caps; never decoded by the host."""

    mime: str
    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the proxy of a session, as the proxy saw it; what the program wrote of it is made harmless."""

    at: float
    """Seconds since the execution began."""
    method: str
    """`CONNECT`, `GET`, ...; empty when what came was no request."""
    host: str
    port: int
    address: str = ""
    """The address that was connected to, or tried last; empty for none."""
    outcome: Literal["allowed", "refused", "failed"] = "refused"
    """`failed`: it was allowed, and the host could not be reached."""
    reason: str = ""
    """Why it was refused, failed or was cut."""
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": round(self.at, 4), "seconds": round(self.seconds, 4)}


@dataclass(frozen=True, slots=True)
class Receipt:
    """The layers that were active around an execution: what the wall was made of."""

    kind: str
    """`jail`, `restricted` or `docker`."""
    tier: Tier | None = None
    """How strong the wall is; None: there is none."""
    layers: tuple[str, ...] = ()
    """For example `user-namespace`, `seccomp`, `landlock-7`, `cgroup-v1`."""
    notes: tuple[str, ...] = ()
    """What did not hold on this host, in plain words."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The outcome of one execution. `status` and `limit` come from the kernel and the supervisor.

    Everything the program could have written itself (`stdout`, `stderr`, `value`, `error`, `displays`) is claimed,
    length-capped and free of control characters, but never trusted.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    """`repr` of the last expression, or None when there was none."""
    error: Problem | None = None
    displays: tuple[Display, ...] = ()
    seconds: float = 0.0
    """Wall-clock seconds."""
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    """Bytes: the largest resident set of one process, or of the cgroup where there is one."""
    exit_code: int | None = None
    """Exit code when the program ended its process by itself."""
    signal: int | None = None
    """Signal that ended the program's process, if one did."""
    limit: Limit | None = None
    """The limit that was hit, where one was."""
    truncated: bool = False
    """Whether output was cut."""
    requests: tuple[Request, ...] = ()
    """What was asked of the proxy meanwhile, refusals included, in order; empty where the policy allows no host."""
    notes: tuple[str, ...] = ()
    """What was left out of `displays`, and why: one line for each figure, a few at most."""
    receipt: Receipt = field(default_factory=lambda: Receipt("none"))

    @property
    def ok(self) -> bool:
        """Whether the program ran to its end."""
        return self.status == "ok"

    def to_json(self) -> dict[str, Any]:
        """The public JSON form (figures are named, not included)."""
        error = self.error
        return {
            "status": self.status,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "value": self.value,
            "error": None
            if error is None
            else {
                "type": error.type,
                "message": error.message,
                "line": error.line,
                "traceback": error.traceback,
                "notes": list(error.notes),
            },
            "displays": [{"mime": d.mime, "name": d.name, "bytes": len(d.data)} for d in self.displays],
            "seconds": round(self.seconds, 4),
            "cpu_seconds": round(self.cpu_seconds, 4),
            "peak_memory_bytes": self.peak_memory,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "limit": self.limit,
            "truncated": self.truncated,
            "requests": [request.to_json() for request in self.requests],
            "notes": list(self.notes),
            "receipt": {
                "kind": self.receipt.kind,
                "tier": self.receipt.tier,
                "layers": list(self.receipt.layers),
                "notes": list(self.receipt.notes),
            },
        }
