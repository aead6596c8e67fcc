"""The attack corpus on the restricted sandbox: its language refuses A to F, H and I, and its wall holds without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from arena import Arena, Outcome, applies
from cases import Case, objections
from corpus import CLASSES

from sandbox import OwnCode

pytestmark = [pytest.mark.jail, pytest.mark.timeout(120)]
CASES = [case for letter in "ABCDEFHI" for case in CLASSES[letter]]


class Cell(Arena):
    """The world around a restricted sandbox whose language is off."""

    kind = "restricted"

    def code(self, case: Case) -> str:
        return OwnCode(self.program(case))


class Spoken(Cell):
    """The same with the language."""

    def code(self, case: Case) -> str:
        return self.program(case)


@pytest.fixture(scope="module", params=[Cell, Spoken], ids=["wall", "language"])
def world(request: pytest.FixtureRequest) -> Iterator[Arena]:
    arena = request.param()
    yield arena
    arena.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_attack(world: Arena, case: Case) -> None:
    if why := applies(case):
        pytest.skip(why)
    if "allow_hosts" in case.policy:
        pytest.skip("programs have no sockets, and a policy that asks for them is refused")
    outcome = world.play(case)
    assert not _wrong(world, case, outcome), outcome
    if outcome.control is False:
        pytest.skip(f"{case.id} held, without a positive control on this host: {outcome.evidence.strip()[-80:]}")


def _wrong(world: Arena, case: Case, outcome: Outcome) -> list[str]:
    """Programs get less far than in the jail, so that only what they must not reach is the same."""
    run: dict[str, Any] = outcome.run
    found = [said for said in objections(case, run) if said.startswith("it got through")] + outcome.broken
    if isinstance(world, Spoken) and run["status"] != "error":
        found.append(f"the language lets it be {run['status']}")
    return found
