"""Random walks through the life of a session, against a model of what its memory and files must be.

`pytest --hypothesis-profile=long tests/test_time_travel.py` walks for longer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandbox import Policy, Sandbox, Session, open_sandbox

pytestmark = pytest.mark.jail

_LIMIT = 6
_NAMES = st.sampled_from(["a", "b", "c"])
_FILES = st.sampled_from(["one.txt", "two.txt", "sub/three.txt"])
_NUMBERS = st.integers(0, 99)
_LOOK = """
import json as _json, os as _os
_files = {}
for _top, _dirs, _names in _os.walk('.'):
    for _name in _names:
        _path = _os.path.relpath(_os.path.join(_top, _name))
        _files[_path] = [open(_path).read(), _os.stat(_path).st_mode & 0o777]
print(_json.dumps([{k: v for k, v in globals().items() if not k.startswith('_') and isinstance(v, list)}, _files]))
"""


@dataclass
class World:
    """What a session must hold: its lists by name, and its files with their modes."""

    names: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    files: dict[str, list[Any]] = field(default_factory=lambda: {"given.txt": ["given\n", 0o644]})

    def copy(self) -> World:
        return World(**json.loads(json.dumps({"names": self.names, "files": self.files})))


@dataclass
class Life:
    """A session, the world it must be in, and those it can be put into."""

    session: Session
    world: World
    past: list[World] = field(default_factory=list[World])
    future: list[World] = field(default_factory=list[World])
    floor: int = 0
    """How many of the past may be kept no longer."""

    def advance(self, after: World) -> None:
        self.past, self.world, self.future = [*self.past, self.world], after, []
        self.floor = max(self.floor, len(self.past) - _LIMIT)

    def step(self, code: str, after: World) -> None:
        run = self.session.execute(code)
        assert run.ok, run
        self.advance(after)

    def check(self) -> None:
        assert len(self.past) - self.floor <= self.session.steps <= len(self.past)  # what is marked is kept longer
        assert self.session.undone == len(self.future)
        run = self.session.execute(_LOOK + "\n1 / 0")  # a failure leaves no step behind
        assert run.status == "error" and run.error is not None and run.error.type == "ZeroDivisionError", run
        assert json.loads(run.stdout) == [self.world.names, self.world.files]


class Walk(RuleBasedStateMachine):
    """One session, and at times branches of it."""

    box: Sandbox
    """Warm, and shared by all walks."""

    @initialize()
    def begin(self) -> None:
        self.main = Life(self.box.open(), World())
        self.branches: list[Life] = []

    def teardown(self) -> None:
        if hasattr(self, "main"):
            self.main.session.close()

    def life(self, which: int) -> Life:
        """The session, or one of its branches."""
        return self.branches[which % len(self.branches)] if self.branches else self.main

    @rule(which=_NUMBERS, name=_NAMES, number=_NUMBERS)
    def append(self, which: int, name: str, number: int) -> None:
        life = self.life(which)
        after = life.world.copy()
        after.names.setdefault(name, []).append(number)
        life.step(f"globals().setdefault({name!r}, []).append({number})", after)

    @rule(which=_NUMBERS, path=_FILES, number=_NUMBERS, mode=st.sampled_from([0o600, 0o644, 0o755]))
    def write(self, which: int, path: str, number: int, mode: int) -> None:
        life = self.life(which)
        after = life.world.copy()
        text = after.files.get(path, [""])[0] + str(number)
        after.files[path] = [text, mode]
        code = f"_os.makedirs('sub', exist_ok=True); open({path!r}, 'a').write('{number}'); _os.chmod({path!r}, {mode})"
        life.step(f"import os as _os; {code}", after)

    @rule(which=_NUMBERS, path=st.one_of(_FILES, st.just("given.txt")))
    def remove(self, which: int, path: str) -> None:
        life = self.life(which)
        if path in life.world.files:
            after = life.world.copy()
            del after.files[path]
            life.step(f"import os as _os; _os.remove({path!r})", after)

    @rule(which=_NUMBERS, path=_FILES, to=_FILES)
    def rename(self, which: int, path: str, to: str) -> None:
        life = self.life(which)
        if path in life.world.files and path != to:
            after = life.world.copy()
            after.files[to] = after.files.pop(path)
            code = f"_os.makedirs('sub', exist_ok=True); _os.replace({path!r}, {to!r})"
            life.step(f"import os as _os; {code}", after)

    @rule(which=_NUMBERS, how=st.sampled_from(["raise", "spin", "kill", "exit", "flood"]))
    def fail(self, which: int, how: str) -> None:
        session = self.life(which).session
        mess = "a = b = c = ['mess']; import os; os.remove('given.txt') if os.path.exists('given.txt') else 0\n"
        mess += "open('mess.txt', 'w').write('mess')\n"
        end, status, seconds = {
            "raise": ("raise ValueError", "error", None),
            "spin": ("while True: pass", "timeout", 0.2),
            "kill": ("os.kill(os.getpid(), 9)", "killed", None),
            "exit": ("os._exit(3)", "error", None),
            "flood": ("while True: print('x' * 10**6)", "output", None),
        }[how]
        assert session.execute(mess + end, wall_seconds=seconds).status == status

    @rule(which=_NUMBERS, n=st.integers(1, 3))
    def undo(self, which: int, n: int) -> None:
        life = self.life(which)
        n = min(n, life.session.steps)
        if n:
            life.session.undo(n)
            line = [*life.past, life.world, *life.future]
            at = len(life.past) - n
            life.past, life.world, life.future = line[:at], line[at], line[at + 1 :]

    @rule(which=_NUMBERS, n=st.integers(1, 3))
    def redo(self, which: int, n: int) -> None:
        life = self.life(which)
        n = min(n, len(life.future))
        if n:
            life.session.redo(n)
            line = [*life.past, life.world, *life.future]
            at = len(life.past) + n
            life.past, life.world, life.future = line[:at], line[at], line[at + 1 :]

    @rule(which=_NUMBERS, name=_NAMES)
    def roll_back(self, which: int, name: str) -> None:
        """Mark a state, go on, and come back."""
        life = self.life(which)
        mark, then = life.session.checkpoint(), life.world
        self.append(which, name, 1000)
        life.session.rollback(mark)
        life.future, life.world = [life.world], then
        life.past.pop()

    @precondition(lambda self: not self.branches)
    @rule(n=st.integers(1, 3))
    def branch(self, n: int) -> None:
        grown = self.main.session.branch(n)
        self.branches = [Life(branch, self.main.world) for branch in grown]

    @precondition(lambda self: self.branches)
    @rule(which=_NUMBERS)
    def adopt(self, which: int) -> None:
        chosen = self.life(which)
        branch: Any = chosen.session
        branch.adopt()
        self.main.advance(chosen.world)
        self.branches = []

    @precondition(lambda self: self.branches)
    @rule()
    def drop(self) -> None:
        for life in self.branches:
            life.session.close()
        self.branches = []

    @invariant()
    def everything_is_as_it_must_be(self) -> None:
        if hasattr(self, "main"):
            for life in self.branches or [self.main]:
                life.check()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "given.txt").write_text("given\n")
    (folder / "given.txt").chmod(0o644)
    with open_sandbox("jail", workspace=folder, policy=Policy(wall_seconds=10, history=_LIMIT)) as box:
        yield box


def test_no_walk_leads_to_a_state_that_it_must_not(box):
    Walk.box = box
    long = settings.get_current_profile_name() == "long"
    Walk.TestCase.settings = settings(
        max_examples=40 if long else 12,
        stateful_step_count=50 if long else 20,
        deadline=None,
        derandomize=not long,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each walk takes seconds: it is not made shorter
    )
    Walk.TestCase("runTest").debug()
