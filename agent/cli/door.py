"""What commands tell the boundary, and the exit codes that it ends with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAILED", "INTERNAL", "OK", "UNAVAILABLE", "USAGE", "Door"]

OK, FAILED, USAGE, UNAVAILABLE, INTERNAL = 0, 1, 2, 3, 70


@dataclass(slots=True)
class Door:
    """What a command tells the boundary while it runs (click's `obj`)."""

    verbose: bool = False
    trace: Path | None = None
    """Where the trace of the run in progress is."""
    abandoned: bool = False
    """Whether a thread may be stuck in foreign code: then the process ends without waiting for it."""
