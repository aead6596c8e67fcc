"""`sandsmith repl` on a terminal: typed into tmux, and read from its screen."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.jail,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
SALES = "region,units,price\nNorth,12,9.5\nSouth,30,9.5\nWest,7,12\nSouth,11,9.5\nWest,40,11\n"


class Screen:
    """A terminal of 110 x 50 in a tmux server of its own, in which `sandsmith repl` runs."""

    def __init__(self, root: Path, *args: str, **env: str) -> None:
        self.folder, self.data = root / "work", root / "data"
        self.folder.mkdir(exist_ok=True)
        self._socket, self._closed = str(root / f"tmux-{secrets.token_hex(4)}"), False
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TMUX", "NO_COLOR", "COLUMNS", "CI"))}
        self._env = {**kept, "SANDSMITH_DATA_DIR": str(self.data), "LANG": "C.UTF-8", **env}
        command = [sys.executable, "-m", "agent", "repl", *args]
        size = ["-x", "110", "-y", "50", "-c", str(self.folder)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "env", "-u", "TMUX", *command)
        self._tmux("set-option", "-g", "remain-on-exit", "on")

    def _tmux(self, *args: str) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *args], env=self._env, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    @property
    def text(self) -> str:
        """All that was shown, from the first line on."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-")

    def type(self, *keys: str, enter: bool = True) -> None:
        for text in keys:
            self._tmux("send-keys", "-l", "--", text)
            if enter:
                self.press("Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)
        time.sleep(0.1)

    def wait_for(self, words: str, seconds: float = 60, times: int = 1) -> None:
        end = time.monotonic() + seconds
        while self.text.count(words) < times:
            assert time.monotonic() < end, f"{words!r} was not shown {times} times in:\n{self.text}"
            time.sleep(0.1)

    def step(self, text: str, words: str, seconds: float = 60) -> None:
        """Type a line, and wait for what it shows below itself."""
        before = self.text.count(words)
        self.type(text)
        self.wait_for(words, seconds, before + text.count(words) + 1)

    def close(self) -> None:
        """Record what was shown, and end the terminal."""
        if not self._closed:
            self._closed = True
            print(self.text.rstrip())
            self._tmux("kill-server")


@pytest.fixture
def open_screen(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def open_screen(*args: str, **env: str) -> Screen:
        opened.append(Screen(tmp_path, *args, **env))
        opened[-1].wait_for("sentences are tasks")
        return opened[-1]

    yield open_screen
    for screen in opened:
        screen.close()


def script(root: Path, *codes: str) -> str:
    path = root / "replies.json"
    path.write_text(json.dumps([f"```python\n{code}\n```" for code in codes]))
    return f"scripted:{path}"


def test_the_main_flows(open_screen: Callable[..., Screen], tmp_path: Path) -> None:
    model = script(tmp_path, "print('There are', sum(units), 'units')", "rows = 1\nwhile True: pass")
    screen = open_screen("--model", model)
    # The prompt says what the input is, while it is typed.
    screen.type("how many", enter=False)
    screen.wait_for("task> how many")
    screen.press("C-c")
    screen.type("units = [3, 5]", enter=False)
    screen.wait_for("python> units = [3, 5]")
    screen.press("Enter")
    # A block goes on until an empty line, and is indented.
    screen.type("for n in (1, 2):", "units.append(n)", "")
    screen.step("units", "[3, 5, 1, 2]")
    # A task is drafted, shown, run and adopted.
    screen.step("How many units are there?", "There are 11 units")
    screen.wait_for("unverified")
    # Ctrl-C stops a step, and a task; the names stay.
    screen.type("while True: units = 0", "")
    time.sleep(1)
    screen.press("C-c")
    screen.wait_for("names and files are as before")
    screen.type("do it for ever")
    screen.wait_for("draft of 2 lines")
    screen.press("C-c")
    screen.wait_for("interrupted (")
    screen.step("len(units)", "4")
    # Undo, redo, branch.
    screen.step("units = None", "python> ")
    screen.step(":undo", "undone; ")
    screen.step(":branch", "a branch: ")
    screen.wait_for("branch ")
    screen.step("units = 'tried'", "branch ")
    screen.step(":drop", "dropped 1 step")
    screen.step(":vars", "list  [3, 5, 1, 2]")
    # Completion, of names and of commands.
    screen.type("sum(uni", enter=False)
    screen.press("Tab")
    screen.type(")")
    screen.wait_for("sum(units)\n11")
    # Files, and the end.
    screen.step("_ = open('out.txt', 'w').write('hello')", "python> ")
    screen.step(":diff", "+hello")
    screen.press("C-d")
    screen.wait_for("changes that were not written")
    screen.wait_for("+ out.txt")
    screen.wait_for("goes on from here")
    assert not (screen.folder / "out.txt").exists()
    assert "Traceback" not in screen.text
    history = screen.data / "repl-history"
    assert "units = [3, 5]" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_alt_enter_runs_and_prefixes_force(open_screen: Callable[..., Screen], tmp_path: Path) -> None:
    screen = open_screen("--model", script(tmp_path, "print('a task')"))
    screen.type("def f(a):", "return a", enter=True)
    screen.press("M-Enter")
    screen.step("> f(6) * 7", "42")
    screen.step("? 6 * 7", "a task\n")
    screen.step("> total", "NameError")
    screen.type("x = 1", enter=False)
    screen.press("C-o")
    screen.type("y = 2")
    screen.step("x + y", "3")
    screen.step(":quit", "goes on from here")


@pytest.mark.model
@pytest.mark.data
def test_a_conversation_with_the_embedded_model(open_screen: Callable[..., Screen], tmp_path: Path) -> None:
    """The whole way with the real model: it works with the names that are there, its step can be undone, and neither a
    program that takes too much nor the end of the process loses a name."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "sales.csv").write_text(SALES)
    screen = open_screen("--wall", "20", "--memory", "1G")
    screen.step("import pandas as pd; df = pd.read_csv('sales.csv'); len(df)", "\n5\n")
    screen.step("How many units are in df in all? Print the sum.", "unverified", 240)
    screen.wait_for("There is already df")
    screen.wait_for("100", 10)
    screen.step("write the units of each region in df to totals.csv", "unverified", 240)
    screen.step(":files", "+ totals.csv")
    screen.step(":undo", "undone; 2 steps")
    screen.step("x = bytearray(b'.') * (3 << 30)", "names and files are as before")
    screen.step("df.units.sum()", "100")
    screen.press("C-d")
    screen.wait_for("goes on from here")
    screen.close()
    again = open_screen("--resume")
    again.wait_for("3 steps done again")
    again.step("len(df)", "\n5\n")
