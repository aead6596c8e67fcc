"""Landlock: what the file system rules say even where a mount would allow more.

Source: Linux `Documentation/userspace-api/landlock.rst`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Final

from .kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall

__all__ = ["abi", "restrict"]

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE_MAKERS: Final = (1 << 6) | (1 << 11)  # MAKE_CHAR, MAKE_BLOCK
_FILE_ONLY: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_NET: Final = 0b11  # BIND_TCP, CONNECT_TCP
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
    try:
        rule = struct.pack("=Qi", rights, fd)
        syscall("landlock_add_rule", ruleset, 1, rule, 0)
    finally:
        os.close(fd)


def restrict(writable: Sequence[str], writable_files: Sequence[str]) -> int:
    """Allow this process to read everything it can see and to write only below `writable`; no TCP, and neither
    signals nor abstract sockets out of the domain where the kernel can tell. Returns the ABI. Raises `OSError`."""
    version = abi()
    rights = _file_rights(version)
    attributes = struct.pack("QQQ", rights, _NET if version >= 4 else 0, _SCOPE if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall("landlock_create_ruleset", attributes, size, 0)
    try:
        _allow(ruleset, "/", _READ)
        for path in writable:
            _allow(ruleset, path, rights & ~_DEVICE_MAKERS)
        for path in writable_files:
            _allow(ruleset, path, rights & _FILE_ONLY)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return version
