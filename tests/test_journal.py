"""The journal: what is on the disk after each step, and what it comes to when it is read again."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.journal import Journal, Step, Trail, digest_names, digest_run, read_trail
from sandbox import Execution, Name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def step(number: int, code: str = "x = 1") -> Step:
    return Step(number, code, digest=f"d{number}", names={"x": "abc"})


def written(path: Path, *entries: tuple[str, dict[str, Any]]) -> Trail:
    journal = Journal(path)
    for entry, values in entries:
        journal.write(entry, **values)
    journal.close()
    return read_trail(path)


def steps(*numbers: int) -> list[tuple[str, dict[str, Any]]]:
    return [("step", step(n).to_json()) for n in numbers]


def numbers(trail: Trail) -> list[int]:
    return [s.number for s in trail.done]


def test_it_is_private_and_holds_the_steps(path: Path) -> None:
    trail = written(path, ("opened", {"files": {"a.csv": [3, 4]}}), *steps(1, 2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert trail.done == [step(1), step(2)]
    assert (trail.files, trail.applied, trail.last) == ({"a.csv": [3, 4]}, False, 2)


def test_undo_redo_and_branches_are_followed(path: Path) -> None:
    undone = written(path, *steps(1, 2, 3), ("undo", {"n": 2}), ("redo", {"n": 1}))
    assert (numbers(undone), len(undone.undone)) == ([1, 2], 1)
    branched = written(path, *steps(4), ("branch", {}), *steps(5, 6))
    assert (numbers(branched), branched.branch, branched.undone) == ([1, 2, 4, 5, 6], 3, [])
    dropped = written(path, ("drop", {}))
    assert (numbers(dropped), dropped.branch) == ([1, 2, 4], None)
    adopted = written(path, ("branch", {}), *steps(7), ("adopt", {}), ("resumed", {"kept": [1, 4, 7]}))
    assert (numbers(adopted), adopted.branch, adopted.last) == ([1, 4, 7], None, 7)


def test_a_branch_is_where_its_first_step_is_when_some_before_it_fail(path: Path) -> None:
    trail = written(path, *steps(1, 2), ("branch", {}), *steps(3), ("resumed", {"kept": [2, 3]}))
    assert (numbers(trail), trail.branch) == ([2, 3], 1)


@given(st.integers(0, 400))
def test_a_half_written_line_is_passed_over(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Cut anywhere, the journal holds the whole lines before the cut; and it can be gone on with."""
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    written(path, *steps(1, 2, 3))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - min(cut, len(data))])
    whole = path.read_bytes().count(b"\n")
    kept = numbers(read_trail(path))
    assert kept in ([1, 2, 3][:whole], [1, 2, 3][: whole + 1])  # all of a line but its end
    assert numbers(written(path, *steps(9))) == [*kept, 9]


def test_damage_is_told(path: Path) -> None:
    for bad in ({"entry": "step", "number": 1}, {"entry": "undo", "n": 1}, {"entry": "drop"}, {"entry": "opened"}):
        path.write_text(json.dumps(bad) + "\n")
        with pytest.raises(ConfigError, match="damaged"):
            read_trail(path)


def test_it_is_open_once(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(ConfigError, match="open in another process"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_secrets_of_the_environment_are_masked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-very-secret-value")
    written(path, ("step", step(1, "key = 'sk-very-secret-value'").to_json()))
    assert "very-secret" not in path.read_text()
    assert "[redacted]" in path.read_text()


def test_each_entry_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(path.stat().st_size))
    journal = Journal(path)
    sizes = []
    for n in (1, 2):
        journal.write("undo", n=n)
        sizes.append(path.stat().st_size)
    journal.close()
    assert synced == sizes


def test_too_many_steps_are_refused_and_nothing_is_lost() -> None:
    trail = Trail([step(1), step(2)], branch=1)
    with pytest.raises(ConfigError, match="2 steps cannot be undone: there are 1"):
        trail.undo(2)
    with pytest.raises(ConfigError, match="redone"):
        trail.redo(1)
    assert numbers(trail) == [1, 2]


def test_digests_pass_over_addresses_and_nothing_else() -> None:
    def run(value: str, stdout: str = "") -> str:
        return digest_run(Execution("ok", stdout, value=value))

    assert run("<object at 0x7f3a2c11>") == run("<object at 0x7f3b00aa>")
    assert run("0x1f") != run("0x2f")
    assert run("1", "2") != run("2", "1")
    one, two = digest_names([Name("x", "int", "1")]), digest_names([Name("x", "int", "2")])
    assert one != two
    assert one == digest_names([Name("x", "int", "1")])
