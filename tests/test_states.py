"""What a model has read, kept for later runs: verified, bounded, and never trusted when damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.models import states as module
from agent.models.states import States


def kept(states: States, text: str, data: bytes = b"state") -> Path:
    part = states.begin()
    (states.folder / part).write_bytes(data)
    states.keep(part, text)
    name = states.find(text)
    assert name is not None
    return states.folder / name


def test_a_state_is_found_by_what_it_was_made_of(tmp_path: Path) -> None:
    states = States(tmp_path / "states", "model A")
    assert states.find("rules") is None
    file = kept(states, "rules")
    assert file.read_bytes() == b"state"
    assert hashlib.sha256(b"state").hexdigest() in file.name
    assert states.find("other rules") is None
    assert States(states.folder, "model B").find("rules") is None
    assert States(states.folder, "model A").find("rules") == file.name


@pytest.mark.parametrize("damage", [b"", b"stat", b"state and more", b"stata"])
def test_a_damaged_state_is_removed_and_not_found(tmp_path: Path, damage: bytes) -> None:
    states = States(tmp_path, "model")
    file = kept(states, "rules")
    file.write_bytes(damage)
    assert states.find("rules") is None
    assert not file.exists()


def test_what_was_begun_and_not_kept_counts_for_nothing(tmp_path: Path) -> None:
    states = States(tmp_path, "model")
    (tmp_path / states.begin()).write_bytes(b"half")
    assert states.find("rules") is None


def test_what_was_not_used_for_the_longest_time_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BOUND", 250)
    states = States(tmp_path, "model")
    files = [kept(states, text, text.encode() * 100) for text in "ab"]
    assert states.find("a")  # used later than b
    kept(states, "c", b"c" * 100)
    assert [states.find(text) is not None for text in "abc"] == [True, False, True]
    assert not files[1].exists()
