"""The collector over any tree that an attacker could have made, also while it changes under its hands."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_changes import Lab

from sandbox.changes import Changes
from sandbox.changes.nouns import objection, withheld
from sandbox.errors import ConfigError

SECRET = b"the secret outside"
_OVERLAY = ("opaque", "redirect", "metacopy", "whiteout", "origin")
Node = tuple[Any, ...]
Entry = tuple[tuple[str, ...], Node]

NAMES = st.sampled_from(["a", "b", "c"]) | st.sampled_from(
    [
        *("new\nline", "\x1b]0;x\x07", "rtl\u202e", "\udcff\udcfe", "é😀", " ", "-rf", "\\", "~", "...", "a\tb"),
        *(".git", ".GIT", "hooks", ".bashrc", "m.pyc", "e.pth", ".wh.a", ".wh..wh..opq", "#0", "n" * 255, "CON"),
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(tuple)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o400, 0o000, 0o4755, 0o2777, 0o7777])
NODES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=40) | st.just(b"x" * 600), MODES),
    st.tuples(st.just("dir"), st.sampled_from(["", *_OVERLAY]), st.sampled_from([b"y", b"x", b"", b"/a", b"n" * 99])),
    st.tuples(st.just("link"), st.sampled_from(["", "a", "..", "/", "/etc/passwd", "\udcff", "loop", "n" * 4000])),
    st.tuples(st.just("marked"), st.sampled_from(_OVERLAY)),
    st.tuples(st.just("hard"), st.sampled_from(["a", "b", "secret"])),
    st.tuples(st.just("sparse"), st.sampled_from([1, 4096, 1 << 20, 1 << 40])),
    st.tuples(st.sampled_from(["fifo", "socket", "whiteout", "null", "disk", "deep", "wide"])),
)
ENTRIES = st.lists(st.tuples(PATHS, NODES), max_size=12)
PLAIN = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=40), st.sampled_from([0o644, 0o755, 0o600])),
    st.tuples(st.just("dir"), st.just(""), st.just(b"")),
    st.tuples(st.just("link"), st.sampled_from(["a", "..", "/etc/passwd"])),
    st.tuples(st.just("fifo")),
)
"""What a user's own folder may hold."""


def plant(layer: Path, entries: list[Entry], secret: Path) -> None:
    """Make the entries as far as they can be made, later ones in the place of earlier ones, through no link."""
    for parts, node in entries:
        path = layer.joinpath(*parts)
        with suppress(OSError):
            for parent in path.parents[: len(parts) - 1]:
                if parent.is_symlink():
                    parent.unlink()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                if node[0] != "dir":
                    shutil.rmtree(path)
            elif os.path.lexists(path):
                path.unlink()
            _make(path, node, layer, secret)


def _make(path: Path, node: Node, layer: Path, secret: Path) -> None:
    match node:
        case ("file", data, mode):
            path.write_bytes(data)
            path.chmod(mode)
        case ("dir", mark, value):
            path.mkdir(exist_ok=True)
            if mark:
                os.setxattr(path, f"user.overlay.{mark}", value)
        case ("link", target):
            path.symlink_to(target or secret)
        case ("marked", mark):
            path.write_bytes(b"")
            os.setxattr(path, f"user.overlay.{mark}", b"y")
        case ("hard", name):
            os.link(secret if name == "secret" else layer / name, path, follow_symlinks=False)
        case ("sparse", size):
            with path.open("wb") as file:
                file.truncate(size)
        case ("fifo",):
            os.mkfifo(path)
        case ("socket",):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case ("deep",):
            path.joinpath(*["d"] * 70).mkdir(parents=True)
        case ("wide",):
            path.mkdir()
            for n in range(60):
                (path / str(n)).touch()
        case ("whiteout" | "null" | "disk" as kind,):
            device = {"whiteout": (0, 0), "null": (1, 3), "disk": (8, 0)}[kind]
            os.mknod(path, (stat.S_IFBLK if kind == "disk" else stat.S_IFCHR) | 0o666, os.makedev(*device))
        case _:
            raise AssertionError(node)


@contextmanager
def laboratory(top: Path, folder: list[Entry], inputs: list[Entry], upper: list[Entry]) -> Iterator[tuple[Lab, Path]]:
    """The three layers, and a secret beside them; all of it is gone afterwards."""
    base = top / os.urandom(8).hex()
    lab, secret = Lab(base / "lab"), base / "secret" / "f"
    secret.parent.mkdir()
    secret.write_bytes(SECRET)
    try:
        for layer, entries in ((lab.folder, folder), (lab.inputs, inputs), (lab.upper, upper)):
            plant(layer, entries, secret)
        yield lab, secret
    finally:
        shutil.rmtree(base)


