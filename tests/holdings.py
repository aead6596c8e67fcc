"""What this process holds: tests of what is left behind compare it before and after."""

from __future__ import annotations

import gc
import os
import threading

__all__ = ["descriptors", "held", "holds_no_more_than"]


def descriptors() -> int:
    """Open file descriptors, without those of garbage, which may be of an earlier test and goes at any time."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def held() -> tuple[int, int]:
    """Threads and descriptors."""
    return threading.active_count(), descriptors()


def holds_no_more_than(before: tuple[int, int]) -> bool:
    """Whether nothing was added to `before`. What an earlier test left may have gone."""
    return all(now <= then for now, then in zip(held(), before, strict=True))
