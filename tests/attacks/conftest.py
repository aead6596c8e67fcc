"""Who attacks: root in this process, an unprivileged user in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
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


class Remote:
    """The world of an unprivileged user, in a process that has become one."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="attacker-home-"))
        os.chown(self._home, users.USER, users.USER)
        self._process = subprocess.Popen(
            users.command([sys.executable, str(Path(__file__).with_name("driver.py"))]),
            env=users.environment(self._home),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        reply = self._process.stdout.readline()
        assert reply, "the user's process has ended"
        return json.loads(reply)

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture(scope="session", params=["root", "user"])
def world(request: pytest.FixtureRequest) -> Iterator[Local | Remote]:
    """The world to attack: as root, and as an unprivileged user."""
    root = os.geteuid() == 0
    if request.param == "root" and not root:
        pytest.skip("needs root")
    if request.param == "user" and root and (why := users.missing()):
        pytest.skip(why)
    world = Local() if root == (request.param == "root") else Remote()
    yield world
    world.close()


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """Cases played and controls that worked, by user."""
    return request.config.stash.setdefault(LEDGER, {})
