"""Landlock: what the file system rules say even where a mount would allow more.

Source: Linux `Documentation/userspace-api/landlock.rst`.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from .kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall

__all__ = ["abi", "apart", "confine", "enter", "restrict", "rules"]

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE_MAKERS: Final = (1 << 6) | (1 << 11)  # MAKE_CHAR, MAKE_BLOCK
_FILE_ONLY: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_CONNECT_TCP: Final = 1 << 1
_NET: Final = 0b1 | _CONNECT_TCP  # BIND_TCP
_SCOPE: Final = 0b11  # ABSTRACT_UNIX_SOCKET, SIGNAL


def abi() -> int:
    """Version of Landlock that this kernel speaks, 0 for none."""
    try:
        return syscall("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def _file_rights(version: int) -> int:
    rights = (1 << 13) - 1
    if version >= 2:
        rights |= _REFER
    if version >= 3:
        rights |= _TRUNCATE
    if version >= 5:
        rights |= _IOCTL_DEV
    return rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= _FILE_ONLY
    try:
        rule = struct.pack("=Qi", rights, fd)
        syscall("landlock_add_rule", ruleset, 1, rule, 0)
    finally:
        os.close(fd)


def rules(writable: Sequence[str], writable_files: Sequence[str], port: int = 0) -> int:
    """A descriptor of the ruleset that allows to read everything a process can see and to write only below `writable`;
    no TCP but to `port`, and neither signals nor abstract sockets out of the domain where the kernel can tell. Raises
    `OSError`."""
    return _ruleset({"/": _READ}, (*writable, *writable_files), _DEVICE_MAKERS, port)


def restrict(writable: Sequence[str], writable_files: Sequence[str], port: int = 0) -> None:
    """Have this process and all it will start live by `rules`. Raises `OSError`."""
    enter(rules(writable, writable_files, port))


def confine(readable: Sequence[str], writable: Sequence[str]) -> None:
    """As `restrict`, with nothing readable but what is `readable` or writable, and nothing executable at all."""
    enter(_ruleset(dict.fromkeys(readable, _READ & ~_EXECUTE), writable, _DEVICE_MAKERS | _EXECUTE))


def enter(ruleset: int) -> None:
    """Have this process and all it will start live by the ruleset of a descriptor, and close that. Raises `OSError`."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscall("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)


def apart() -> int:
    """A descriptor of a ruleset that forbids nothing new but keeps who enters it apart from who does not: no signals,
    no abstract sockets (where the kernel can tell), no tracing and no look at the other's memory. Raises `OSError`."""
    version = abi()
    rights = _REFER if version >= 2 else 1 << 11  # moving between folders is denied unless a ruleset allows it
    attributes = struct.pack("QQQ", rights, 0, _SCOPE if version >= 6 else 0)
    ruleset = syscall("landlock_create_ruleset", attributes, 24 if version >= 6 else 8, 0)
    if version >= 2:
        _allow(ruleset, "/", rights)
    return ruleset


def _ruleset(readable: Mapping[str, int], writable: Sequence[str], never: int, port: int = 0) -> int:
    version = abi()
    rights = _file_rights(version)
    attributes = struct.pack("QQQ", rights, _NET if version >= 4 else 0, _SCOPE if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall("landlock_create_ruleset", attributes, size, 0)
    for path, reading in readable.items():
        _allow(ruleset, path, reading)
    for path in writable:
        _allow(ruleset, path, rights & ~never)
    if port and version >= 4:
        syscall("landlock_add_rule", ruleset, 2, struct.pack("QQ", _CONNECT_TCP, port), 0)
    return ruleset
