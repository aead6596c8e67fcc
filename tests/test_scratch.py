"""Temporary folders: those of the living stay, those of the killed go with the next start."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.scratch import Scratch

HOLD = "import sys; from sandbox.scratch import Scratch; s = Scratch(); print(s.path, flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def _holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process that holds a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_goes_with_its_maker(place):
    with Scratch() as folder:
        assert folder.parent == place and folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x")
    assert list(place.iterdir()) == []


def test_closing_twice_and_beside_others(place):
    one, two = Scratch(), Scratch()
    one.close()
    one.close()
    assert list(place.iterdir()) == [two.path]
    two.close()


def test_what_kill_9_left_goes_with_the_next_start(place):
    process, folder = _holder(place)
    (folder / "file").write_text("x")
    with process:
        with Scratch():
            assert folder.exists(), "its process lives"
        process.kill()
        process.wait()
    assert folder.exists()
    with Scratch():
        assert not folder.exists()


def test_the_folder_of_a_process_that_cannot_be_seen_stays(place):
    """As in another container that shares the temporary files: its pids mean nothing here."""
    process, folder = _holder(place)
    with process:
        source = "from sandbox.scratch import Scratch; Scratch().close()"
        alone = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c", source]
        done = subprocess.run(alone, env={**os.environ, "TMPDIR": str(place)}, capture_output=True, check=False)
        if b"unshare" in done.stderr:
            pytest.skip("no namespaces for this user")
        assert done.returncode == 0, done.stderr
        assert folder.exists()
        process.kill()
        process.wait()


def test_links_and_files_of_that_name_are_left_alone(place, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    (target / "file").write_text("x")
    (place / "sandsmith-live-link").symlink_to(target)
    (place / "sandsmith-live-file").write_text("x")
    with Scratch():
        pass
    assert (target / "file").exists() and (place / "sandsmith-live-file").exists()


def test_many_at_once_never_take_each_others_folder():
    def once(_: int) -> None:
        with Scratch() as folder:
            (folder / "file").write_text("x")
            assert (folder / "file").read_text() == "x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(400)))


def test_a_folder_that_cannot_be_made_is_an_error(place):
    with pytest.raises(OSError):
        Scratch(place / "nowhere")


def test_a_folder_goes_with_the_last_reference_to_it_but_not_in_a_fork(place):
    scratch = Scratch()
    if (child := os.fork()) == 0:
        scratch.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert scratch.path.exists()
    del scratch
    assert list(place.iterdir()) == []
