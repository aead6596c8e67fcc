"""What modules ask to be called around a fork (os.register_at_fork), kept out of the forks that start a session.

Nothing that these hooks mend can be broken there: the zygote and pid 1 have one thread and hold no locks. They would
take a third of the time that a fresh interpreter takes. The program's own forks need them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["defer", "register"]

_Hooks = dict[str, Callable[[], object]]
_deferred: list[_Hooks] = []
_register = os.register_at_fork


def defer() -> None:
    """Only keep the hooks of the modules that are imported from now on."""
    os.register_at_fork = _keep


def _keep(**hooks: Callable[[], object]) -> None:
    _deferred.append(hooks)


def register() -> None:
    """Register the hooks that were kept."""
    os.register_at_fork = _register
    for hooks in _deferred:
        _register(**hooks)
    _deferred.clear()
