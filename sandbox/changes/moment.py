"""A moment that the times of files can be compared with."""

from __future__ import annotations

import time

__all__ = ["pass_moment"]

_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE (clock_gettime(2)), which gives files their times and moves every 1 to 10 ms."""
_LONGEST_TICK_NS = 10_000_000


def pass_moment(since_ns: int) -> None:
    """Wait until a file that changes from now on tells so: until it gets a time after `since_ns`, of `time.time_ns`.

    Takes no longer than a tick of the clock, and no time at all when the moment is longer ago than that.
    """
    while 0 <= time.time_ns() - since_ns <= _LONGEST_TICK_NS and time.clock_gettime_ns(_COARSE_CLOCK) <= since_ns:
        time.sleep(0.0005)
