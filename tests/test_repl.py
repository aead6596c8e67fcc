"""`sandsmith repl` without a terminal: what goes in by a pipe, what comes out, and what a killed one leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_restart import children

pytestmark = pytest.mark.jail
COMMAND = [sys.executable, "-m", "agent", "repl"]


class Command:
    """Runs `sandsmith repl` in a folder."""

    def __init__(self, root: Path) -> None:
        self.folder, self.data = root / "work", root / "data"
        self.folder.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SANDSMITH", "LC_", "LANG"))}
        self.environment = {**kept, "SANDSMITH_DATA_DIR": str(self.data), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        self.out = self.err = ""

    def __call__(self, *inputs: str, args: tuple[str, ...] = ()) -> int:
        with self.start(*args) as process:
            out, err = process.communicate("\n".join(inputs).encode(), timeout=120)
        self.out, self.err = out.decode(), err.decode()
        return process.returncode

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*COMMAND, *args], cwd=self.folder, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def model(self, *codes: str) -> tuple[str, str]:
        path = self.folder.parent / "replies.json"
        path.write_text(json.dumps([f"```python\n{code}\n```" for code in codes]))
        return "--model", f"scripted:{path}"

    @property
    def journal(self) -> str:
        return "".join(path.read_text() for path in self.data.glob("sessions/*/journal.jsonl"))


@pytest.fixture
def repl(tmp_path: Path) -> Command:
    return Command(tmp_path)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_task_has_the_second_models(repl: Command) -> None:
    planner, bigger = (repl.folder.parent / f"{name}.json" for name in ("planner", "bigger"))
    planner.write_text(json.dumps({"name": "planner", "replies": ["1. Multiply."]}))
    bigger.write_text(
        json.dumps({"name": "bigger", "parameters": 70, "replies": ["```python\nprint('It is', 6 * 7)\n```"]})
    )
    second = ("--planner-model", f"scripted:{planner}", "--escalate-model", f"scripted:{bigger}")
    code = repl("What is 6 * 7?", args=(*repl.model("1 / 0"), *second, "--drafts", "1", "--repairs", "0"))
    assert "1 step by planner" in repl.err and f"scripted:{bigger} goes on" in repl.err
    assert (code, repl.out) == (0, "It is 42\n")


def test_python_runs_and_a_sentence_is_a_task(repl: Command) -> None:
    (repl.folder / "sales.csv").write_text("region,units\nNorth,3\nSouth,5\n")
    model = repl.model("print('There are', sum(u for u in units), 'units.')")
    code = repl(
        "import csv",
        "units = []",
        "for row in csv.DictReader(open('sales.csv')):",
        "    units.append(int(row['units']))",
        "",
        "units",
        "How many units are there in all?",
        "len(units)",
        args=model,
    )
    assert code == 0
    assert repl.out == "[3, 5]\nThere are 8 units.\n2\n"
    assert "unverified" in repl.err
    assert "print('There are'" in repl.err
    assert "\x1b" not in repl.out + repl.err


def test_time_travels_by_commands(repl: Command) -> None:
    code = repl(
        *("x = 1", "x = 2; _ = open('b.txt', 'w').write('b')", ":files", ":undo", ":vars", ":redo", ":branch"),
        *("x = 3", ":drop", "x", ":branch", "x = 4", ":adopt", ":vars", ":diff", ":apply", ":trace"),
    )
    assert code == 0
    said = repl.out.splitlines()
    assert said[:4] == ["+ b.txt", "x  int  1", "2", "x  int  4"]
    assert "+b" in said
    assert said[-4:] == ["  1  x = 1", "  2  x = 2; _ = open('b.txt', 'w').write('b')", "  4  x", "  5  x = 4"]
    assert (repl.folder / "b.txt").read_text() == "b"


def test_failures_are_told_go_on_and_make_the_exit_code(repl: Command) -> None:
    code = repl("x = 1", "x = 2; 1 / 0", ":undo 7", ":nothing", "x", "what now?", "x", args=repl.model())
    assert code == 1
    assert repl.out == "1\n1\n"
    assert "ZeroDivisionError" in repl.err
    assert "names and files are as before" in repl.err
    assert "7 steps cannot be undone: there are 1" in repl.err
    assert "there is no command :nothing" in repl.err
    assert "the script has 0 replies" in repl.err


def test_limits_keep_the_session_and_say_which_one(repl: Command) -> None:
    code = repl(
        *(
            "x = 1",
            "while True: x += 1",
            "",
            "x",
            "big = bytearray(b'x') * (1 << 30)",
            "x",
            "import os; os._exit(3)",
            "x",
        ),
        args=("--wall", "2", "--memory", "256M"),
    )
    assert code == 1
    assert repl.out == "1\n1\n1\n"
    assert "out of time" in repl.err
    assert "--wall S" in repl.err
    assert "out of memory" in repl.err or "MemoryError" in repl.err
    assert "exit code 3" in repl.err


def test_what_was_not_applied_is_announced_and_can_be_gone_on_with(repl: Command) -> None:
    assert repl("n = 6", "_ = open('b.txt', 'w').write('b')") == 0
    assert "changes that were not written" in repl.err
    assert "+ b.txt" in repl.err
    assert not (repl.folder / "b.txt").exists()
    assert repl("n * 7", ":apply", args=("--resume",)) == 0
    assert "2 steps done again" in repl.err
    assert repl.out == "42\n"
    assert (repl.folder / "b.txt").read_text() == "b"


def test_kill_9_loses_the_running_step_and_no_other(repl: Command) -> None:
    model = repl.model("y = x + 1\nprint(y)", "import time; time.sleep(50)")
    with repl.start(*model) as process:
        assert process.stdin is not None
        process.stdin.write(b"x = 41\nadd one to x\n> z = [x,\ny]\nimport time; time.sleep(60)\n")
        process.stdin.flush()
        wait_for(lambda: repl.journal.count('"entry": "step"') == 3)
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert "sleep" not in repl.journal
    assert repl(":vars", ":undo", ":vars", args=("--resume",)) == 0
    assert "3 steps done again" in repl.err
    assert repl.out == "x  int   41\ny  int   42\nz  list  [41, 42]\nx  int  41\ny  int  42\n"


def test_ctrl_c_stops_the_step_and_keeps_the_session(repl: Command) -> None:
    with repl.start() as process:
        assert process.stdin is not None
        process.stdin.write(b"x = 1\nopen('begun', 'w'); import time; time.sleep(60)\n")
        process.stdin.flush()
        wait_for(lambda: repl.journal.count('"entry": "step"') == 1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(b"x\n:vars\n", timeout=60)
    assert process.returncode == 1
    assert out == b"1\nx  int  1\n"
    assert b"killed" in err


def test_terminated_it_ends_and_leaves_its_journal(repl: Command) -> None:
    with repl.start() as process:
        assert process.stdin is not None
        process.stdin.write(b"x = 1\nimport time; time.sleep(60)\n")
        process.stdin.flush()
        wait_for(lambda: repl.journal.count('"entry": "step"') == 1)
        time.sleep(1)
        process.terminate()
        assert process.wait(60) == 143
    assert repl("x", args=("--resume",)) == 0
    assert repl.out == "1\n"


def test_a_session_whose_jail_was_killed_is_built_again(repl: Command) -> None:
    with repl.start() as process:
        assert process.stdin is not None
        process.stdin.write(b"x = 41\n")
        process.stdin.flush()
        wait_for(lambda: repl.journal.count('"entry": "step"') == 1)
        time.sleep(1)
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        out, err = process.communicate(b"lost = 1\nx + 1\n:vars\n", timeout=60)
    assert process.returncode == 1
    assert out == b"42\nx  int  41\n"
    assert b"the jail broke" in err
    assert b"1 step done again in a fresh session" in err


def test_steps_are_saved_as_a_script(repl: Command) -> None:
    (repl.folder / "a.txt").write_text("3\n4\n")
    code = repl(
        "unused = 1", "numbers = [int(n) for n in open('a.txt')]", "sum(numbers)", ":save sum.py", ":save sum.py"
    )
    assert code == 1
    assert "it did the same" in repl.err
    assert "sum.py exists" in repl.err
    script = repl.folder / "sum.py"
    assert "unused" not in script.read_text()
    done = subprocess.run([sys.executable, str(script)], cwd=repl.folder, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"


def test_what_never_had_a_step_leaves_nothing(repl: Command) -> None:
    assert repl(":vars", "1 / 0") == 1
    assert not list(repl.data.glob("sessions/*"))
    assert repl(args=("--resume",)) == 2
    assert "there are no sessions yet" in repl.err


@pytest.mark.data
def test_figures_are_saved_and_announced(repl: Command) -> None:
    code = repl("import matplotlib.pyplot as plt", "_ = plt.plot([1, 2])", args=("--wall", "60"))
    assert code == 0
    [figure] = repl.data.glob("sessions/*/figures/figure-1.png")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert f"figure saved: {figure}" in repl.err


def test_options_come_back_with_the_session_and_a_folder_is_refused_there(repl: Command) -> None:
    assert repl("x = 1", args=("--wall", "1.5")) == 0
    assert repl("while True: pass", args=("--resume",)) == 1
    assert "after 1." in repl.err
    assert repl(args=("--resume", "last", ".")) == 2
    assert repl(args=("--resume", "nonesuch")) == 2
    assert "no session 'nonesuch'" in repl.err


def test_help_teaches(repl: Command) -> None:
    assert repl(":help", args=("--help",)) == 0
    assert "sandsmith repl --resume" in repl.out
    assert repl(":help") == 0
    assert ":undo [N]" in repl.out
    assert "? SENTENCE" in repl.out


def test_what_a_program_says_is_harmless(repl: Command) -> None:
    repl(
        "print('\\x1b]0;owned\\x07\\x1b[2J')",
        "x = '\\x1b[31m'",
        ":vars",
        "def f(): raise ValueError('\\x1b[2J')",
        "f()",
    )
    assert "\x1b" not in repl.out + repl.err
