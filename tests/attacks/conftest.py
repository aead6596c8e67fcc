"""Who attacks: root in this process, an unprivileged user in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import users
from arena import Arena
from driver import answer

LEDGER = pytest.StashKey[dict[str, set[str]]]()


class Local:
    """The world of the user that runs pytest."""

    def __init__(self) -> None:
        self._arena = Arena()

    def ask(self, **request: str) -> dict[str, Any]:
        return answer(self._arena, request)

    def close(self) -> None:
        self._arena.close()


@pytest.fixture(scope="session", params=["root", "user"])
def world(request: pytest.FixtureRequest) -> Iterator[Local | users.Remote]:
    """The world to attack: as root, and as an unprivileged user."""
    if why := users.skip_reason(request.param):
        pytest.skip(why)
    local = (os.geteuid() == 0) == (request.param == "root")
    world = Local() if local else users.Remote(Path(__file__).with_name("driver.py"))
    yield world
    world.close()


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """Cases played and controls that worked, by user."""
    return request.config.stash.setdefault(LEDGER, {})
