"""Errors of the agent, beside those of the sandbox (`ConfigError`, `SandboxUnavailable`).

    Fault
    ├── ModelUnavailable   the provider: no weights, no package, no network, a spent quota
    ├── ModelRejected      the provider refused this request: too long, malformed, filtered
    └── RunFailed          only from `RunResult.raise_for_failure()`

Failing generated code, unparsable replies and a spent budget are data, not errors.
"""

from __future__ import annotations

from sandbox.errors import ConfigError, Fault, SandboxUnavailable

__all__ = ["ConfigError", "Fault", "ModelRejected", "ModelUnavailable", "RunFailed", "SandboxUnavailable"]


class ModelUnavailable(Fault, RuntimeError):
    """The model cannot be reached or loaded."""


class ModelRejected(Fault, RuntimeError):
    """The model is there, but refused this request."""


class RunFailed(Fault, RuntimeError):
    """The task was not solved."""
