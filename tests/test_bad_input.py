"""Bad input to the command: each gives a clear error and the right exit code, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.jail
REPLY = "```python\nimport os\nprint(sorted(os.listdir('.')))\n```"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept\n")
    return folder


@pytest.fixture
def replies(tmp_path: Path) -> str:
    path = tmp_path / "replies.json"
    path.write_text(json.dumps([REPLY] * 8))
    return f"scripted:{path}"


def sandsmith(folder: Path, *args: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "sandsmith"), *args],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr or args[0] == "exec", done.stderr
    assert (folder / "kept.txt").read_text() == "kept\n"
    return done


# -- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["", "   ", "x" * 100_000], ids=["empty", "blank", "100 kB"])
def test_a_task_that_is_none_or_too_long(folder, replies, task):
    arguments = ["run", "--model", replies, task]
    done = sandsmith(folder, *arguments)
    assert done.returncode == 2 and "task" in done.stderr


def test_a_model_that_is_not_known(folder):
    done = sandsmith(folder, "run", "--model", "qwen2.5-codr-1.5b", "print 1")
    assert done.returncode == 2 and "qwen2.5-coder-1.5b" in done.stderr


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 100], ids=["empty", "cut", "other"])
def test_a_model_file_that_is_none(folder, content):
    (folder / "model.gguf").write_bytes(content)
    done = sandsmith(folder, "run", "--model", "./model.gguf", "print 1")
    assert done.returncode in (2, 3) and "model.gguf" in done.stderr


def test_weights_with_a_wrong_sum_are_named(folder, tmp_path):
    cached = tmp_path / "cache" / "models" / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"GGUF" + bytes(1000))
    done = sandsmith(folder, "run", "print 1", SANDSMITH_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 3 and str(cached) in done.stderr and "hint:" in done.stderr


def test_a_provider_whose_package_is_missing(folder):
    done = sandsmith(folder, "run", "--model", "mistralai:large", "print 1")
    assert done.returncode == 3 and "pip install" in done.stderr


# -- files and folders ---------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(folder, replies):
    done = sandsmith(folder, "run", "--model", replies, "print the names", "kept.tx")
    assert done.returncode == 2 and "kept.txt" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_and_a_folder_without_permission(folder, replies, tmp_path):
    (folder / "closed.csv").write_text("a\n")
    (folder / "closed.csv").chmod(0)
    done = sandsmith(folder, "run", "--model", replies, "print the names", "closed.csv")
    assert done.returncode == 2 and "closed.csv" in done.stderr
    (tmp_path / "closed").mkdir(mode=0)
    done = sandsmith(folder, "run", "--model", replies, "--folder", str(tmp_path / "closed"), "print the names")
    assert done.returncode == 2 and "permission" in done.stderr.lower()


def test_a_file_of_two_gigabytes(folder, replies):
    with (folder / "large.csv").open("wb") as file:
        file.write(b"a,b\n1,2\n")
        file.truncate(2 << 30)
    done = sandsmith(folder, "run", "--model", replies, "print the names", "large.csv", timeout=100)
    assert done.returncode == 0 and "large.csv" in done.stdout, done.stderr
    assert (folder / "large.csv").stat().st_size == 2 << 30


def test_binary_and_hostile_files(folder, replies):
    (folder / "noise.csv").write_bytes(os.urandom(100_000))
    (folder / "fake.xlsx").write_bytes(b"PK\x03\x04" + os.urandom(1000))
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "bad.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    os.mkfifo(folder / "pipe.txt")
    (folder / "loop").symlink_to("loop")
    (folder / "secret").symlink_to("/etc/shadow")
    done = sandsmith(folder, "run", "--model", replies, "print the names", timeout=100)
    assert done.returncode == 0 and "noise.csv" in done.stdout, done.stderr


# -- programs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "options", "word"),
    [
        ("while True: pass", ["--wall", "1"], "time"),
        ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", ["--wall", "2"], "time"),
        ("while True: print('x' * 10**6)", ["--wall", "60"], "output"),
        ("x = []\nwhile True: x.append(bytearray(10**6))", ["--memory", "128M", "--wall", "60"], "memory"),
        (
            "f = open('big', 'wb')\nwhile True: f.write(bytes(10**6))",
            ["--disk", "8M", "--wall", "60"],
            "File too large",
        ),
    ],
    ids=["endless", "fork bomb", "10 GB of output", "memory", "full disk"],
)
def test_a_program_that_takes_too_much(folder, tmp_path, code, options, word):
    (tmp_path / "p.py").write_text(code)
    began = time.monotonic()
    done = sandsmith(folder, "exec", *options, "--apply", str(tmp_path / "p.py"))
    assert done.returncode == 1 and word in done.stderr, done.stderr[-500:]
    assert time.monotonic() - began < 30
    assert [p.name for p in folder.iterdir()] == ["kept.txt"]


def test_a_program_that_deletes_the_folder(folder, tmp_path):
    (tmp_path / "p.py").write_text("import os\nfor n in os.listdir('.'): os.remove(n)\nprint(os.listdir('.'))")
    done = sandsmith(folder, "exec", str(tmp_path / "p.py"))
    assert done.returncode == 0 and done.stdout.strip() == "[]" and "kept.txt" in done.stderr
