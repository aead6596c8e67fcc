"""How strong a wall a host allows. A tier is found out by building, never assumed, and never lowered silently.

`full`        namespaces, and a control group that holds memory and processes of a session together
`namespaces`  namespaces; memory is watched every 50 ms, processes are limited one by one
`landlock`    no namespaces (a default Docker container, a host that forbids them): Landlock and seccomp alone;
              a program is one process that can neither fork nor exec
"""

from __future__ import annotations

from typing import Literal

__all__ = ["TIERS", "Tier", "reaches"]

Tier = Literal["landlock", "namespaces", "full"]
TIERS: tuple[Tier, ...] = ("landlock", "namespaces", "full")
"""From the weakest to the strongest."""


def reaches(tier: Tier, minimum: Tier) -> bool:
    """Whether `tier` is `minimum` or stronger."""
    return TIERS.index(tier) >= TIERS.index(minimum)
