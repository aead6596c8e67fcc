"""Control groups: memory, processes and CPU of one session together, version 1 or 2, where this user may make them.

Sources: Linux `admin-guide/cgroup-v1/`, `admin-guide/cgroup-v2.rst`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ..errors import SandboxUnavailable
from ..policy import Policy

__all__ = ["Cgroup", "count_surrounding", "create", "version"]

_ROOT = Path("/sys/fs/cgroup")
_NEEDED = ("memory", "pids")
_PERIOD = 100_000
"""Microseconds over which CPU time is measured out."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The group of one session: the folder of each controller, which is one and the same in version 2."""

    version: int
    folders: Mapping[str, Path]
    _open: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Files that are looked at in every execution, opened once: that takes longer than reading them."""

    def add(self, pid: int) -> None:
        """Move a process into the group. Raises `OSError`."""
        for folder in set(self.folders.values()):
            _put(folder / "cgroup.procs", pid)

    def limit_processes(self, number: int) -> None:
        """Let `number` processes and threads be alive at once, beside pid 1, the template and a copy in the making."""
        _put(self.folders["pids"] / "pids.max", number + 3)

    def memory(self) -> int:
        """Bytes that the group uses."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        with suppress(OSError, ValueError):
            return int(os.pread(self._file("memory", name), 100, 0))
        return 0

    def look(self) -> None:
        """Open what is looked at later."""
        self.memory()
        self.out_of_memory()
        self.forks_refused()

    def out_of_memory(self) -> int:
        """How many processes of the group the kernel has ended for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return self._counter("memory", name, b"oom_kill")

    def forks_refused(self) -> int:
        """How many forks the limit has refused."""
        return self._counter("pids", "pids.events", b"max")

    def _counter(self, controller: str, name: str, key: bytes) -> int:
        with suppress(OSError, ValueError):
            for line in os.pread(self._file(controller, name), 4096, 0).splitlines():
                found, _, value = line.partition(b" ")
                if found == key:
                    return int(value)
        return 0

    def _file(self, controller: str, name: str) -> int:
        """A descriptor of a file of the group, kept open. Raises `OSError`."""
        place = controller, name
        if place not in self._open:
            self._open[place] = os.open(self.folders[controller] / name, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[place]

    def close(self) -> None:
        """Remove the group; its processes must be dead. Waits a moment for the kernel to forget them."""
        while self._open:
            os.close(self._open.popitem()[1])
        for folder in set(self.folders.values()):
            for _ in range(100):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)
                else:
                    break


@dataclass(frozen=True, slots=True)
class _Surrounding(Cgroup):
    """The group that we are in ourselves, with limits that are not ours to set; what is counted there is read."""

    before: int = 0
    """Bytes that were used before there was a session."""

    def add(self, pid: int) -> None:
        """It is there already, as a child of ours."""

    def limit_processes(self, number: int) -> None:
        """Others have set the limit."""

    def memory(self) -> int:
        return max(0, Cgroup.memory(self) - self.before)

    def close(self) -> None:
        """It is not ours to remove."""


_surrounding: list[_Surrounding] = []


def count_surrounding() -> None:
    """Have sessions counted by the group that this process is in, where no group can be made: in a container that
    holds nothing but one session. What is used now does not count."""
    version = 1 if (_ROOT / "memory").is_dir() else 2
    folders = {name: _ROOT / name if version == 1 else _ROOT for name in _NEEDED}
    used = Cgroup(version, folders).memory()
    _surrounding[:] = [_Surrounding(version, folders, before=used)] if used else []


def _put(path: Path, value: int | str) -> None:
    path.write_text(f"{value}\n")


@cache
def _parents() -> tuple[int, dict[str, Path]] | None:
    """Version, and for each controller the folder in which groups can be made; None where they cannot."""
    if all((_ROOT / name).is_dir() for name in _NEEDED):
        version, folders = 1, {name: _ROOT / name / "sandsmith" for name in (*_NEEDED, "cpu")}
    elif (_ROOT / "cgroup.controllers").is_file():
        version, folders = 2, dict.fromkeys((*_NEEDED, "cpu"), _delegated())
    else:
        return None
    usable = {name: folder for name, folder in folders.items() if _prepare(version, name, folder)}
    if not all(name in usable for name in _NEEDED):
        return None
    for folder in set(usable.values()):
        _sweep(folder)
    return version, usable


def _prepare(version: int, controller: str, folder: Path) -> bool:
    """Whether groups with limits of `controller` can be made in `folder`."""
    try:
        folder.mkdir(exist_ok=True)
        if version == 2:
            _put(folder / "cgroup.subtree_control", f"+{controller}")
    except OSError:
        return False
    return os.access(folder, os.W_OK)


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
        for name in (*_NEEDED, "cpu"):
            with suppress(OSError):
                _put(_ROOT / "cgroup.subtree_control", f"+{name}")
        return _ROOT / "sandsmith"
    own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    return (_ROOT / own.lstrip("/")).parent / "sandsmith"


def version() -> int:
    """Version of control groups that sessions get, 0 for none."""
    parents = _parents()
    return parents[0] if parents else 0


def create(policy: Policy) -> Cgroup | None:
    """A fresh group with the limits of `policy` and room for pid 1, or None where none can be made.

    Raises `SandboxUnavailable` where `Policy.cpus` cannot be enforced.
    """
    parents = _parents()
    if policy.cpus is not None and (parents is None or "cpu" not in parents[1]):
        raise SandboxUnavailable(
            "Policy.cpus cannot be enforced here: this user may make no control group of the cpu controller",
            hint="run as root, or have the controller delegated (systemd: Delegate=cpu)",
        )
    if parents is None:
        return _surrounding[0] if _surrounding else None
    version, folders = parents
    name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    wanted = _NEEDED if policy.cpus is None else (*_NEEDED, "cpu")
    group = Cgroup(version, {controller: folders[controller] / name for controller in wanted})
    try:
        for folder in set(group.folders.values()):
            folder.mkdir()
        _limit(group, policy)
        group.look()
    except OSError:
        group.close()
        return None
    return group


def _limit(group: Cgroup, policy: Policy) -> None:
    folders = group.folders
    group.limit_processes(policy.processes)
    limit, swap = (
        ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", policy.memory_bytes))
        if group.version == 1
        else ("memory.max", ("memory.swap.max", 0))
    )
    _put(folders["memory"] / limit, policy.memory_bytes)
    with suppress(OSError):  # without swap, or without counting it, there is no such file
        _put(folders["memory"] / swap[0], swap[1])
    if policy.cpus is not None:
        quota = max(1000, round(policy.cpus * _PERIOD))
        if group.version == 1:
            _put(folders["cpu"] / "cpu.cfs_quota_us", quota)
        else:
            _put(folders["cpu"] / "cpu.max", f"{quota} {_PERIOD}")
