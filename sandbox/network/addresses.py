"""Which addresses a program may be connected to: those of the public internet, and none that lead anywhere else.

Sources: the IANA registries of special-purpose addresses for IPv4 and IPv6, RFC 6052 (NAT64), RFC 4291.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["is_own", "why_refused"]

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# `is_global` of Python differs by version on some of these, and calls groups of multicast global.
_SPECIAL_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Protocol assignments, Teredo among them; documentation; 6to4, which hides an address of IPv4."""
_SPECIAL_4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
"""Protocol assignments; relays of 6to4; what a virtual machine on Azure asks for its own secrets."""


def why_refused(address: str) -> str:
    """Why no program may be connected to `address` (as `getaddrinfo` gives it); empty when it may."""
    try:
        return "" if _is_public(ip_address(address)) else f"{address} is not an address of the public internet"
    except ValueError:
        return "that is no address"


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in _SPECIAL_4)
    inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
    if inner is not None:
        return _is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global and not any(address in net for net in _SPECIAL_6)


def is_own(address: str) -> bool:
    """Whether `address` is this machine's: then a packet to it would come from it. None is sent. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return ip_address(probe.getsockname()[0]) == ip_address(address)
