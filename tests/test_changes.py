from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.changes import Changes, collect, pass_moment
from sandbox.changes.beneath import Tree, rename_new, tree
from sandbox.errors import ConfigError

ROOT = os.geteuid() == 0
UNSHARE = ["unshare", "-m"]
needs_root = pytest.mark.skipif(not ROOT, reason="needs root: whiteouts and mounts")


@dataclass
class Lab:
    """A user's folder, an overlay's upper layer and an input folder, all made by hand."""

    base: Path
    count: int = 0

    def __post_init__(self) -> None:
        for name in ("folder", "upper", "inputs"):
            (self.base / name).mkdir(parents=True)
        self.folder, self.upper, self.inputs = (self.base / n for n in ("folder", "upper", "inputs"))

    def write(self, layer: str, path: str, data: str | bytes = "text\n", mode: int = 0o644) -> Path:
        target = self.base / layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        target.chmod(mode)
        return target

    def whiteout(self, path: str) -> None:
        target = self.upper / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(0, 0))

    def opaque(self, path: str) -> None:
        (self.upper / path).mkdir(parents=True, exist_ok=True)
        os.setxattr(self.upper / path, "user.overlay.opaque", b"y")

    def collect(self, **options: Any) -> Changes:
        self.count += 1
        given: dict[str, Any] = {"max_bytes": 1 << 20, "max_files": 1000, "folder": self.folder, "inputs": self.inputs}
        fd = os.open(self.upper, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return collect(fd, store=self.base / f"store{self.count}", **{**given, **options})
        finally:
            os.close(fd)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


def kinds(changes: Changes) -> list[tuple[str, str]]:
    return [(item.kind, item.path + "/" * item.is_dir) for item in changes]


def reasons(changes: Changes) -> dict[str, str]:
    return {entry.path: entry.reason for entry in changes.skipped}


# What a change is


def test_created_and_modified_files_and_folders(lab: Lab) -> None:
    lab.write("folder", "a.txt", "one\ntwo\n", 0o640)
    lab.write("upper", "a.txt", "one\nTWO\nthree\n")
    lab.write("upper", "out/deep/b.csv", "x,y\n", 0o600)
    (lab.upper / "empty").mkdir()
    changes = lab.collect()
    assert kinds(changes) == [
        ("modified", "a.txt"),
        ("created", "empty/"),
        ("created", "out/"),
        ("created", "out/deep/"),
        ("created", "out/deep/b.csv"),
    ]
    assert changes.summary() == ["~ a.txt (+2 -1)", "+ empty/", "+ out/", "+ out/deep/", "+ out/deep/b.csv (4 B)"]
    assert changes.read("a.txt") == b"one\nTWO\nthree\n"
    assert len(changes) == 5 and changes and not changes.skipped and changes.state == "pending"
    first = changes.items[0]
    assert (first.size, first.old_size, first.mode) == (14, 8, 0o640)
    assert (lab.folder / "a.txt").read_text() == "one\ntwo\n"


def test_identical_bytes_are_no_change_but_the_executable_bit_is_one(lab: Lab) -> None:
    for layer in ("folder", "upper"):
        lab.write(layer, "touched.txt", "same\n")
    lab.write("folder", "run.sh", "true\n", 0o644)
    lab.write("upper", "run.sh", "true\n", 0o755)
    changes = lab.collect()
    assert kinds(changes) == [("modified", "run.sh")] and changes.items[0].mode == 0o755
    assert changes.summary() == ["~ run.sh (now executable)"]


def test_identical_files_do_not_use_up_the_budget(lab: Lab) -> None:
    for layer in ("folder", "upper"):
        lab.write(layer, "a.bin", b"x" * 900)
    lab.write("upper", "b.bin", b"y" * 900)
    assert kinds(lab.collect(max_bytes=1000)) == [("created", "b.bin")]


def test_inputs_live_outside_of_the_folder(lab: Lab) -> None:
    lab.write("inputs", "data.csv", "1\n")
    lab.write("inputs", "same.csv", "2\n")
    lab.write("upper", "data.csv", "1\n2\n")
    lab.write("upper", "same.csv", "2\n")
    assert kinds(lab.collect()) == [("created", "data.csv")]


@needs_root
def test_a_deleted_input_is_no_change_even_where_it_hid_a_file(lab: Lab) -> None:
    lab.write("inputs", "data.csv")
    lab.write("folder", "data.csv", "the user's own, which the program never saw")
    lab.whiteout("data.csv")
    assert not lab.collect()


@needs_root
def test_whiteouts_expand_to_what_the_folder_has(lab: Lab) -> None:
    for path in ("gone.txt", "dir/a", "dir/sub/b", "stays.txt"):
        lab.write("folder", path)
    lab.whiteout("gone.txt")
    lab.whiteout("dir")
    lab.whiteout("never-was")
    changes = lab.collect()
    assert kinds(changes) == [
        ("deleted", "gone.txt"),
        ("deleted", "dir/sub/b"),
        ("deleted", "dir/sub/"),
        ("deleted", "dir/a"),
        ("deleted", "dir/"),
    ]
    assert "- gone.txt" in changes.summary() and "- dir/" in changes.summary()


def test_an_opaque_directory_deletes_what_is_not_in_it(lab: Lab) -> None:
    for path in ("d/old", "d/kept", "d/sub/x", "d/sub/y"):
        lab.write("folder", path)
    lab.opaque("d")
    lab.write("upper", "d/kept")
    lab.write("upper", "d/sub/x", "new\n")  # below an opaque directory all is hidden, marked or not
    assert kinds(lab.collect()) == [("deleted", "d/sub/y"), ("deleted", "d/old"), ("modified", "d/sub/x")]


def test_a_file_that_becomes_a_folder_and_the_reverse(lab: Lab) -> None:
    lab.write("folder", "x", "file\n")
    lab.write("upper", "x/inner")
    lab.write("folder", "y/a/b")
    lab.write("upper", "y", "file\n")
    assert kinds(lab.collect()) == [
        ("deleted", "y/a/b"),
        ("deleted", "y/a/"),
        ("deleted", "y/"),
        ("deleted", "x"),
        ("created", "x/"),
        ("created", "x/inner"),
        ("created", "y"),
    ]


def test_without_a_folder_everything_is_created_and_nothing_can_be_applied(lab: Lab) -> None:
    lab.write("upper", "a")
    changes = lab.collect(folder=None, inputs=None)
    assert kinds(changes) == [("created", "a")] and changes.state == "pending"
    with pytest.raises(ConfigError, match="no folder"):
        changes.apply()


def test_special_bits_are_stripped_and_the_owner_may_read(lab: Lab) -> None:
    lab.write("upper", "suid", mode=0o4755)
    lab.write("upper", "wide", mode=0o3777)
    lab.write("upper", "shut", mode=0o400)
    modes = {item.path: item.mode for item in lab.collect()}
    assert modes == {"suid": 0o755, "wide": 0o777, "shut": 0o600}


# What is left out


def test_links_fifos_sockets_and_hard_links_are_skipped(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (lab.upper / "link").symlink_to(secret)
    (lab.upper / "linked-dir").symlink_to(tmp_path)
    os.mkfifo(lab.upper / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(lab.upper / "sock"))
    lab.write("upper", "one")
    os.link(lab.upper / "one", lab.upper / "two")
    lab.write("upper", "good")
    changes = lab.collect()
    assert kinds(changes) == [("created", "good")]
    assert set(reasons(changes)) == {"link", "linked-dir", "fifo", "sock", "one", "two"}
    assert "symbolic link" in reasons(changes)["link"] and "hard links" in reasons(changes)["one"]


@needs_root
def test_devices_are_skipped(lab: Lab) -> None:
    os.mknod(lab.upper / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    os.mknod(lab.upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    changes = lab.collect()
    assert not changes and set(reasons(changes)) == {"disk", "null"}


def test_a_sparse_file_is_refused_without_reading_it(lab: Lab) -> None:
    with (lab.upper / "huge").open("wb") as file:
        file.truncate(1 << 40)
    started = time.perf_counter()
    changes = lab.collect()
    assert time.perf_counter() - started < 5
    assert not changes and "too large" in reasons(changes)["huge"]


def test_the_budget_of_bytes_is_for_all_files_together(lab: Lab) -> None:
    for name in "abc":
        lab.write("upper", name, b"x" * 400)
    changes = lab.collect(max_bytes=1000)
    assert kinds(changes) == [("created", "a"), ("created", "b")] and "too large" in reasons(changes)["c"]


def test_a_file_that_grows_while_it_is_read_stays_within_the_budget(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = lab.write("upper", "log", b"x" * 100)
    real = os.read

    def read(fd: int, size: int) -> bytes:
        with growing.open("ab") as file:
            file.write(b"y" * 500)
        return real(fd, min(size, 100))

    monkeypatch.setattr(os, "read", read)
    changes = lab.collect(max_bytes=1000)
    assert not changes and "grew" in reasons(changes)["log"]
    assert not list((changes.store / "files").iterdir())


def test_the_number_of_files_is_capped(lab: Lab) -> None:
    for n in range(50):
        lab.write("upper", f"many/{n}")
    lab.write("upper", "a")
    changes = lab.collect(max_files=20)
    assert kinds(changes) == [("created", "a"), ("created", "many/")] and "more than 20" in reasons(changes)["many"]


def test_a_cut_opaque_directory_deletes_nothing(lab: Lab) -> None:
    lab.write("folder", "d/user.txt")
    lab.opaque("d")
    for n in range(50):
        lab.write("upper", f"d/{n}")
    assert not [i for i in lab.collect(max_files=20) if i.kind == "deleted"]


@needs_root
def test_deleting_more_than_the_cap_deletes_nothing(lab: Lab) -> None:
    for n in range(50):
        lab.write("folder", f"d/{n}")
    lab.whiteout("d")
    changes = lab.collect(max_files=20)
    assert not changes and "deleted" in reasons(changes)["d"]


def test_deep_nesting_is_cut_not_followed(lab: Lab) -> None:
    fd = os.open(lab.upper, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    try:
        changes = lab.collect(max_files=100_000)
        assert len(changes) == 64 and "too deep" in changes.skipped[0].reason
    finally:
        subprocess.run(["rm", "-rf", str(lab.upper)], check=True)


@pytest.mark.parametrize(
    "name", [b"new\nline", b"bell\x07", b"\xff\xfe", b"esc\x1b]0;x\x07", "rtl\u202etxt.exe".encode(), b"c1\xc2\x9b31m"]
)
def test_hostile_names_are_skipped_and_shown_harmlessly(lab: Lab, name: bytes) -> None:
    (lab.upper / os.fsdecode(name)).write_text("x")
    changes = lab.collect()
    assert not changes and len(changes.skipped) == 1
    shown = changes.skipped[0].path
    assert shown.isprintable() and "\\" in shown
    json.dumps(changes.to_json()).encode()


@given(
    st.lists(
        st.binary(min_size=1, max_size=20).filter(lambda n: not set(n) & {0, 47} and n not in (b".", b"..")), max_size=8
    )
)
def test_any_names_make_a_manifest_that_loads(tmp_path: Path, names: list[bytes]) -> None:
    lab = Lab(tmp_path / os.urandom(8).hex())
    for name in set(names):
        (lab.upper / os.fsdecode(name)).write_text("x")
    changes = lab.collect()
    assert Changes.load(changes.store) == changes
    assert len(changes) + len(changes.skipped) == len(set(names))
    assert all(item.path.encode() in names for item in changes)


@pytest.mark.parametrize(
    "path",
    [
        *(".git/hooks/post-checkout", "sub/.git/config", ".GIT/config", ".ssh/authorized_keys", ".bashrc", ".envrc"),
        *(".vscode/tasks.json", ".claude/settings.json", "__pycache__/m.cpython-311.pyc", "pkg/mod.pyc"),
        *("lib/python3/site-packages/evil.py", "evil.pth", "sitecustomize.py"),
    ],
)
def test_what_the_host_would_run_by_itself_is_withheld(lab: Lab, path: str) -> None:
    lab.write("upper", path, "evil")
    lab.write("upper", "good.py")
    changes = lab.collect()
    assert [i.path for i in changes if not i.is_dir] == ["good.py"]
    assert [r for r in reasons(changes).values() if "withheld" in r]


@needs_root
def test_a_folder_keeps_the_repository_in_it(lab: Lab) -> None:
    lab.write("folder", "proj/.git/config")
    lab.write("folder", "proj/a.py")
    lab.whiteout("proj")
    changes = lab.collect()
    assert kinds(changes) == [("deleted", "proj/a.py")] and "withheld" in reasons(changes)["proj/.git"]


def test_a_file_cannot_take_the_place_of_a_folder_with_a_repository(lab: Lab) -> None:
    lab.write("folder", "proj/.git/config")
    lab.write("upper", "proj", "now a file")
    changes = lab.collect()
    assert not changes and "have to stay" in reasons(changes)["proj"]


# The user's side


def test_nothing_is_followed_out_of_the_users_folder(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("outside")
    (lab.folder / "link").symlink_to(outside)
    (lab.folder / "file").symlink_to(outside / "x")
    lab.write("upper", "link/x", "evil")
    lab.write("upper", "file", "evil")
    changes = lab.collect()
    assert not changes and set(reasons(changes)) == {"link", "file"}


def test_a_copied_up_link_of_the_users_is_no_change(lab: Lab) -> None:
    for layer in (lab.folder, lab.upper):
        (layer / "link").symlink_to("target")
    changes = lab.collect()
    assert not changes and not changes.skipped


@needs_root
def test_a_deleted_link_is_a_change_of_the_link_only(lab: Lab, tmp_path: Path) -> None:
    (lab.folder / "link").symlink_to(tmp_path)
    lab.whiteout("link")
    changes = lab.collect()
    assert kinds(changes) == [("deleted", "link")]
    assert changes.items[0].before and changes.items[0].before.target == str(tmp_path)


@needs_root
def test_a_fifo_of_the_users_is_neither_read_nor_deleted(lab: Lab) -> None:
    (lab.folder / "d").mkdir()
    os.mkfifo(lab.folder / "d/fifo")
    lab.whiteout("d")
    changes = lab.collect()
    assert not changes and "d/fifo" in reasons(changes)


def test_openat2_refuses_links_and_ways_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("/etc")
    (tmp_path / "in/f").write_text("x")
    with tree(tmp_path / "in") as root:
        for path in ("link/passwd", "../in/f", "/etc/passwd", "link"):
            with pytest.raises(OSError), root.opened(path):
                pass
        with pytest.raises(OSError, match="NUL"), root.opened("f\0x"):
            pass
        assert root.read("f") == b"x" and root.target("link") == "/etc" and root.stat("nothing") is None


def test_rename_new_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        rename_new(fd, "a", "b")
    rename_new(fd, "a", "c")
    os.close(fd)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "c"]


@needs_root
def test_mounts_inside_the_users_folder_are_not_crossed(tmp_path: Path) -> None:
    code = f"""
import pathlib, subprocess
from sandbox.changes.beneath import tree
base = pathlib.Path({str(tmp_path)!r})
(base / "mnt").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "t", base / "mnt"], check=True)
(base / "mnt/x").write_text("x")
with tree(base) as root:
    try: root.read("mnt/x")
    except OSError as e: print(e.errno)
"""
    done = subprocess.run([*UNSHARE, sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [str(errno.EXDEV)], done.stderr


def test_swapping_links_in_while_collecting_never_leads_outside(lab: Lab, tmp_path: Path) -> None:
    """A thread swaps a directory and a link to a secret as fast as it can (B07)."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_text("SECRET")
    lab.write("upper", "d/f", "mine\n")
    (lab.upper / "l").symlink_to(tmp_path / "secret")
    code = (
        "import ctypes, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nlibc = ctypes.CDLL(None)\nprint(flush=True)\n"
        "while True: libc.renameat2(fd, b'd', fd, b'l', 2)\n"
    )
    swapper = subprocess.Popen([sys.executable, "-c", code, str(lab.upper)], stdout=subprocess.PIPE)
    assert swapper.stdout
    try:
        swapper.stdout.readline()
        seen: set[str] = set()
        both = {"d", "l", "d/f", "l/f"}
        for turn in range(5000):
            for item in (changes := lab.collect()):
                assert item.is_dir or changes.read(item.path) == b"mine\n"
                seen.add(item.path)
            if turn >= 150 and both <= seen:
                break
        assert both <= seen  # the race was on: both names were the directory at times
    finally:
        swapper.kill()
        swapper.wait()
        swapper.stdout.close()


# A real overlay, its upper layer handed over as a descriptor

OPERATIONS = """
os.remove("gone.txt"); shutil.rmtree("tree"); os.mkdir("tree"); open("tree/new", "w").write("n")
open("mod.txt", "a").write("more\\n"); os.utime("touch.txt"); os.chmod("run.sh", 0o755)
open("link", "a").write("via\\n")
shutil.rmtree("todir.d"); open("todir.d", "w").write("f"); os.remove("tofile"); os.makedirs("tofile/sub")
shutil.move("move", "moved"); os.symlink("/etc/passwd", "evil"); os.mkfifo("fifo"); open("in.csv", "a").write("2\\n")
os.makedirs("a/b/c"); open("a/b/c/é😀.txt", "w").write("u"); os.replace("tmp.txt", "replaced.txt")
"""


# Through a shell, so that the interpreter is found with the user's rights.
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", 'exec "$@"', "sh"]


def _python(command: list[str]) -> list[str]:
    """`command` and an interpreter that it can start, which finds this project."""
    for python in (sys.executable, "/usr/bin/python3"):
        words = [*command, "env", f"PYTHONPATH={Path(__file__).parents[1]}", python]
        if subprocess.run([*words, "-c", "import sandbox.changes"], capture_output=True).returncode == 0:
            return words
    pytest.skip("no interpreter that a plain user can start, or no user namespaces")


@needs_root
@pytest.mark.parametrize(
    ("options", "command"),
    [("", UNSHARE), (",userxattr", UNSHARE), (",userxattr", [*NOBODY, "unshare", "-Urm"])],
    ids=["root", "userxattr", "user-namespace"],
)
def test_a_real_overlay(lab: Lab, options: str, command: list[str]) -> None:
    for path in ("gone.txt", "tree/old", "tree/deep/old", "mod.txt", "touch.txt", "run.sh", "target.txt"):
        lab.write("folder", path)
    for path in ("todir.d/x", "tofile", "move/m", "tmp.txt", "replaced.txt"):
        lab.write("folder", path, path)
    (lab.folder / "link").symlink_to("target.txt")
    lab.write("inputs", "in.csv", "1\n")
    with _overlay(lab, options, command) as fd:
        changes = collect(
            fd, folder=lab.folder, inputs=lab.inputs, store=lab.base / "s", max_bytes=1 << 20, max_files=999
        )
    assert sorted(kinds(changes)) == sorted(
        [
            *(("deleted", p) for p in ("gone.txt", "tree/old", "tree/deep/old", "tree/deep/", "todir.d/x", "todir.d/")),
            *(("deleted", p) for p in ("tofile", "move/m", "move/", "tmp.txt")),
            *(("modified", p) for p in ("mod.txt", "run.sh", "target.txt", "replaced.txt")),
            *(("created", p) for p in ("tree/new", "todir.d", "tofile/", "tofile/sub/", "moved/", "moved/m", "in.csv")),
            *(("created", p) for p in ("a/", "a/b/", "a/b/c/", "a/b/c/é😀.txt")),
        ]
    )
    assert set(reasons(changes)) == {"evil", "fifo"}
    changes.apply()
    assert (lab.folder / "link").is_symlink() and (lab.folder / "target.txt").read_text() == "text\nvia\n"
    assert (lab.folder / "tofile/sub").is_dir() and (lab.folder / "todir.d").read_text() == "f"
    assert (lab.folder / "replaced.txt").read_text() == "tmp.txt" and not (lab.folder / "move").exists()


@contextmanager
def _overlay(lab: Lab, options: str, command: list[str]) -> Iterator[int]:
    """The upper directory of an overlay in a mount namespace that has died since."""
    ours, theirs = socket.socketpair()
    jail = lab.base / "jail"
    jail.mkdir()
    code = f"""
import os, shutil, socket, subprocess, sys
def run(*words): subprocess.run(words, check=True)
run("mount", "-t", "tmpfs", "t", {str(jail)!r})
os.chdir({str(jail)!r})
for name in ("u", "w", "view"): os.mkdir(name)
run("mount", "-t", "overlay", "o", "-o", "lowerdir={lab.inputs}:{lab.folder},upperdir=u,workdir=w{options}", "view")
os.chdir("view")
{OPERATIONS}
socket.send_fds(socket.socket(fileno={theirs.fileno()}), [b"."], [os.open("../u", os.O_RDONLY)])
"""
    _give_to_nobody(lab)
    with ours, theirs:
        subprocess.run([*_python(command), "-c", code], check=True, pass_fds=[theirs.fileno()], timeout=60)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    try:
        yield fds[0]
    finally:
        os.close(fds[0])


def _give_to_nobody(lab: Lab) -> None:
    subprocess.run(["chown", "-hR", "65534:65534", str(lab.base)], check=True)
    for parent in lab.base.parents:  # pytest's folders are closed to others
        if len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)


# Showing


def test_diff_shows_everything_and_hides_nothing(lab: Lab) -> None:
    lab.write("folder", "a.txt", "one\ntwo\nthree\n")
    lab.write("upper", "a.txt", "one\n\x1b[8m2\u202e\nthree")
    lab.write("upper", "b.bin", b"\0" * 12_000)
    lab.write("upper", "new.txt", "hello\n")
    changes = lab.collect()
    assert changes.diff("a.txt") == (
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n-three\n+\\x1b[8m2\\u202e\n+three\n"
        "\\ No newline at end of file\n"
    )
    assert changes.diff("b.bin") == "binary, 12 kB\n"
    assert changes.diff("new.txt") == "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+hello\n"
    with pytest.raises(ConfigError, match="not among"):
        changes.diff("other")


def test_the_diff_is_the_same_after_apply(lab: Lab) -> None:
    lab.write("folder", "a.txt", "one\ntwo\n")
    lab.write("upper", "a.txt", "one\nTWO\n")
    changes = lab.collect()
    before = changes.diff("a.txt"), changes.summary()
    changes.apply()
    assert (changes.diff("a.txt"), changes.summary()) == before


@given(st.lists(st.sampled_from("abc"), max_size=25), st.lists(st.sampled_from("abc"), max_size=25), st.booleans())
def test_patch_agrees_with_our_diffs(old: list[str], new: list[str], newline: bool) -> None:
    """Our diff, applied to the old lines, gives the new ones."""
    from sandbox.changes.diffs import tally, unified

    before, after = ("\n".join(x) + ("\n" if newline and x else "") for x in (old, new))
    text = unified(before.encode(), after.encode(), "f", 1)
    assert _patched(before, text) == after
    counts = tally(before.encode(), after.encode())
    lines = text.splitlines()[2:]
    assert counts == (sum(s[0] == "+" for s in lines), sum(s[0] == "-" for s in lines))


def _patched(old: str, diff: str) -> str:
    source, out, at = old.splitlines(keepends=True), [], 0
    lines = diff.splitlines(keepends=True)[2:]
    for n, line in enumerate(lines):
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            goal = int(start) - (length != "0")
            out += source[at:goal]
            at = goal
            continue
        if line.startswith("\\"):
            continue
        body = line[1:]
        if n + 1 < len(lines) and lines[n + 1].startswith("\\"):
            body = body[:-1]
        if line[0] in " -":
            assert source[at] == body
            at += 1
        if line[0] in " +":
            out.append(body)
    return "".join(out + source[at:])


@pytest.mark.parametrize("kind", ["same", "two", "half"])
def test_a_hostile_text_cannot_make_the_diff_slow(lab: Lab, kind: str) -> None:
    texts = {
        "same": ("a\n" * 100_000, "b\n" + "a\n" * 90_000 + "c\n"),
        "two": ("a\nb\n" * 50_000, "b\na\na\n" * 40_000),
        "half": ("".join(f"{n % 150}\n" for n in range(1700)), "".join(f"{n * 7 % 150}\n" for n in range(1700))),
    }
    lab.write("folder", "a.txt", texts[kind][0])
    lab.write("upper", "a.txt", texts[kind][1])
    changes = lab.collect()
    started = time.perf_counter()
    assert changes.summary() and len(changes.diff("a.txt")) < 110_000
    assert time.perf_counter() - started < 5


def test_to_json_is_plain(lab: Lab) -> None:
    lab.write("upper", "a")
    os.mkfifo(lab.upper / "f")
    data = json.loads(json.dumps(lab.collect().to_json()))
    assert data["changes"] == [{"path": "a", "kind": "created", "size": 5, "is_dir": False}]
    assert data["skipped"] == [{"path": "f", "reason": "not a regular file"}]


# The manifest


def test_load_gives_back_the_same_and_a_store_is_used_once(lab: Lab) -> None:
    lab.write("folder", "a", "1")
    lab.write("upper", "a", "2")
    changes = lab.collect()
    assert Changes.load(changes.store) == changes
    lab.count = 0
    with pytest.raises(ConfigError, match="already holds"):
        lab.collect()


def _edit(**fields: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["items"][0].update(fields)

    return change


@pytest.mark.parametrize(
    "edit",
    [
        *(
            _edit(path=p)
            for p in ("../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "x\n", "x\ud800", ".git/config")
        ),
        *(_edit(path=p) for p in (7, None, "d/" * 100 + "x", "n" * 300)),
        *(_edit(mode=m) for m in (0o4755, -1, True, "7", 1.0)),
        *(_edit(content=c) for c in (None, -1, "../../etc/passwd", True)),
        *(_edit(kind=k) for k in ("deleted", "renamed", 3)),
        _edit(sha256="0" * 63),
        _edit(before=None),
        _edit(before={"kind": "file"}),
        _edit(is_dir=1),
        lambda data: data["items"].append(data["items"][0]),
        lambda data: data.update(version=2),
        lambda data: data.update(items={}),
        lambda data: data.update(items=[[]]),
        lambda data: data.update(folder="relative"),
        lambda data: data.update(folder="/a\0b"),
        lambda data: data.pop("skipped"),
    ],
)
def test_a_hostile_manifest_is_refused(lab: Lab, edit: Any) -> None:
    lab.write("folder", "a", "1")
    lab.write("upper", "a", "2")
    manifest = lab.collect().store / "changes.json"
    data = json.loads(manifest.read_text())
    edit(data)
    manifest.write_text(json.dumps(data))
    with pytest.raises(ConfigError):
        Changes.load(manifest.parent)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"version":1' + "0" * 5000 + "}", "null", "\xff"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "changes.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        Changes.load(tmp_path)


def test_a_missing_manifest_and_a_link_in_its_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Changes.load(tmp_path)
    (tmp_path / "changes.json").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError):
        Changes.load(tmp_path)


@needs_root
def test_it_works_as_a_plain_user(lab: Lab) -> None:
    """Collected and applied without root; a file nobody may read is left out, not a crash."""
    lab.write("folder", "a.txt", "1\n")
    lab.write("upper", "a.txt", "2\n")
    lab.write("upper", "shut", mode=0)
    _give_to_nobody(lab)
    code = f"""
import os, pathlib
from sandbox.changes import collect
base = pathlib.Path({str(lab.base)!r})
fd = os.open(base / "upper", os.O_RDONLY)
c = collect(fd, folder=base / "folder", inputs=None, store=base / "s", max_bytes=1000, max_files=100)
c.apply(); print(c.summary(), [s.path for s in c.skipped], c.state); c.undo(); print(c.state)
"""
    done = subprocess.run([*_python(NOBODY), "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["['~ a.txt (+1 -1)'] ['shut'] applied", "undone"], done.stderr


def test_tree_reads_nothing_but_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="not a regular file"):
        Tree(fd).read("fifo")
    os.close(fd)


def test_a_file_that_changes_right_after_a_moment_has_passed_says_so(tmp_path: Path) -> None:
    """The clock of file times stands still for milliseconds; an edit in between would look older than it is."""
    moments = []
    for n in range(60):
        moments.append(time.time_ns())
        pass_moment(moments[-1])
        (tmp_path / f"{n}").mkdir()
    assert all((tmp_path / f"{n}").stat().st_ctime_ns > moment for n, moment in enumerate(moments))


def test_a_moment_of_long_ago_or_in_the_future_is_not_waited_for() -> None:
    began = time.monotonic()
    pass_moment(0)
    pass_moment(time.time_ns() + 3_600_000_000_000)
    assert time.monotonic() - began < 5
