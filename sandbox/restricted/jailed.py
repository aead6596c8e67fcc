"""Restricted Python in a jail with few system calls. Linux only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..execution import Receipt
from ..jail import Jail
from ..policy import Policy
from .requirements import folders, require_usable

__all__ = ["Restricted"]


class Restricted(Jail):
    """A jail whose programs are of a restricted language. `options` are those of `Jail`.

    Raises `ConfigError` for what such programs cannot make use of: hosts, packages, modules to preload.
    """

    _few_calls = True

    def __init__(self, *, policy: Policy | None = None, **options: Any) -> None:
        self._first = _first()
        chosen = replace(policy or Policy(), site_packages=False)
        require_usable(chosen)
        super().__init__(policy=chosen, **options)

    @property
    def receipt(self) -> Receipt:
        """The layers around every session."""
        receipt = super().receipt
        return replace(receipt, kind="restricted", layers=("language-policy", "few-system-calls", *receipt.layers))


def _first() -> str:
    """What the warm process does first: load RestrictedPython and our policy, and have programs be of that language.
    The host only finds out where they lie. Raises `SandboxUnavailable`."""
    return (
        f"sys.path += {folders()!r}\nfrom inside import Restricted\ndel sys.path[-2:]\n"
        "from worker import runner\nrunner.speak(Restricted())"
    )
