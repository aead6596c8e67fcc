"""The attack corpus on containers: classes A to F, H and I, each case in a container of its own, with its control."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from arena import LIMITS, Arena, applies
from cases import Case, objections
from corpus import CLASSES

from sandbox import Policy, Sandbox, open_sandbox
from sandbox.docker.container import LABEL
from sandbox.docker.daemon import connect

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]
CASES = [case for letter in "ABCDEFHI" for case in CLASSES[letter]]
_ENDING = 10.0
"""Seconds for a container to be gone, which nobody waits for."""


class Harbour(Arena):
    """The world around containers. They show no folder of the host, and are no children of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.played, self.controlled = set[str](), set[str]()

    def facts(self) -> dict[str, Any]:
        """The packages of the image are in /opt."""
        return {**super().facts(), "SHOWN": ["opt"]}

    def box(self, limits: Mapping[str, Any], without: Sequence[str] = ()) -> Sandbox:
        key = json.dumps({**LIMITS, **limits}, sort_keys=True)
        if key not in self._boxes:
            policy = Policy(**{**LIMITS, **limits})
            box = open_sandbox("docker", workspace=self.work, policy=policy, ahead=False)
            self._boxes[key] = self._stack.enter_context(box)
            box.open().close()  # the container that was started with it is no more
        return self._boxes[key]

    def fill(self, box: Sandbox) -> None:
        """No container is kept for later: wait until that of the session beside is the only one."""
        deadline = time.monotonic() + _ENDING
        while len(_containers()) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)

    def benign(self, box: Sandbox) -> list[str]:
        """A session that was there before answers; that a fresh one does, the next case shows."""
        answer = self.sibling().execute("own_secret", on_error="keep").value
        return [] if answer == repr(self.tokens[4]) else [f"another session answers {answer}"]

    def look(self) -> dict[str, Any]:
        """Connections to the daemon are kept, and not counted."""
        fds = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        descriptors = sum(not name.startswith("socket:") for name in fds)
        return {**super().look(), "descriptors": descriptors, "containers": _containers()}


def _containers() -> set[str]:
    """The containers of sessions, of this process and of any other."""
    with closing(connect()) as daemon:
        return {row["Id"] for row in daemon.api.containers(all=True, filters={"label": f"{LABEL}.session"})}


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    arena = Harbour()
    yield arena
    arena.close()


def _inapplicable(case: Case) -> str:
    """What an attack aims at that no container has, or an empty string."""
    if "allow_hosts" in case.policy:
        return "a container has no network, and a policy that asks for one is refused"
    if case.id == "D21-setuid-program":
        return "the image has no program that runs with the rights of another user"
    return "no folder of the host is shown in a container" if "GRANTED" in case.program else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_attack(harbour: Harbour, case: Case) -> None:
    if why := applies(case) or _inapplicable(case):
        pytest.skip(why)
    outcome = asdict(harbour.play(case))
    wrong = objections(case, outcome["run"]) + outcome["broken"]
    assert not wrong, (wrong, outcome)
    harbour.played.add(case.id)
    if outcome["control"]:
        harbour.controlled.add(case.id)
    if outcome["control"] is False:
        pytest.skip(f"{case.id} held, without a positive control on this host: {outcome['evidence'].strip()[-80:]}")


def test_enough_attacks_had_a_working_control(harbour: Harbour) -> None:
    wanted = sum(not (applies(case) or _inapplicable(case)) for case in CASES)
    if len(harbour.played) < wanted * 0.9:
        pytest.skip(f"only {len(harbour.played)} of {wanted} attacks were played")
    assert len(harbour.controlled) >= 150