def world(top: Path) -> dict[str, tuple[Any, ...]]:
    """Names, kinds, modes and contents below `top`."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            found[str(path)] = (mode, os.readlink(path) if stat.S_ISLNK(mode) else _held(path))
    return found


def _held(path: Path) -> bytes | int:
    size = path.lstat().st_size
    return path.read_bytes() if path.is_file() and size < 1 << 20 else size


def check(changes: Changes, max_bytes: int, max_files: int) -> None:
    """What holds of every collection."""
    stored = list((changes.store / "files").iterdir())
    assert sum(path.stat().st_size for path in stored) <= max_bytes and len(changes) <= max_files
    assert all(path.is_file() and SECRET not in path.read_bytes() for path in stored)
    assert all(not objection(item.path) and not withheld(item.path) for item in changes)
    assert all(entry.path.isprintable() and entry.reason.isprintable() for entry in changes.skipped)
    assert Changes.load(changes.store) == changes and "".join(changes.summary()).isprintable()
    assert sum(item.content is not None for item in changes) == len(stored)


INPUTS = st.lists(st.tuples(st.tuples(NAMES), st.tuples(st.just("file"), st.binary(max_size=9), st.just(0o644))))


@given(st.lists(st.tuples(PATHS, PLAIN), max_size=8), INPUTS, ENTRIES)
@example([(("a", "b"), ("file", b"x", 0o644))], [], [(("a",), ("dir", "opaque", b"y"))])
@example([(("a",), ("link", ".."))], [], [(("a",), ("file", b"x", 0o7777)), (("b", "c"), ("hard", "secret"))])
def test_any_tree_is_taken_or_left_and_applied_and_undone(
    tmp_path: Path, folder: list[Entry], inputs: list[Entry], upper: list[Entry]
) -> None:
    with laboratory(tmp_path, folder, inputs, upper) as (lab, secret):
        before, descriptors = world(lab.folder), len(os.listdir("/proc/self/fd"))
        changes = lab.collect(max_bytes=1000, max_files=40)
        check(changes, 1000, 40)
        for item in changes:
            if item.content is not None:
                assert changes.read(item.path) == (lab.upper / item.path).read_bytes()
        assert world(lab.folder) == before
        changes.apply()
        for item in changes:
            if item.content is not None:
                assert (lab.folder / item.path).read_bytes() == (lab.upper / item.path).read_bytes()
        changes.undo()
        assert world(lab.folder) == before and secret.read_bytes() == SECRET
        assert len(os.listdir("/proc/self/fd")) <= descriptors  # garbage of an earlier test may have gone


@settings(max_examples=max(5, settings().max_examples // 10))
@given(st.lists(st.tuples(PATHS, PLAIN), max_size=5), ENTRIES, st.lists(st.tuples(PATHS, NODES), min_size=2))
def test_a_tree_that_changes_while_it_is_read_leads_nowhere(
    tmp_path: Path, folder: list[Entry], upper: list[Entry], moves: list[Entry]
) -> None:
    """A thread replaces entries by others, links to a secret among them, as fast as it can."""
    with laboratory(tmp_path, folder, [], upper) as (lab, secret):
        swap = [(("a",), ("link", str(secret.parent))), (("a", "f"), ("file", b"mine", 0o644))]
        stop = threading.Event()

        def race() -> None:
            while not stop.is_set():
                plant(lab.upper, [*swap, *moves, swap[1]], secret)

        thread = threading.Thread(target=race)
        thread.start()
        try:
            for _ in range(10):
                check(lab.collect(max_bytes=1000, max_files=40), 1000, 40)
        finally:
            stop.set()
            thread.join()
        assert secret.read_bytes() == SECRET


@given(ENTRIES)
def test_a_folder_that_changes_meanwhile_is_a_conflict_or_applied(tmp_path: Path, moves: list[Entry]) -> None:
    """Whatever stands in the folder by the time of the apply: all of it is made true, or nothing."""
    mine = [(("a",), ("file", b"1", 0o644)), (("b", "c"), ("file", b"2", 0o644))]
    upper = [
        (("a",), ("file", b"new", 0o644)),
        (("b", "d"), ("file", b"3", 0o644)),
        (("c", "a"), ("file", b"4", 0o600)),
    ]
    with laboratory(tmp_path, mine, [], upper) as (lab, secret):
        changes = lab.collect()
        plant(lab.folder, moves, secret)
        before = world(lab.folder)
        try:
            changes.apply()
        except ConfigError:
            assert world(lab.folder) == before
            return
        assert all((lab.folder / item.path).read_bytes() == changes.read(item.path) for item in changes if item.sha256)
        assert secret.read_bytes() == SECRET


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "/a", "a//b", "a/./b", "a\0", "\ud800", "a/" * 70])
def test_a_path_that_leads_elsewhere_is_no_path_of_a_change(name: str) -> None:
    assert objection(name)
