"""What a terminal shows, through a real pseudo-terminal; and what is shown where there is none."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from agent.cli.lines import describe, outcome_line
from agent.events import Drafted, Event, Executed, Judged, Prompted
from agent.models.base import Message, Usage
from agent.task import Agreement, Check, CheckResult, Program, RunResult, Verdict
from sandbox import Execution, Problem

ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")


class Terminal:
    """A process whose stdin and stderr (and stdout, unless told otherwise) are a terminal of 100 columns."""

    def __init__(self, args: list[str], folder: Path, *, stdout: int | None = None, **env: str) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI")}
        data = {"SANDSMITH_DATA_DIR": str(folder.parent / "data"), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            [sys.executable, *args],
            cwd=folder,
            env={**kept, **data, **env},
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
        )
        os.close(slave)
        self.raw = ""

    @property
    def text(self) -> str:
        """All that was shown, without the escape codes."""
        return ESCAPE.sub("", self.raw).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, words: str, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} was not shown in: {self.text}"
            assert self._read(0.2) or words in self.text, f"ended without {words!r}: {self.text}"

    def end(self, seconds: float = 40) -> int:
        """Read up to the end; the exit code."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < end, f"it did not end: {self.text}"
        return self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Read what is there; False at the end."""
        if not select.select([self._master], [], [], seconds)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            assert error.errno == errno.EIO
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.fixture
def open_terminal(folder: Path, terminals: list[Terminal]) -> Any:
    def open_terminal(*args: str, stdout: int | None = None, **env: str) -> Terminal:
        terminals.append(Terminal(list(args), folder, stdout=stdout, **env))
        return terminals[-1]

    return open_terminal


def replies(folder: Path, *codes: str) -> str:
    path = folder.parent / "replies.json"
    path.write_text(json.dumps([f"```python\n{code}\n```" for code in codes]))
    return f"scripted:{path}"


# Events as lines

CHECK = Check("expression", "double(2) == 4")
PROGRAM = Program("def double(x):\n    return x")
CRASH = Execution("error", error=Problem("KeyError", "'x'", 3, traceback="Traceback: line 3"), seconds=0.5)
VERDICT = Verdict(True, (CheckResult(CHECK, False, "got 2, want 4"), CheckResult(Check("answer", ""), True)))


def shown(event: Event, *, verbose: bool = False) -> str:
    return "\n".join(line.text for line in describe(event, verbose=verbose))


def test_a_failed_check_says_who_wrote_it_and_what_came_out() -> None:
    text = shown(Judged(1.0, 2, VERDICT, "redraw"))
    assert "2: 1 of 2 checks held; redraw" in text
    assert "fails (user) double(2) == 4: got 2, want 4" in text


def test_a_crash_is_one_line_and_its_traceback_only_verbose() -> None:
    event = Executed(1.0, 1, PROGRAM, CRASH)
    assert shown(event) == "1: line 3: KeyError: 'x'"
    assert "Traceback: line 3" in shown(event, verbose=True)


@pytest.mark.parametrize(
    ("status", "said"), [("timeout", "out of time"), ("memory", "out of memory"), ("output", "too much output")]
)
def test_a_killed_program_says_what_it_ran_out_of(status: Any, said: str) -> None:
    assert said in shown(Executed(1.0, 1, PROGRAM, Execution(status)))


def test_a_reply_without_a_program_says_why() -> None:
    event = Drafted(1.0, 1, "Sorry, no.", "stop", None, "there is no code in the reply", Usage(1, 2))
    assert "no program: there is no code in the reply" in shown(event)
    assert "Sorry, no." not in shown(event)
    assert "Sorry, no." in shown(event, verbose=True)


def test_a_prompt_is_shown_only_verbose() -> None:
    event = Prompted(1.0, 1, "draft", (Message("system", "Be brief."), Message("user", "Add.")), 0.0, 0)
    assert shown(event) == ""
    assert "Be brief." in shown(event, verbose=True)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (RunResult("solved", verdict=Verdict(True, (CheckResult(CHECK, True),))), "solved: your checks hold"),
        (RunResult("unverified"), "unverified: nothing checked this answer ("),
        (
            RunResult("unverified", agreement=Agreement(2, 3)),
            "unverified: nothing checked this answer; 2 of 3 programs",
        ),
        (RunResult("unverified", agreement=Agreement(1, 3)), "unverified: nothing checked this answer; no two of 3"),
        (RunResult("failed", reason="double(2) is 2"), "not solved: double(2) is 2"),
        (RunResult("gave_up"), "gave up: no program came out"),
        (RunResult("interrupted"), "interrupted"),
    ],
)
def test_every_outcome_has_its_line(result: RunResult, said: str) -> None:
    assert outcome_line(result).text.startswith(said)


@pytest.mark.parametrize(
    ("cost", "said"),
    [(None, "7 tokens, 2.0 s"), (0.01234, "7 tokens, $0.0123, 2.0 s"), (1e-6, "7 tokens, under $0.0001, 2.0 s")],
)
def test_the_cost_is_told_where_it_is_known(cost: float | None, said: str) -> None:
    result = RunResult("unverified", usage=Usage(5, 7, cost=cost), seconds=2.0)
    assert said in outcome_line(result).text


# The displays, fed with events in a process of their own

FEED = """
import sys, time
from agent.cli.display import open_display
from agent.events import *
from agent.models.base import Usage
from agent.task import *
from sandbox import Execution
with open_display() as display:
    display.show(Started(0, "r1", "task", "model\\x1b]0;owned\\x07", "jail"))
    display.show(Progressed(0, "joining the model", 0.25))
    time.sleep(0.5)
    display.show(ModelLoaded(0, "model", 1.5))
    display.show(Planned(0, Plan("", (Check("answer", "\\x1b[2J [bold]text[/bold] :smile:"),))))
    for piece in ("```python\\n", "def double", "(x):\\n", "    return \\x1b[31m2 * x\\n"):
        display.show(Tokens(0, 1, piece))
        time.sleep(0.4)
    program = Program("def double(x): return 2 * x")
    display.show(Drafted(0, 1, "", "stop", program, "", Usage(10, 20)))
    display.show(Executed(0, 1, program, Execution("ok")))
    display.show(Judged(0, 1, Verdict(True, ()), "stop"))
    display.show(Finished(0, RunResult("unverified")))
