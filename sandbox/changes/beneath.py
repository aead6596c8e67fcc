"""Directories reached by descriptors only: through no link, out of no folder, across no mount.

Everything below a `Tree` may be made by an attacker, or be swapped while it is read. openat2(2) makes the kernel
refuse a path that leads elsewhere; a path is never checked first and followed later.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, SandboxUnavailable
from .nouns import State

__all__ = ["CHUNK", "Tree", "copy_attributes", "rename_new", "sync_directory", "tree", "write_all"]

CHUNK = 1 << 20
_OPENAT2 = 437  # the same on every architecture, as all system calls since Linux 5.0
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}
_RENAME_NOREPLACE = 1
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH


def _flags(*names: str) -> int:
    """open(2) flags; where the platform has none of the name this module cannot be used, only imported."""
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


_ALWAYS = _flags("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY")
_PATH_FLAGS = _flags("O_PATH", "O_NOFOLLOW", "O_CLOEXEC")


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc_syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def _syscall(*arguments: int | bytes | ctypes.Structure) -> int:
    """A raw system call: its result, or minus the error number."""
    result = _libc_syscall()(*map(_word, arguments))
    return result if result >= 0 else -ctypes.get_errno()


def _word(value: int | bytes | ctypes.Structure) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.byref(value)


def _open(directory: int, path: str, flags: int) -> int:
    """openat2(2) beneath `directory`. Raises `OSError`, and `SandboxUnavailable` before Linux 5.6."""
    name = os.fsencode(path or ".")
    if b"\0" in name:
        raise OSError(errno.EINVAL, "the path holds a NUL byte")
    how = _OpenHow(flags, 0, _RESOLVE)
    while True:
        fd = _syscall(_OPENAT2, directory, name, how, ctypes.sizeof(how))
        if fd >= 0:
            return fd
        if fd == -errno.ENOSYS:
            raise SandboxUnavailable("this kernel has no openat2", hint="Linux 5.6 or newer is needed")
        if fd not in (-errno.EINTR, -errno.EAGAIN):
            raise OSError(-fd, os.strerror(-fd), path)


class Tree:
    """What lies beneath the directory `fd`, which stays the caller's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @contextmanager
    def opened(self, path: str, flags: int = os.O_RDONLY) -> Generator[int]:
        """A descriptor of `path` ("" is the tree itself). Raises `OSError`, ELOOP where a link is in the way."""
        fd = _open(self.fd, path, flags | _ALWAYS)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def parent(self, path: str) -> Generator[tuple[int, str]]:
        """A descriptor of the directory that holds `path`, and the name in it."""
        pure = PurePosixPath(path)
        above = str(pure.parent)
        with self.opened("" if above == "." else above, os.O_RDONLY | os.O_DIRECTORY) as fd:
            yield fd, pure.name

    def stat(self, path: str) -> os.stat_result | None:
        """What stands at `path`, a link itself included; None when nothing does."""
        try:
            fd = _open(self.fd, path, _PATH_FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def names(self, path: str) -> list[str]:
        """Sorted names in the directory `path`; none when there is no such directory."""
        try:
            with self.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
                return sorted(os.listdir(fd))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []

    def target(self, path: str) -> str:
        """Where the symbolic link at `path` points."""
        fd = _open(self.fd, path, _PATH_FLAGS)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Up to `limit` bytes of the regular file at `path`. Raises `OSError`."""
        with self.regular(path) as fd, open(fd, "rb", closefd=False) as file:
            return file.read() if limit is None else file.read(limit)

    @contextmanager
    def regular(self, path: str) -> Generator[int]:
        """A descriptor of a regular file. Raises `OSError` for anything else."""
        with self.opened(path) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            yield fd

    def state(self, path: str) -> State | None:
        """What stands at `path`, with its content's hash. Raises `OSError` when it cannot be read or is special."""
        found = self.stat(path)
        if found is None:
            return None
        if stat.S_ISLNK(found.st_mode):
            return State("link", 0, found.st_mtime_ns, target=self.target(path))
        if stat.S_ISDIR(found.st_mode):
            return State("dir", 0, found.st_mtime_ns, stat.S_IMODE(found.st_mode))
        with self.regular(path) as fd:
            digest = _digest(fd)
            end = os.fstat(fd)
        return State("file", end.st_size, end.st_mtime_ns, stat.S_IMODE(end.st_mode), digest)


@contextmanager
def tree(path: Path) -> Generator[Tree]:
    """The folder `path`, which is the user's own word and may itself be a link. Raises `ConfigError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot open the folder {path}: {error.strerror}") from error
    try:
        yield Tree(fd)
    finally:
        os.close(fd)


def _digest(fd: int) -> str:
    with open(fd, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def copy_attributes(source: int, target: int) -> None:
    """Give the file `target` the owner, user's attributes and ACLs of `source`, as far as allowed; set its mode after.

    Never `security.*`: capabilities must not pass to another content.
    """
    old = os.fstat(source)
    with suppress(OSError):
        if (old.st_uid, old.st_gid) != (os.fstat(target).st_uid, os.fstat(target).st_gid):
            os.fchown(target, old.st_uid, old.st_gid)
    with suppress(OSError):
        for name in os.listxattr(source):
            if name.startswith(("user.", "system.posix_acl_")):
                os.setxattr(target, name, os.getxattr(source, name))


def rename_new(directory: int, source: str, target: str) -> None:
    """Rename within `directory`, and fail with `FileExistsError` rather than replace anything."""
    number = _RENAMEAT2.get(platform.machine())
    if number is not None:
        names = os.fsencode(source), os.fsencode(target)
        result = _syscall(number, directory, names[0], directory, names[1], _RENAME_NOREPLACE)
        if result == 0:
            return
        if result not in (-errno.EINVAL, -errno.ENOSYS, -errno.EPERM):  # not all file systems know the flag
            raise OSError(-result, os.strerror(-result), target)
    with suppress(FileNotFoundError):
        os.stat(target, dir_fd=directory, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)


def sync_directory(fd: int) -> None:
    """Make the names in a directory durable, where its file system can."""
    with suppress(OSError):
        os.fsync(fd)
