"""Control groups: memory, processes and CPU of one session together, version 1 or 2, where this user may make them.

Sources: Linux `admin-guide/cgroup-v1/`, `admin-guide/cgroup-v2.rst`.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Cgroup", "create", "version"]

_ROOT = Path("/sys/fs/cgroup")
_V1 = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The group of one session: one folder in version 2, one per controller in version 1."""

    version: int
    memory: Path
    pids: Path

    def add(self, pid: int) -> None:
        """Move a process into the group. Raises `OSError`."""
        for folder in {self.memory, self.pids}:
            _put(folder / "cgroup.procs", pid)

    def out_of_memory(self) -> int:
        """How many processes of the group the kernel has ended for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return _counter(self.memory / name, "oom_kill")

    def forks_refused(self) -> int:
        """How many forks the limit has refused."""
        return _counter(self.pids / "pids.events", "max")

    def close(self) -> None:
        """Remove the group; its processes must be dead. Waits a moment for the kernel to forget them."""
        for folder in {self.memory, self.pids}:
            for _ in range(100):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)
                else:
                    break


def _put(path: Path, value: int | str) -> None:
    path.write_text(f"{value}\n")


def _counter(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


@cache
def _parents() -> tuple[int, Path, Path] | None:
    """Version and the folders in which groups can be made; None where they cannot."""
    if (_ROOT / "memory").is_dir() and (_ROOT / "pids").is_dir():
        memory, pids = (_ROOT / name / "sandsmith" for name in _V1)
        found = 1, memory, pids
    elif (_ROOT / "cgroup.controllers").is_file():
        parent = _delegated()
        found = 2, parent, parent
    else:
        return None
    try:
        for folder in found[1:]:
            folder.mkdir(exist_ok=True)
        if found[0] == 2:
            _put(found[1] / "cgroup.subtree_control", "+memory +pids")
    except OSError:
        return None
    if not all(os.access(folder, os.W_OK) for folder in found[1:]):
        return None
    for folder in set(found[1:]):
        _sweep(folder)
    return found


def _sweep(parent: Path) -> None:
    """Remove the groups of processes that were killed before they could; a group in use cannot be removed."""
    for group in parent.iterdir():
        owner = group.name.partition("-")[0]
        if group.is_dir() and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with suppress(OSError):
                group.rmdir()


def _delegated() -> Path:
    """Where a version 2 group may be made: at the top for root, else beside our own (systemd delegates those)."""
    if os.geteuid() == 0:
        with suppress(OSError):
            _put(_ROOT / "cgroup.subtree_control", "+memory +pids")
        return _ROOT / "sandsmith"
    own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    return (_ROOT / own.lstrip("/")).parent / "sandsmith"


def version() -> int:
    """Version of control groups that sessions get, 0 for none."""
    parents = _parents()
    return parents[0] if parents else 0


def create(memory_bytes: int, processes: int) -> Cgroup | None:
    """A fresh group with these limits, or None where none can be made."""
    parents = _parents()
    if parents is None:
        return None
    name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    group = Cgroup(parents[0], parents[1] / name, parents[2] / name)
    try:
        for folder in {group.memory, group.pids}:
            folder.mkdir()
        _limit(group, memory_bytes, processes)
    except OSError:
        group.close()
        return None
    return group


def _limit(group: Cgroup, memory_bytes: int, processes: int) -> None:
    _put(group.pids / "pids.max", processes)
    if group.version == 2:
        _put(group.memory / "memory.max", memory_bytes)
        with suppress(OSError):  # without swap there is no such file
            _put(group.memory / "memory.swap.max", 0)
        return
    _put(group.memory / "memory.limit_in_bytes", memory_bytes)
    with suppress(OSError):  # present only with swap accounting
        _put(group.memory / "memory.memsw.limit_in_bytes", memory_bytes)
