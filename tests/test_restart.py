"""Parts of a jail that are killed from outside: the caller sees a result or `SandboxUnavailable`, and goes on."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from holdings import descriptors

from sandbox import Policy, Sandbox, SandboxUnavailable, open_sandbox

pytestmark = pytest.mark.jail
PARTS = ("launcher", "zygote", "monitor", "program")
"""The processes of a jail from the outermost to the innermost: each is a child of the one before."""
SOON = 20.0
"""Seconds within which every call must be over, whatever was killed."""


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def launchers() -> set[int]:
    return {pid for task in Path("/proc/self/task").iterdir() for pid in map(int, _read(task / "children").split())}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def below(launcher: int) -> dict[str, int]:
    """The living processes of the jail, by part; of several sessions that of the newest."""
    found, pid = {"launcher": launcher}, launcher
    for part in PARTS[1:]:
        if not (lower := children(pid)):
            break
        # Below pid 1 the first is the template, the second the program; a frozen copy of that comes after it.
        found[part] = pid = lower[:2][-1] if part == "program" else lower[-1]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that is dead may still have to be waited for by its parent."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


class Shot:
    """A jail whose processes are known, so that they can be killed."""

    def __init__(self, **options: bool) -> None:
        self._options = options

    def __enter__(self) -> Shot:
        self._before = launchers()
        self.box: Sandbox = open_sandbox("jail", policy=Policy(wall_seconds=10), **self._options)
        return self

    def __exit__(self, *exc: object) -> None:
        self.box.close()

    @property
    def parts(self) -> dict[str, int]:
        new = launchers() - self._before
        return below(new.pop()) if new else {}

    def kill(self, part: str) -> None:
        os.kill(self.parts[part], signal.SIGKILL)

    def kill_off(self, part: str) -> None:
        """Kill a process, and wait until it is dead, and with it all that it takes along."""
        parts, end = self.parts, time.monotonic() + SOON
        os.kill(parts[part], signal.SIGKILL)
        while any(is_alive(parts[name]) for name in PARTS[PARTS.index(part) :] if name in parts):
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture(params=[True, False], ids=["ahead", "plain"])
def shot(request) -> Iterator[Shot]:
    with Shot(ahead=request.param) as shot:
        yield shot


def value_of(box: Sandbox) -> str | None:
    with box.open() as session:
        return session.execute("6 * 7").value


@pytest.mark.parametrize("part", ["launcher", "zygote"])
def test_a_warm_process_that_was_killed_is_replaced(shot, part):
    assert value_of(shot.box) == "42"
    old = shot.parts["zygote"]
    shot.kill_off(part)
    assert value_of(shot.box) == "42"
    assert shot.parts["zygote"] != old
    assert value_of(shot.box) == "42"


def test_it_is_replaced_once_for_each_death(shot):
    zygotes: set[int] = set()
    for _ in range(5):
        value_of(shot.box)
        zygotes.add(shot.parts["zygote"])
        shot.kill_off("zygote")
        assert [value_of(shot.box) for _ in range(3)] == ["42"] * 3
        zygotes.add(shot.parts["zygote"])
    assert len(zygotes) == 6


def test_a_session_of_the_dead_is_lost_in_clear_words(shot):
    with shot.box.open() as session:
        session.execute("x = 1")
        shot.kill_off("zygote")
        with pytest.raises(SandboxUnavailable, match="the jail broke") as caught:
            session.execute("x")
        assert "open a new session" in caught.value.hint
        with pytest.raises(SandboxUnavailable, match="the session was lost"):
            session.execute("x")
        assert value_of(shot.box) == "42"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("on_error", ["rollback", "keep"])
def test_what_is_killed_in_an_execution_is_told_truly(shot, part, on_error):
    """Only the death of the program's own process is one of the program."""
    with shot.box.open() as session:
        timer = threading.Timer(0.3, lambda: shot.kill(part))
        timer.start()
        began = time.monotonic()
        if part == "program":
            run = session.execute("import time; time.sleep(8)", on_error=on_error)
            assert (run.status, run.signal) == ("killed", signal.SIGKILL)
        else:
            with pytest.raises(SandboxUnavailable, match="the jail broke"):
                session.execute("import time; time.sleep(8)", on_error=on_error)
        assert time.monotonic() - began < 5
        timer.join()
    assert value_of(shot.box) == "42"


def test_deaths_at_random_moments(shot):
    """Every call ends soon, with the right value, a true label, or `SandboxUnavailable`."""
    chance = random.Random(4)
    over = threading.Event()
    kills = 0

    def hunt() -> None:
        nonlocal kills
        while not over.wait(chance.uniform(0.005, 0.15)):
            parts = shot.parts
            if pid := parts.get(chance.choice(PARTS)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1

    hunter = threading.Thread(target=hunt)
    hunter.start()
    seen: list[str] = []
    try:
        for number in range(60):
            began = time.monotonic()
            seen.append(_outcome(shot.box, number))
            assert time.monotonic() - began < SOON
    finally:
        over.set()
        hunter.join()
    time.sleep(1)  # the last one may be dying still, and a session that gets its place is unavailable
    assert value_of(shot.box) == "42"
    assert kills > 10 and {"right", "unavailable"} <= set(seen), (kills, seen)


def _outcome(box: Sandbox, number: int) -> str:
    try:
        with box.open() as session:
            run = session.execute(f"import time; time.sleep({number % 3 / 100}); {number} + 1")
    except SandboxUnavailable:
        return "unavailable"
    if run.status == "killed" and run.signal == signal.SIGKILL:
        return "killed"
    assert (run.status, run.value) == ("ok", str(number + 1)), run
    return "right"


def test_nothing_is_left_of_what_was_killed(shot):
    value_of(shot.box)
    before = descriptors(), launchers()
    for part in ("launcher", "zygote", "monitor") * 3:
        with shot.box.open() as session:
            session.execute("1")
            shot.kill_off(part)
        assert value_of(shot.box) == "42"
    shot.box.close()
    assert descriptors() < before[0]
    assert len(launchers()) < len(before[1])
