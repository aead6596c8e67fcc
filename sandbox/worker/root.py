"""Builds the file tree that a program sees: read-only binds on a small tmpfs, pivoted into place.

Sources are cloned as detached mounts before anything is hidden (open_tree(2)), so no path is followed twice and the
order of mounts does not matter.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from . import kernel

__all__ = ["LAYERS", "LOWER", "SHM", "TMP", "WORK", "attach", "build", "identity_map", "mount_proc"]

WORK = "/ws/work"
"""Where the program finds its view of the user's folder."""
TMP, SHM = "/ws/tmp", "/ws/shm"
"""Where /tmp and /dev/shm lead: Landlock lets a program write below /ws, and in whatever a branch has mounted there."""
LOWER = "/.lower"
"""Where the read-only layers below that view are mounted; covered before a program runs."""
LAYERS = "/.layers"
"""Where a session's own writable layers are mounted; covered as well."""

_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "shm": "../ws/shm",
}
_ETC = {
    "passwd": "root:x:0:0:root:/:/bin/false\nuser:x:1000:1000:user:/tmp:/bin/sh\n",
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "hostname": "sandsmith\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_ETC_COPIES = ("localtime", "ld.so.cache", "mime.types")
_READ_ONLY = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID


def build(config: Mapping[str, Any]) -> None:
    """Build the root that `config` describes and make it this process's `/`.

    Keys: `binds` (folders shown at their own paths), `covered` (those in them that are not), `links` (symbolic links,
    path to target), `lowers` (name to folder), `owner` (`[uid, gid, shown uid, shown gid]` or None). Raises `OSError`.
    """
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    processes = kernel.clone_tree("/proc")  # a user namespace may mount its own only where it sees one
    sources = {path: _read_only(path) for path in config["binds"]}
    devices = {name: kernel.clone_tree(f"/dev/{name}") for name in _DEVICES}
    owners = {"folder": config["owner"]}
    lowers = {name: _lower(path, owners.get(name)) for name, path in config["lowers"].items()}
    etc = _ETC | {name: text for name in _ETC_COPIES if (text := _copy(f"/etc/{name}"))}

    base = "/tmp"
    kernel.mount("sandsmith", base, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=8m,nr_inodes=4096")
    _skeleton(base, etc, config["links"])
    attach(processes, f"{base}/proc")
    for path, tree in sorted(sources.items()):
        attach(tree, base + path)
    for path in config["covered"]:
        if os.path.isdir(base + path):
            kernel.mount("covered", base + path, "tmpfs", 1, "mode=555,size=4k,nr_inodes=1")  # MS_RDONLY
    for name, tree in devices.items():
        attach(tree, f"{base}/dev/{name}")
    for name, tree in lowers.items():
        attach(tree, f"{base}{LOWER}/{name}")
    _enter(base)


def mount_proc(*, hidden: bool = False) -> None:
    """Cover `/proc` by that of this process's own pid namespace, where a program sees its own processes only; if
    `hidden`, those only that it may trace (proc(5))."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", flags, "subset=pid,hidepid=invisible" if hidden else "subset=pid")


def _read_only(path: str) -> int:
    tree = kernel.clone_tree(path)
    kernel.mount_setattr(tree, _READ_ONLY | kernel.MOUNT_ATTR_NODEV)
    return tree


def _lower(path: str, owner: Sequence[int] | None) -> int:
    """A read-only tree of the user's folder, its owner shown as the program's user where we are root."""
    tree = kernel.clone_tree(path)
    attributes = _READ_ONLY | kernel.MOUNT_ATTR_NODEV
    if owner is None:
        kernel.mount_setattr(tree, attributes)
        return tree
    userns = identity_map(*owner)
    try:
        kernel.mount_setattr(tree, attributes | kernel.MOUNT_ATTR_IDMAP, userns)
    except OSError as error:
        raise OSError(error.errno, f"id-mapped mount of {path}: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(userns)
    return tree


def identity_map(uid: int, gid: int, shown_uid: int, shown_gid: int) -> int:
    """A descriptor of a user namespace that shows `uid` and `gid` of a file system as others (mount_setattr(2))."""
    ready, gate = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(ready[1], b"1")
            os.read(gate[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        if not os.read(ready[0], 1):
            raise OSError(errno.EPERM, "user namespace for the id map: refused")
        _write(f"/proc/{child}/uid_map", f"{uid} {shown_uid} 1")
        _write(f"/proc/{child}/gid_map", f"{gid} {shown_gid} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for fd in (ready[0], *gate):
            os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _copy(path: str) -> str | bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _skeleton(base: str, etc: Mapping[str, str | bytes], links: Mapping[str, str]) -> None:
    for folder in (
        "proc",
        "dev",
        "etc",
        WORK[1:],
        TMP[1:],
        SHM[1:],
        LOWER[1:],
        f"{LOWER[1:]}/folder",
        LAYERS[1:],
    ):
        os.makedirs(f"{base}/{folder}", exist_ok=True)
    os.symlink(TMP[1:], f"{base}/tmp")
    for name, target in _DEV_LINKS.items():
        os.symlink(target, f"{base}/dev/{name}")
    for name, text in etc.items():
        with open(f"{base}/etc/{name}", "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
    for path, target in links.items():
        os.makedirs(os.path.dirname(base + path), exist_ok=True)
        os.symlink(target, base + path)


def attach(tree: int, target: str) -> None:
    """Attach a detached tree, making its mount point; a point inside an earlier bind exists already."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    kernel.move_mount(tree, target)
    os.close(tree)


def _enter(base: str) -> None:
    """Make `base` the root, forget the old one, and seal the new one against writing."""
    os.chdir(base)
    kernel.pivot_root(".", ".")
    kernel.umount(".")
    os.chdir("/")
    flags = 32 | 1 | kernel.MS_NOSUID | kernel.MS_NODEV  # MS_REMOUNT | MS_RDONLY
    kernel.mount("none", "/", "", flags | 4096)  # MS_BIND: this mount only
