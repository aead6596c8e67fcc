"""Folders that a program made, measured and removed: deep, wide, closed, and with names that are no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.worker import trees


def dig(place: Path, levels: int, name: str = "d" * 100) -> None:
    here = os.getcwd()
    os.chdir(place)
    for _ in range(levels):
        os.mkdir(name)
        os.chdir(name)
    Path("end").write_bytes(bytes(8192))
    os.chdir(here)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def test_bytes_and_entries_are_counted_below_and_not_through_links(place, tmp_path):
    (tmp_path / "outside").write_bytes(bytes(1 << 20))
    (place / "link").symlink_to(tmp_path)
    (place / "a").mkdir()
    (place / "a" / b"\xff\n".decode(errors="surrogateescape")).write_bytes(bytes(100_000))
    size, entries = trees.used(str(place), 1000)
    assert entries == 3 and 100_000 <= size < 300_000


def test_what_is_below_the_longest_path_counts(place):
    dig(place, 200)
    assert trees.used(str(place), 1000)[1] == 201


def test_more_than_may_be_and_deeper_than_is_looked_is_too_much(place):
    for number in range(30):
        (place / str(number)).write_text("")
    assert trees.used(str(place), 30)[1] == 30 and trees.used(str(place), 20)[1] == 21
    dig(place, trees.DEEPEST + 1)
    assert trees.used(str(place), 10_000)[1] == 10_001


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_can_be_filled_but_not_looked_into_is_too_much(place):
    (place / "empty").mkdir(mode=0)
    assert trees.used(str(place), 100)[1] == 1
    (place / "hidden").mkdir(mode=0o300)
    assert trees.used(str(place), 100)[1] == 101


def test_everything_is_removed_and_nothing_else(place, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    dig(place, 1500)
    (place / "link").symlink_to(tmp_path / "outside")
    (place / ".0.removed").write_text("in the way")
    (place / "x" / ".1.removed").mkdir(parents=True)
    (place / "x" / "closed").mkdir(mode=0)
    (place / "x" / "fixed").mkdir(mode=0o555)
    os.mkfifo(place / "fifo")
    trees.remove(str(place))
    assert not place.exists() and (tmp_path / "outside" / "kept").read_text() == "kept"
    trees.remove(str(place))
