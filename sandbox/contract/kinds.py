"""What our own kinds of sandbox cannot do by design; everything else that the contract promises, all of them do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..execution import Receipt
from .bench import Capability

__all__ = ["lacking"]

_RESTRICTED: Mapping[Capability, str] = MappingProxyType(
    {
        "system": "programs import chosen functions of chosen modules",
        "processes": "programs cannot fork",
        "threads": "programs cannot start threads",
        "packages": "programs import no packages",
    }
)
_LANDLOCK: Mapping[Capability, str] = MappingProxyType(
    {"processes": "programs cannot fork", "copies": "no frozen copy of a process can be made"}
)


def lacking(receipt: Receipt) -> Mapping[Capability, str]:
    """What sandboxes of this kind and tier cannot do, and why."""
    found: dict[Capability, str] = {}
    if receipt.kind == "restricted":
        found |= _RESTRICTED
    if receipt.tier == "landlock":
        found |= _LANDLOCK
    return found
