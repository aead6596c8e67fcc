"""The benign corpus: what users ask models to write works in the jail as it does outside, for root and plain users."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import users
from everyday import PROGRAMS, Bench, Outcome, play_outside

everyday = pytest.mark.parametrize("name", PROGRAMS)


@pytest.fixture(scope="module", params=["root", "user"])
def bench(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A jail of root, and one of an unprivileged user."""
    if why := users.skip_reason(request.param):
        pytest.skip(why)
    local = (os.geteuid() == 0) == (request.param == "root")
    bench = Bench() if local else users.Remote(Path(__file__).with_name("everyday.py"))
    yield bench
    bench.close()


@pytest.fixture(autouse=True)
def _its_packages(name: str) -> None:
    if missing := PROGRAMS[name].missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@everyday
def test_a_program_works_outside(name: str, tmp_path: Path):
    """The positive control: a program that fails here is no witness against the jail."""
    assert play_outside(PROGRAMS[name], tmp_path) == PROGRAMS[name].expected


@pytest.mark.jail
@everyday
def test_a_program_works_in_the_jail(name: str, bench: Any):
    reply = bench.ask(program=name)
    assert "error" not in reply, reply["error"]
    assert Outcome(**reply) == PROGRAMS[name].expected
