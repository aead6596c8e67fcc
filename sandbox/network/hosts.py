"""Hosts by name and port, each in one spelling, so that they can be compared."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ["Host"]

_WHOLE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@%\\\[\]]+)(?::([0-9]{1,5}))?\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"[0-9]+\Z|0x[0-9a-f]*\Z")
_MOST_CHARS = 253


class Host(NamedTuple):
    """A port of a host. `name` is in lower case and in its ASCII form (RFC 5891), or an address as RFC 5952 has it."""

    name: str
    port: int

    @classmethod
    def parse(cls, text: str, port: int | None = None) -> Host:
        """`NAME:PORT`, or `NAME` alone where `port` says which one is meant. Raises `ValueError`, which says why not.

        An address counts as a name when it is written in the one usual way: not `0x7f.1`, not `2130706433`.
        """
        found = _WHOLE.match(text)
        if found is None:
            raise ValueError("is not a host and a port, such as api.example.com:443")
        number = int(found[2]) if found[2] else port
        if number is None:
            raise ValueError("names no port")
        if not 0 < number < 65536:
            raise ValueError("names no port that there is")
        return cls(_spelled(found[1]), number)

    @property
    def is_address(self) -> bool:
        """Whether `name` is an address."""
        return ":" in self.name or self.name.rpartition(".")[2].isdigit()

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def _spelled(name: str) -> str:
    """The one spelling of a name or an address. Raises `ValueError`."""
    if name.startswith("["):
        return _address(IPv6Address, name[1:-1])
    name = (name if name.isascii() else _to_ascii(name)).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):  # whatever ends in a number, some reader takes for an address (WHATWG URL, 3.5)
        return _address(IPv4Address, name)
    if len(name) > _MOST_CHARS or not all(map(_LABEL.match, labels)):
        raise ValueError("is not the name of one host (there are no wildcards)")
    return name


def _address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> str:
    try:
        return kind(text).compressed
    except ValueError:
        raise ValueError("is not an address as it is usually written") from None


def _to_ascii(name: str) -> str:
    import idna  # its tables take time to load, and few names need them

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"is not an internationalised name: {error}") from None
