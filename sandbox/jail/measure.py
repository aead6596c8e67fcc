"""What the kernel says of a process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_seconds", "peak_memory", "threads"]


def peak_memory(pid: int) -> int:
    """Bytes of the largest resident set that `pid` has had (proc_pid_status(5))."""
    with suppress(OSError, ValueError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU seconds of `pid` and of the children it has waited for (proc_pid_stat(5))."""
    with suppress(OSError, ValueError, IndexError):
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def threads(pid: int) -> int:
    """How many threads `pid` has, 0 when it is gone (proc_pid_task(5))."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    return 0


def _read(path: str) -> bytes:
    """The start of a file of /proc, which takes a third of the time that an object for it would."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
