"""The attack corpus where there are no namespaces, behind what Docker forbids by default: as root and as a user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import users
from cases import objections
from corpus_landlock import LANDLOCK
from specials_landlock import SPECIALS

pytestmark = [pytest.mark.jail, pytest.mark.root, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", params=[0, users.USER], ids=["root", "user"])
def world(request: pytest.FixtureRequest) -> Iterator[users.Remote]:
    if why := users.missing():
        pytest.skip(why)
    world = users.Remote(Path(__file__).with_name("driver.py"), request.param, "docker")
    yield world
    world.close()


@pytest.mark.parametrize("case", LANDLOCK.values(), ids=lambda case: case.id)
def test_attack(world, case):
    reply = world.ask(case=case.id, corpus="landlock")
    if reply.get("skip"):
        pytest.skip(reply["skip"])
    assert "error" not in reply, reply["error"]
    outcome = reply["outcome"]
    found = objections(case, outcome["run"]) + outcome["broken"]
    assert not found, (found, outcome)
    if outcome["control"] is False:
        pytest.skip(f"no positive control on this host: {outcome['evidence'].strip()[-80:]}")


@pytest.mark.parametrize("name", SPECIALS)
def test_special(world, name):
    reply = world.ask(special=name, corpus="landlock")
    assert "error" not in reply, reply["error"]
