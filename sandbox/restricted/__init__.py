"""Restricted Python: a language policy inside of a jail with few system calls, where there are jails.

Covered on Linux: what the jail covers, with `fork`, `exec`, threads and sockets denied as well; and before that a
language in which a program can name none of them. Elsewhere there is no wall: only the language, in a process that can
be killed, with its limits. The receipt and `sandsmith doctor` say so. See `docs/sandbox.md`.
"""

from __future__ import annotations

import sys
from typing import Any

from ..session import Sandbox

__all__ = ["open_restricted"]


def open_restricted(**options: Any) -> Sandbox:
    """Open a sandbox; options and errors as in `sandbox.open_sandbox`. Where there are jails there is nothing less."""
    if _is_walled():
        from .jailed import Restricted

        return Restricted(**options)
    from .process import Unwalled

    return Unwalled(**options)


def _is_walled() -> bool:
    """Whether this is a system for which there are jails, whatever this host allows."""
    return sys.platform == "linux"
