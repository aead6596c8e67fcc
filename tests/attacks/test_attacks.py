"""The attack corpus: every case as root and as an unprivileged user, with its control and what must hold afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from cases import Case
from corpus import BY_ID, CLASSES
from specials import SPECIALS

pytestmark = [pytest.mark.jail, pytest.mark.timeout(120)]


def _one_of(wanted: Any, got: Any) -> bool:
    return got in (wanted if isinstance(wanted, tuple) else (wanted,))


def _objections(case: Case, run: dict[str, Any]) -> list[str]:
    """How the outcome differs from what the case demands."""
    found = ["it got through"] if "LEAK" in run["stdout"] else []
    found += [f"{n}: {run[n]}" for n in ("status", "limit") if not _one_of(getattr(case, n), run[n])]
    found += [f"{n}: {run[n]}" for n in ("signal", "exit_code") if getattr(case, n) not in (None, run[n])]
    return found + ([] if case.says in run["said"] else [f"says nothing of {case.says!r}"])


def _play(world: Any, case: Case, ledger: dict[str, set[str]], user: str) -> None:
    reply = world.ask(case=case.id)
    if reply.get("skip"):
        pytest.skip(reply["skip"])
    assert "error" not in reply, reply["error"]
    outcome = reply["outcome"]
    objections = _objections(case, outcome["run"]) + outcome["broken"]
    assert not objections, (objections, outcome)
    ledger.setdefault(f"{user} played", set()).add(case.id)
    if outcome["control"] is False:
        pytest.skip(f"no positive control on this host: {outcome['evidence'].strip()[-80:]}")
    if outcome["control"]:
        ledger.setdefault(f"{user} controlled", set()).add(case.id)


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


@pytest.mark.parametrize("name", SPECIALS)
def test_special(world, name):
    reply = world.ask(special=name)
    assert "error" not in reply, reply["error"]
    if reply["special"]:
        pytest.xfail(reply["special"])


@pytest.mark.parametrize("user", ["root", "user"])
def test_enough_cases_had_a_working_control(ledger, user):
    played, controlled = (ledger.get(f"{user} {what}", set()) for what in ("played", "controlled"))
    if len(played) < len(BY_ID) * 0.9:
        pytest.skip(f"only {len(played)} of {len(BY_ID)} cases were played as {user}")
    assert len(controlled) >= 60
