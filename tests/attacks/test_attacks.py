"""The attack corpus: every case as root and as an unprivileged user, with its control and what must hold afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from cases import Case, objections
from corpus import BY_ID, CLASSES, LAST, LEFT_OUT
from specials import SPECIALS

pytestmark = [pytest.mark.jail, pytest.mark.timeout(120)]


def _play(world: Any, case: Case, ledger: dict[str, set[str]], user: str) -> None:
    reply = world.ask(case=case.id)
    if reply.get("skip"):
        pytest.skip(reply["skip"])
    assert "error" not in reply, reply["error"]
    outcome = reply["outcome"]
    wrong = objections(case, outcome["run"]) + outcome["broken"]
    assert not wrong, (wrong, outcome)
    ledger.setdefault(f"{user} played", set()).add(case.id)
    if outcome["control"] is False:
        pytest.skip(f"{case.id} held, without a positive control on this host: {outcome['evidence'].strip()[-80:]}")
    if outcome["control"]:
        ledger.setdefault(f"{user} controlled", set()).add(case.id)


def test_every_attack_of_the_plan_has_a_case_or_a_reason():
    wanted = {f"{letter}{number:02}" for letter, last in LAST.items() for number in range(1, last + 1)}
    here = {id.partition("-")[0] for id in (*BY_ID, *SPECIALS)}
    assert wanted - here == LEFT_OUT.keys()
    assert not {id for id in here - wanted if id[0] == "G"}
    assert len(BY_ID) == sum(map(len, CLASSES.values())), "two cases of one name"


def _class(letter: str) -> Any:
    return pytest.mark.parametrize("case", CLASSES[letter], ids=lambda case: case.id)


@pytest.fixture
def play(world: Any, ledger: dict[str, set[str]], request: pytest.FixtureRequest) -> Any:
    user = request.node.callspec.params["world"]
    return lambda case: _play(world, case, ledger, user)


@_class("A")
def test_host_secrets_are_not_read(play, case):
    play(case)


@_class("B")
def test_nothing_outside_is_written(play, case):
    play(case)


@_class("C")
def test_nothing_is_reached(play, case):
    play(case)


@_class("D")
def test_there_is_no_way_out(play, case):
    play(case)


@_class("E")
def test_limits_hold(play, case):
    play(case)


@_class("F")
def test_nothing_is_inherited(play, case):
    play(case)


@_class("H")
def test_the_channel_is_not_believed(play, case):
    play(case)


@_class("I")
def test_crashes_are_told_apart(play, case):
    play(case)


@_class("G")
def test_without_restricted_python_the_jail_holds(play, case):
    play(case)


@_class("J")
def test_this_construction_holds(play, case):
    play(case)


@pytest.mark.parametrize("name", SPECIALS)
def test_special(world, name):
    reply = world.ask(special=name)
    assert "error" not in reply, reply["error"]


@pytest.mark.parametrize("user", ["root", "user"])
def test_enough_cases_had_a_working_control(ledger, user):
    played, controlled = (ledger.get(f"{user} {what}", set()) for what in ("played", "controlled"))
    if len(played) < len(BY_ID) * 0.9:
        pytest.skip(f"only {len(played)} of {len(BY_ID)} cases were played as {user}")
    assert len(controlled) >= 60
