from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes import ApplyConflict, Changes, collect
from sandbox.errors import ConfigError

Snapshot = dict[str, tuple[Any, ...]]
OLD = 1_600_000_000_123_456_789


def snapshot(folder: Path, *, times: bool) -> Snapshot:
    """Everything below `folder`: kind, permissions, content, and the times of files where they matter."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("dir", stat.S_IMODE(info.st_mode))
        else:
            mtime = info.st_mtime_ns if times else 0
            found[name] = ("file", stat.S_IMODE(info.st_mode), path.read_bytes(), mtime)
    return found


def write(path: Path, data: str = "text\n", mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data)
    path.chmod(mode)
    os.utime(path, ns=(OLD, OLD))


def opaque(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.setxattr(path, "user.overlay.opaque", b"y")


def gathered(base: Path) -> Changes:
    fd = os.open(base / "upper", os.O_RDONLY)
    try:
        return collect(fd, folder=base / "folder", inputs=None, store=base / "store", max_bytes=1 << 20, max_files=1000)
    finally:
        os.close(fd)


def prepared(base: Path) -> Changes:
    """One change of every sort: modified, created, deleted, folders, a link, both type changes, an executable bit."""
    folder, upper = base / "folder", base / "upper"
    for path in ("mod.txt", "d/old.txt", "d/sub/deep.txt", "x-file", "y-dir/inner", "untouched", "d/kept"):
        write(folder / path, f"old {path}\n", 0o640)
    write(folder / "run.sh", "true\n")
    (folder / "d/link").symlink_to("../untouched")
    (folder / "y-dir").chmod(0o750)
    opaque(upper / "d")  # deletes what is in d, except kept
    write(upper / "d/kept", "old d/kept\n", 0o640)
    write(upper / "mod.txt", "new\n")
    write(upper / "run.sh", "true\n", 0o755)
    write(upper / "out/a/b.txt", "new b\n")
    (upper / "out/empty").mkdir()
    write(upper / "x-file/now-a-dir", "new x\n")
    write(upper / "y-dir", "now a file\n")
    changes = gathered(base)
    assert len(changes) == 16
    return changes


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "upper").mkdir()
    return tmp_path


# The whole of it


def test_apply_and_undo(base: Path) -> None:
    changes = prepared(base)
    folder = base / "folder"
    before = snapshot(folder, times=True)
    assert changes.conflicts() == ()
    changes.apply()
    assert changes.state == "applied" and Changes.load(changes.store).state == "applied"
    assert snapshot(folder, times=False) == {
        "d": ("dir", 0o755),
        "d/kept": ("file", 0o640, b"old d/kept\n", 0),
        "mod.txt": ("file", 0o640, b"new\n", 0),
        "out": ("dir", 0o755),
        "out/a": ("dir", 0o755),
        "out/a/b.txt": ("file", 0o644, b"new b\n", 0),
        "out/empty": ("dir", 0o755),
        "run.sh": ("file", 0o755, b"true\n", 0),
        "untouched": ("file", 0o640, b"old untouched\n", 0),
        "x-file": ("dir", 0o755),
        "x-file/now-a-dir": ("file", 0o644, b"new x\n", 0),
        "y-dir": ("file", 0o644, b"now a file\n", 0),
    }
    assert changes.conflicts() == ()
    changes.finish()  # nothing is left to do
    changes.undo()
    assert changes.state == "undone" and snapshot(folder, times=True) == before
    changes.undo()
    assert snapshot(folder, times=True) == before


def test_applying_twice_and_the_wrong_order_are_clear_errors(base: Path) -> None:
    changes = prepared(base)
    for wrong in (changes.finish, changes.undo):
        with pytest.raises(ConfigError):
            wrong()
    changes.apply()
    with pytest.raises(ConfigError, match="applied already"):
        changes.apply()
    changes.undo()
    with pytest.raises(ConfigError, match="no apply to finish"):
        changes.finish()
    changes.apply()  # what was undone may be done again
    assert changes.state == "applied"


def test_no_changes_apply(base: Path) -> None:
    changes = gathered(base)
    changes.apply()
    assert changes.state == "applied" and not changes


# Crashes


def _dies_at(changes: Changes, k: int, act: str = "apply", *, calls: bool = False) -> bool:
    """Run `act` in a child that is killed at its k-th step (or k-th system call that has an effect); whether it was."""
    if (child := os.fork()) == 0:
        left = k

        def step(_: str) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        effects = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.utime", "os.chmod")
        try:
            if calls:
                sys.addaudithook(lambda event, _: step(event) if event in effects else None)
            getattr(changes, act)(_step=None if calls else step)
            os._exit(0)
        except BaseException:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != 0


@pytest.mark.parametrize("calls", [False, True], ids=["steps", "calls"])
@pytest.mark.parametrize("then", ["finish", "undo"])
def test_a_crash_at_any_point_can_be_completed_or_reverted(base: Path, then: str, calls: bool) -> None:
    changes = prepared(base)
    folder = base / "folder"
    old = snapshot(folder, times=True)
    changes.apply()
    new = snapshot(folder, times=False)
    changes.undo()
    k = 0
    while True:
        (changes.store / "journal.json").unlink()
        crashed = _dies_at(changes, k, calls=calls)
        if changes.state == "pending":
            assert crashed and snapshot(folder, times=True) == old
            changes.apply()
        elif crashed and changes.state != "applied":
            assert changes.state == "applying"
            with pytest.raises(ConfigError, match="interrupted"):
                changes.apply()
            assert changes.conflicts() == ()
        getattr(changes, then)()
        getattr(changes, then)()  # both can be repeated
        if then == "finish":
            assert snapshot(folder, times=False) == new, f"after step {k}"
            changes.undo()
        assert snapshot(folder, times=True) == old, f"after step {k}"
        if not crashed:
            break
        k += 1
    assert k > (80 if calls else 30)


@pytest.mark.parametrize("then", ["finish", "undo"])
def test_a_crash_of_undo_at_any_step(base: Path, then: str) -> None:
    changes = prepared(base)
    folder = base / "folder"
    old = snapshot(folder, times=True)
    changes.apply()
    new = snapshot(folder, times=False)
    k = 0
    while _dies_at(changes, k, "undo", calls=True):
        if changes.state == "applying":
            getattr(changes, then)()
        expected = new if changes.state == "applied" else old
        assert snapshot(folder, times=expected is old) == expected, f"after step {k}"
        if changes.state == "undone":
            changes.apply()
        k += 1
    assert k > 20 and snapshot(folder, times=True) == old


def test_crash_upon_crash_ends_well(base: Path) -> None:
    """Every attempt to finish dies one step later than the one before; then undo does so."""
    changes = prepared(base)
    folder = base / "folder"
    old = snapshot(folder, times=True)
    assert _dies_at(changes, 20)
    for k in range(1, 8):
        _dies_at(changes, k, "finish")
    for k in range(1, 8):
        _dies_at(changes, k, "undo")
    changes.undo()
    assert snapshot(folder, times=True) == old


def test_an_error_on_the_way_takes_everything_back(base: Path) -> None:
    changes = prepared(base)
    folder = base / "folder"
    old = snapshot(folder, times=True)
    labels: list[str] = []
    changes.apply(_step=labels.append)
    changes.undo()
    for n in range(len(labels)):
        count = iter(range(1000))

        def step(_: str, n: int = n, count: Any = count) -> None:
            if next(count) == n:
                raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(ConfigError, match="No space left"):
            changes.apply(_step=step)
        assert changes.state == "undone" and snapshot(folder, times=True) == old, labels[n]


def test_ctrl_c_takes_everything_back(base: Path) -> None:
    changes = prepared(base)
    old = snapshot(base / "folder", times=True)

    def step(label: str) -> None:
        if label == "done 12":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changes.apply(_step=step)
    assert changes.state == "undone" and snapshot(base / "folder", times=True) == old


names = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "b/a/b", "c"])
trees = st.dictionaries(names, st.sampled_from([None, "1\n", "2\n"]), max_size=6)


def _grow(root: Path, entries: dict[str, str | None]) -> None:
    root.mkdir(parents=True)
    for name, content in sorted(entries.items()):
        if any(parent.is_file() for parent in (root / name).parents):
            continue
        if content is None:
            (root / name).mkdir(parents=True, exist_ok=True)
        elif not (root / name).is_dir():
            write(root / name, content)


@given(trees, trees, st.integers(0, 60), st.booleans())
def test_any_tree_becomes_any_other_and_back(
    tmp_path: Path, old: dict[str, str | None], new: dict[str, str | None], k: int, finish: bool
) -> None:
    """With an opaque upper layer the result is that layer, whatever was there, wherever the crash."""
    base = tmp_path / os.urandom(8).hex()
    _grow(base / "folder", old)
    _grow(base / "upper", new)
    opaque(base / "upper")
    changes = gathered(base)
    before, goal = snapshot(base / "folder", times=True), snapshot(base / "upper", times=False)
    _dies_at(changes, k)
    if changes.state == "applying" and not finish:
        changes.undo()
        assert snapshot(base / "folder", times=True) == before
        return
    changes.finish()
    assert snapshot(base / "folder", times=False) == goal
    changes.undo()
    assert snapshot(base / "folder", times=True) == before


# Conflicts


@pytest.mark.parametrize(
    ("path", "meddle", "reason"),
    [
        ("mod.txt", lambda p: p.write_text("mine\n"), "changed meanwhile"),
        ("mod.txt", lambda p: p.unlink(), "deleted meanwhile"),
        ("d/old.txt", lambda p: p.write_text("mine\n"), "changed meanwhile"),
        ("out/a/b.txt", lambda p: write(p, "mine\n"), "exists by now"),
    ],
)
def test_the_users_own_change_is_a_conflict_unless_forced(
    base: Path, path: str, meddle: Callable[[Path], object], reason: str
) -> None:
    changes = prepared(base)
    folder = base / "folder"
    meddle(folder / path)
    before = snapshot(folder, times=True)
    with pytest.raises(ApplyConflict) as caught:
        changes.apply()
    assert [c.path for c in caught.value.conflicts] == [path] and reason in caught.value.conflicts[0].reason
    assert caught.value.conflicts == changes.conflicts() and caught.value.hint
    assert snapshot(folder, times=True) == before and changes.state == "pending"
    changes.apply(force=True)
    assert changes.state == "applied"
    changes.undo()  # brings back the user's own change
    assert snapshot(folder, times=True) == before


def _to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("untouched")


def _parent_to_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("path", "meddle"),
    [
        ("mod.txt", _to_link),
        ("d/sub/deep.txt", _parent_to_link),
        ("out", lambda p: p.symlink_to("d")),
        ("mod.txt", lambda p: (p.unlink(), p.mkdir())),
        ("mod.txt", lambda p: (p.unlink(), os.mkfifo(p))),
        ("d/sub/mine.txt", lambda p: p.write_text("mine")),
    ],
)
def test_some_conflicts_stand_even_with_force(base: Path, path: str, meddle: Callable[[Path], object]) -> None:
    changes = prepared(base)
    folder = base / "folder"
    meddle(folder / path)
    names = sorted(p.name for p in folder.rglob("*"))
    for force in (False, True):
        with pytest.raises(ApplyConflict) as caught:
            changes.apply(force=force)
        assert caught.value.conflicts[0].hard
    assert sorted(p.name for p in folder.rglob("*")) == names and changes.state == "pending"


def test_touching_a_file_or_deleting_what_would_be_deleted_is_no_conflict(base: Path) -> None:
    changes = prepared(base)
    os.utime(base / "folder/mod.txt")
    (base / "folder/d/old.txt").unlink()
    assert changes.conflicts() == ()
    changes.apply()


def test_a_change_between_the_check_and_the_write_is_not_overwritten(base: Path) -> None:
    changes = prepared(base)

    def step(label: str) -> None:
        if label == "applying":
            (base / "folder/mod.txt").write_text("mine, just now\n")

    with pytest.raises(ApplyConflict):
        changes.apply(_step=step)
    assert (base / "folder/mod.txt").read_text() == "mine, just now\n"
    assert (base / "folder/d/old.txt").exists() and changes.state == "undone"


def test_a_link_planted_during_apply_is_not_followed(base: Path) -> None:
    outside = base / "outside"
    outside.mkdir()
    changes = prepared(base)
    old = snapshot(base / "folder", times=True)

    def step(label: str) -> None:
        made = base / "folder/out/a"
        if made.is_dir() and not made.is_symlink() and not list(made.iterdir()):
            made.rmdir()
            made.symlink_to(outside)

    with pytest.raises((ApplyConflict, ConfigError)):
        changes.apply(_step=step)
    assert list(outside.iterdir()) == []
    (base / "folder/out/a").unlink(missing_ok=True)
    if (base / "folder/out").exists():
        (base / "folder/out").rmdir()
    assert snapshot(base / "folder", times=True) == old


def test_undo_refuses_where_the_user_has_gone_on(base: Path) -> None:
    changes = prepared(base)
    old = snapshot(base / "folder", times=True)
    changes.apply()
    (base / "folder/mod.txt").write_text("gone on\n")
    with pytest.raises(ApplyConflict, match="since"):
        changes.undo()
    assert changes.state == "applied" and (base / "folder/mod.txt").read_text() == "gone on\n"
    assert [c.path for c in changes.conflicts()] == ["mod.txt"]
    changes.undo(force=True)
    assert snapshot(base / "folder", times=True) == old


def test_undo_leaves_the_users_own_new_files(base: Path) -> None:
    changes = prepared(base)
    changes.apply()
    write(base / "folder/out/mine.txt", "mine\n")
    changes.undo()
    assert [p.name for p in (base / "folder/out").iterdir()] == ["mine.txt"]


def test_finish_refuses_where_the_user_has_gone_on_and_can_be_forced(base: Path) -> None:
    changes = prepared(base)
    assert _dies_at(changes, 25) and changes.state == "applying"
    (base / "folder/mod.txt").unlink()
    with pytest.raises(ApplyConflict):
        changes.finish()
    changes.finish(force=True)
    assert (base / "folder/mod.txt").read_text() == "new\n" and changes.state == "applied"


# The surroundings


def test_a_hard_link_elsewhere_keeps_its_content(base: Path) -> None:
    write(base / "folder/a", "old\n")
    os.link(base / "folder/a", base / "elsewhere")
    write(base / "upper/a", "new\n")
    gathered(base).apply()
    assert (base / "elsewhere").read_text() == "old\n" and (base / "folder/a").read_text() == "new\n"


def test_attributes_and_the_owner_of_a_modified_file_stay(base: Path) -> None:
    write(base / "folder/a", "old\n", 0o600)
    os.setxattr(base / "folder/a", "user.note", b"mine")
    if os.geteuid() == 0:
        os.chown(base / "folder/a", 1234, 1234)
    write(base / "upper/a", "new\n")
    changes = gathered(base)
    changes.apply()
    for _ in range(2):
        info = (base / "folder/a").stat()
        assert os.getxattr(base / "folder/a", "user.note") == b"mine" and stat.S_IMODE(info.st_mode) == 0o600
        assert info.st_uid == (1234 if os.geteuid() == 0 else os.geteuid())
        changes.undo()


def test_a_setuid_file_of_the_users_loses_the_bit_with_its_content_and_gets_it_back(base: Path) -> None:
    write(base / "folder/a", "old\n", 0o4755)
    write(base / "upper/a", "new\n", 0o755)
    changes = gathered(base)
    changes.apply()
    assert stat.S_IMODE((base / "folder/a").stat().st_mode) == 0o755
    changes.undo()
    assert stat.S_IMODE((base / "folder/a").stat().st_mode) == 0o4755


def test_a_content_swapped_in_the_store_is_not_applied(base: Path) -> None:
    changes = prepared(base)
    old = snapshot(base / "folder", times=True)
    number = next(i.content for i in changes if i.path == "mod.txt")
    (changes.store / f"files/{number}").write_text("bad\n")
    with pytest.raises(ConfigError, match="damaged"):
        changes.apply()
    assert snapshot(base / "folder", times=True) == old and changes.state == "undone"


def test_a_content_that_is_a_link_is_not_followed(base: Path) -> None:
    write(base / "upper/a", "new\n")
    changes = gathered(base)
    (changes.store / "files/0").unlink()
    (changes.store / "files/0").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError):
        changes.apply()
    with pytest.raises(ConfigError):
        changes.read("a")
    assert not list((base / "folder").iterdir())


@pytest.mark.parametrize("edit", [{"token": "../../x"}, {"phase": "odd"}, {"before": []}, {"force": 1}])
def test_a_hostile_journal_is_refused(base: Path, edit: dict[str, Any]) -> None:
    changes = prepared(base)
    changes.apply()
    journal = changes.store / "journal.json"
    journal.write_text(json.dumps({**json.loads(journal.read_text()), **edit}))
    with pytest.raises(ConfigError, match="damaged"):
        changes.undo()


def test_only_one_process_applies(base: Path) -> None:
    changes = prepared(base)

    def step(label: str) -> None:
        if label == "journal":
            with pytest.raises(ConfigError, match="another process"):
                Changes.load(changes.store).undo()

    changes.apply(_step=step)


def test_a_folder_that_is_gone_is_an_error(base: Path) -> None:
    changes = prepared(base)
    (base / "folder").rename(base / "away")
    with pytest.raises(ConfigError, match="cannot open the folder"):
        changes.apply()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
def test_a_full_disk_is_told_before_anything_is_touched(base: Path) -> None:
    code = f"""
import os, pathlib, subprocess
from sandbox.changes import collect
base = pathlib.Path({str(base)!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "t", base / "folder"], check=True)
(base / "upper/big").write_bytes(b"x" * 200_000)
fd = os.open(base / "upper", 0)
c = collect(fd, folder=base / "folder", inputs=None, store=base / "s", max_bytes=10**6, max_files=9)
try: c.apply()
except Exception as e: print(type(e).__name__, e, os.listdir(base / "folder"), c.state)
"""
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "ConfigError 200000 bytes are needed to apply these changes [] pending", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
def test_a_read_only_folder_is_a_clear_error(base: Path) -> None:
    write(base / "upper/a")
    code = f"""
import os, pathlib, subprocess
from sandbox.changes import collect
base = pathlib.Path({str(base)!r})
subprocess.run(["mount", "--bind", "-o", "ro", base / "folder", base / "folder"], check=True)
fd = os.open(base / "upper", 0)
c = collect(fd, folder=base / "folder", inputs=None, store=base / "s", max_bytes=10**6, max_files=9)
try: c.apply()
except Exception as e: print(type(e).__name__, e, "|", e.hint)
"""
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigError" in done.stdout and "Read-only file system" in done.stdout, done.stderr
