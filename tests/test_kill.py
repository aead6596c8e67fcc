"""Ctrl-C and `kill -9` at every stage of `sandsmith run`: it is over within a second, and nothing is left running."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_process import family, is_alive, temporary, wait_until

from agent.models.catalog import DEFAULT_MODEL, KNOWN_MODELS
from agent.models.weights import available
from agent.trace import read_trace

__all__ = ["temporary"]  # a fixture
pytestmark = [pytest.mark.model, pytest.mark.jail]
SCRIPT = Path(sys.executable).parent / "sandsmith"
ENDLESS = "```python\nopen('made.txt', 'w').write('x')\nwhile True: pass\n```"
SOON = 1.0
"""Seconds that it may take until all is over."""
SLACK = 2.0
"""And what a busy machine may add."""


def small_model() -> str:
    """The smallest embedded model that is here."""
    here = {row.name for row in available() if row.where in ("cached", "pieces")}
    return min((m for m in KNOWN_MODELS if m.name in here), key=lambda m: m.size).name


class Run:
    """`sandsmith run` in a terminal of its own, with the user's folder and the temporary files where we see them."""

    def __init__(self, place: Path, temporary: Path, model: str, task: str) -> None:
        self.folder, self.temporary, self.data = place / "work", temporary, place / "data"
        self.folder.mkdir()
        (self.folder / "sales.csv").write_text("region,total\nnorth,3\n")
        # Our end of the slave stays open: a terminal that nobody has opened yet reads as ended.
        self._terminal, self._slave = pty.openpty()
        self.process = self._start(os.ttyname(self._slave), model, task)
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _start(self, terminal: str, model: str, task: str) -> subprocess.Popen[bytes]:
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CI")}
        env |= {"SANDSMITH_DATA_DIR": str(self.data), "TMPDIR": str(self.temporary), "TERM": "xterm", "LANG": "C.UTF-8"}
        options = ["--wall", "50", "--apply", "-m", model, "--max-tokens", "3000", "--temperature", "1.5"]
        # The leader of a session gets the terminal that it opens: Ctrl-C in it then reaches its whole group.
        take_terminal = ["sh", "-c", f'exec "$@" <{terminal} >{terminal} 2>{terminal}', "sh"]
        command = [*take_terminal, str(SCRIPT), "run", task, "sales.csv", *options]
        return subprocess.Popen(command, cwd=self.folder, env=env, start_new_session=True)

    def _read(self) -> None:
        while select.select([self._terminal], [], [])[0]:
            try:
                self._shown += os.read(self._terminal, 65536)
            except OSError:
                return

    @property
    def shown(self) -> str:
        return self._shown.decode("utf-8", "replace")

    def wait_until_shown(self, *words: str) -> None:
        """Until one of `words` is on the screen."""
        end = time.monotonic() + 60
        while not any(w in self.shown for w in words):
            assert self.process.poll() is None and time.monotonic() < end, self.shown[-2000:]
            time.sleep(0.02)

    def press_ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        self._reader.join(5)
        os.close(self._terminal)

    def check_kept(self) -> None:
        """The user's folder is as it was, the trace tells what happened, and the run can be shown."""
        assert [(p.name, p.read_text()) for p in self.folder.iterdir()] == [("sales.csv", "region,total\nnorth,3\n")]
        [trace] = self.data.rglob("trace.jsonl")
        assert trace.read_text().endswith("\n")
        assert next(read_trace(trace))["event"] == "started"
        env = os.environ | {"SANDSMITH_DATA_DIR": str(self.data)}
        shown = subprocess.run([SCRIPT, "show", "last", "--json"], capture_output=True, text=True, env=env, check=False)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)

    def traced(self, kind: str) -> bool:
        return any(event["event"] == kind for trace in self.data.rglob("trace.jsonl") for event in read_trace(trace))


Start = Callable[[str, str], Run]


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Starts `sandsmith run` with a model and a task."""
    runs: list[Run] = []

    def start(model: str, task: str) -> Run:
        runs.append(Run(tmp_path, temporary, model, task))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def loading(start: Start, place: Path) -> Run:
    run = start(DEFAULT_MODEL, "Print the total")
    run.wait_until_shown("loading the model")
    time.sleep(0.7)  # the native code is at it
    assert not run.traced("modelloaded")
    return run


def reading(start: Start, place: Path) -> Run:
    run = start(small_model(), "Print the total of these numbers: " + " ".join(str(i) for i in range(1500)))
    run.wait_until_shown("reading the prompt 1%", "reading the prompt 2%", "reading the prompt 3%")
    return run


def generating(start: Start, place: Path) -> Run:
    run = start(small_model(), "Write a long program")
    run.wait_until_shown("1: writing")
    return run


def executing(start: Start, place: Path) -> Run:
    script = place / "replies.json"
    script.write_text(json.dumps([ENDLESS]))
    run = start(f"scripted:{script}", "Loop")
    run.wait_until_shown("1: running")
    time.sleep(0.7)
    return run


@pytest.fixture(params=[loading, reading, generating, executing], ids=lambda stage: stage.__name__)
def run(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Run:
    """A run that has come to a stage."""
    return request.param(start, tmp_path)


def test_kill_9_leaves_no_process(run: Run) -> None:
    ours = family(run.process.pid)
    assert ours
    run.kill()
    assert wait_until(lambda: not any(map(is_alive, ours)), 10) < SOON + SLACK
    run.process.wait(5)
    run.check_kept()


def test_ctrl_c_ends_it_and_leaves_nothing(run: Run) -> None:
    ours = family(run.process.pid)
    assert ours
    began = time.monotonic()
    run.press_ctrl_c()
    assert run.process.wait(20) == 130
    assert time.monotonic() - began < SOON + SLACK
    wait_until(lambda: not any(map(is_alive, ours)), SLACK)
    run.check_kept()
    assert "interrupted" in run.shown
    assert "Traceback" not in run.shown
    assert list(run.temporary.iterdir()) == [], "a temporary file was left"


def test_the_display_lives_while_the_model_is_loaded(start: Start, tmp_path: Path) -> None:
    run = loading(start, tmp_path)
    before = run.shown
    time.sleep(0.7)
    assert len(run.shown) > len(before) and not run.traced("modelloaded")