"""


def test_the_live_display_shows_the_program_as_it_is_written(open_terminal: Any) -> None:
    terminal = open_terminal("-c", FEED)
    assert terminal.end() == 0
    for words in ("joining the model 25%", "def double(x):", "return 2 * x", "1: draft of 1 line", "unverified:"):
        assert words in terminal.text
    assert COLOUR.search(terminal.raw)


def test_the_live_display_sends_no_code_of_the_model(open_terminal: Any) -> None:
    terminal = open_terminal("-c", FEED)
    assert terminal.end() == 0
    assert "owned" not in terminal.raw
    assert "\x1b[2J" not in terminal.raw
    assert "\x1b]" not in terminal.raw
    assert "[bold]text[/bold] :smile:" in terminal.text


def test_the_live_display_leaves_only_lines_behind(open_terminal: Any) -> None:
    terminal = open_terminal("-c", FEED)
    assert terminal.end() == 0
    assert "\x1b[?25h" in terminal.raw[terminal.raw.rindex("\x1b[?25l") :]  # the cursor is back
    assert "╭" not in screen(terminal.raw)
    assert "unverified: nothing checked this answer" in screen(terminal.raw)


def screen(raw: str) -> str:
    """What stays on the screen: a terminal of the few commands that are used here."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[[0-?]*[ -/]*[@-~]|\r|\n)", raw):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b[") and part.endswith("A"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and part != "\r" and not part.startswith("\x1b"):
            lines[row] = part if not lines[row] else lines[row] + part
    return "\n".join(lines)


def test_no_color_is_respected(open_terminal: Any) -> None:
    terminal = open_terminal("-c", FEED, NO_COLOR="1")
    assert terminal.end() == 0
    assert "def double(x):" in terminal.text
    assert not COLOUR.search(terminal.raw)


def test_a_dumb_terminal_gets_plain_lines(open_terminal: Any) -> None:
    terminal = open_terminal("-c", FEED, TERM="dumb")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.raw
    assert "unverified:" in terminal.text


def test_without_a_terminal_there_are_plain_lines(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FEED], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "run r1: model, in the jail"
    assert lines[-1].startswith("unverified: ")
    assert not any("def double" in line for line in lines)


# A whole run on a terminal

ADD = "open('a.txt', 'a').write('two\\n')\nprint('done')"


@pytest.mark.jail
@pytest.mark.parametrize(("key", "after"), [("y", "one\ntwo\n"), ("n", "one\n"), ("", "one\n"), ("x\ny", "one\ntwo\n")])
def test_changes_are_shown_and_asked_about(open_terminal: Any, folder: Path, key: str, after: str) -> None:
    (folder / "a.txt").write_text("one\n")
    terminal = open_terminal("-m", "agent", "run", "Add two", "-m", replies(folder, ADD))
    terminal.wait_for("apply these changes")
    assert "~ a.txt (+1 -0)" in terminal.text
    assert "+two" in terminal.text
    assert (folder / "a.txt").read_text() == "one\n"
    terminal.type(f"{key}\n" if key else "\x04")
    assert terminal.end() == 0
    assert (folder / "a.txt").read_text() == after
    assert ("sandsmith apply 2" in terminal.text) == (after == "one\n")


@pytest.mark.jail
def test_a_long_diff_is_shown_in_full_on_request(open_terminal: Any, folder: Path) -> None:
    code = "open('long.txt', 'w').write('\\n'.join(f'line {i}.' for i in range(100)))\nprint('done')"
    terminal = open_terminal("-m", "agent", "run", "Write lines", "-m", replies(folder, code))
    terminal.wait_for("apply these changes")
    assert "line 99." not in terminal.text
    assert "more lines" in terminal.text
    terminal.type("d\n")
    terminal.wait_for("line 99.")
    terminal.type("n\n")
    assert terminal.end() == 0


@pytest.mark.jail
@pytest.mark.parametrize("options", [["--no-apply"], ["--json"], ["--quiet"], ["--apply"]])
def test_no_question_is_asked_when_the_answer_is_given(open_terminal: Any, folder: Path, options: list[str]) -> None:
    terminal = open_terminal("-m", "agent", "run", "Add two", "-m", replies(folder, ADD), *options)
    assert terminal.end() == 0
    assert "apply these changes" not in terminal.text
    assert (folder / "a.txt").exists() == (options == ["--apply"])


@pytest.mark.jail
def test_ctrl_c_at_the_question_applies_nothing(open_terminal: Any, folder: Path) -> None:
    terminal = open_terminal("-m", "agent", "run", "Add two", "-m", replies(folder, ADD))
    terminal.wait_for("apply these changes")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert not (folder / "a.txt").exists()


@pytest.mark.jail
def test_the_answer_goes_to_stdout_alone(open_terminal: Any, folder: Path) -> None:
    reader, writer = os.pipe()
    terminal = open_terminal("-m", "agent", "run", "Add two", "-m", replies(folder, ADD), "--no-apply", stdout=writer)
    os.close(writer)
    code = terminal.end()
    with open(reader) as out:
        assert (code, out.read()) == (0, "done\n")
    assert "unverified:" in terminal.text


@pytest.mark.jail
def test_ctrl_c_ends_a_live_run_soon(open_terminal: Any, folder: Path) -> None:
    code = "open('a.txt', 'w').write('x')\nimport time\ntime.sleep(60)"
    terminal = open_terminal("-m", "agent", "run", "Wait", "--wall", "50", "-m", replies(folder, code))
    terminal.wait_for("1: running")
    began = time.monotonic()
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert time.monotonic() - began < 5
    assert "interrupted" in screen(terminal.raw)
    assert "Traceback" not in terminal.text
    assert not list(folder.iterdir())


def test_the_second_ctrl_c_ends_it_at_once(open_terminal: Any) -> None:
    """Also when the work neither hears of the first nor gives way."""
    code = (
        "import time\n"
        "from agent.cli import pump\n"
        "pump._GRACE = 50  # nothing but the second signal ends it\n"
        "def cancel(): print('cancelling', flush=True); time.sleep(60)\n"
        "def work(): print('working', flush=True); time.sleep(60); yield 1\n"
        "list(pump.Pump(work, cancel))"
    )
    terminal = open_terminal("-c", code)
    terminal.wait_for("working")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelling")
    began = time.monotonic()
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert time.monotonic() - began < 5


def test_work_that_does_not_give_way_is_abandoned(open_terminal: Any) -> None:
    code = (
        "import time\n"
        "from agent.cli.pump import Pump\n"
        "def work(): print('working', flush=True); time.sleep(60); yield 1\n"
        "pump = Pump(work, lambda: None)\n"
        "print(list(pump), pump.exit_code, pump.abandoned, flush=True)\n"
        "import os; os._exit(0)"
    )
    terminal = open_terminal("-c", code)
    terminal.wait_for("working")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for("[] 143 True", 15)  # the work would take 60
    assert terminal.end() == 0


def test_an_error_of_the_work_reaches_the_caller() -> None:
    from agent.cli.pump import Pump

    def work() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    seen: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        seen.extend(Pump(work, lambda: None))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
