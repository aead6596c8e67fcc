"""Errors answer one question: whose fault is it?

    Fault                   base; carries a `hint`
    ├── ConfigError         the caller: a wrong argument, file or option
    └── SandboxUnavailable  the host: the wall cannot be built here, or it broke

A program that fails, is killed or runs out of anything is not an error: it is an `Execution` with a status.
"""

from __future__ import annotations

__all__ = ["ConfigError", "Fault", "SandboxUnavailable"]


class Fault(Exception):
    """Base of all errors of this project. `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(Fault, ValueError):
    """The caller asked for something that cannot be: a wrong value, a missing file, an unknown name."""


class SandboxUnavailable(Fault, RuntimeError):
    """The host cannot build the wall, or the wall itself broke. Never the program's fault."""
