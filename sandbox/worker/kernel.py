"""System calls that Python's standard library does not wrap, by ctypes.

Every wrapper raises `OSError` with the call's name when the kernel refuses. Numbers are those of the generic table
where x86-64 and aarch64 agree, and come from `syscalls.py` where they do not. Sources: the man pages of section 2,
Linux `include/uapi`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final

from .syscalls import number

__all__ = [
    "AT_EMPTY_PATH",
    "AT_RECURSIVE",
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MOUNT_ATTR_IDMAP",
    "MOUNT_ATTR_NODEV",
    "MOUNT_ATTR_NOSUID",
    "MOUNT_ATTR_RDONLY",
    "MS_NOATIME",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_REC",
    "clone_tree",
    "close_from",
    "drop_bounding_set",
    "drop_capabilities",
    "mount",
    "mount_setattr",
    "move_mount",
    "pivot_root",
    "prctl",
    "setns",
    "syscall",
    "umount",
    "unshare",
]

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_NOATIME: Final = 0x400
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 2

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_IDMAP: Final = 0x00100000

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(name: str, *args: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call `name` with integer, bytes or buffer arguments. Raises `OSError`."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result: int = _libc.syscall(ctypes.c_long(number(name)), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2)"""
    syscall("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """setns(2)"""
    syscall("setns", fd, kind)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2)"""
    syscall("mount", source.encode(), os.fsencode(target), kind.encode(), flags, os.fsencode(options) or None)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), detaching by default."""
    syscall("umount2", os.fsencode(target), flags)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)"""
    syscall("pivot_root", os.fsencode(new), os.fsencode(old))


def clone_tree(path: str) -> int:
    """A descriptor of a detached copy of the mount tree at `path` (open_tree(2))."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    return syscall("open_tree", AT_FDCWD, os.fsencode(path), flags)


def mount_setattr(fd: int, attributes: int, userns_fd: int = 0) -> None:
    """Set attributes on the whole detached tree `fd` (mount_setattr(2)); `userns_fd` goes with MOUNT_ATTR_IDMAP."""
    attr = struct.pack("QQQQ", attributes, 0, 0, userns_fd)
    syscall("mount_setattr", fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, attr, len(attr))


def move_mount(fd: int, target: str) -> None:
    """Attach the detached tree `fd` at `target` (move_mount(2))."""
    syscall("move_mount", fd, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)"""
    return syscall("prctl", option, a, b, c, d)


def drop_bounding_set() -> None:
    """Empty the set of capabilities that this process and all it will start may ever gain by exec (capabilities(7))."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:  # past the last capability this kernel knows
                raise
            break


def drop_capabilities(*, ambient: bool = True) -> None:
    """Empty the permitted, effective, inheritable and, where there can be any, ambient capabilities of this process."""
    if ambient:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    version_3 = struct.pack("Ii", 0x20080522, 0)
    syscall("capset", ctypes.create_string_buffer(version_3), bytes(24))


def close_from(first: int) -> None:
    """Close every descriptor from `first` on (close_range(2))."""
    syscall("close_range", first, 0xFFFFFFFF, 0)
