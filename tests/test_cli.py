"""The command line as a user meets it: real processes of `sandsmith`, no terminal."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "agent"]
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def environment(data: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SANDSMITH", "LC_", "LANG"))}
    return {**kept, "SANDSMITH_DATA_DIR": str(data), "LANG": "C.UTF-8"}


class Command:
    """Runs `sandsmith` in a folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def __call__(self, *args: object, stdin: bytes | None = None, **env: str) -> Done:
        done = subprocess.run(
            [*COMMAND, *map(str, args)],
            cwd=self.folder,
            env={**self.environment, **env},
            timeout=90,
            capture_output=True,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
        return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *args: object, **more: Any) -> subprocess.Popen[bytes]:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*COMMAND, *map(str, args)], cwd=self.folder, env=self.environment, **{**streams, **more}
        )


@pytest.fixture
def command(folder: Path, environment: dict[str, str]) -> Command:
    return Command(folder, environment)


def replies(folder: Path, *codes: str) -> str:
    """A scripted model that answers with these programs, as `--model` takes it."""
    path = folder.parent / "replies.json"
    path.write_text(json.dumps([f"```python\n{code}\n```" for code in codes]))
    return f"scripted:{path}"


def wait_for(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


# Parsing and help


@pytest.mark.parametrize(
    "args",
    [["--help"], ["run", "-h"], ["exec", "--help"], ["apply", "--help"], ["model", "pull", "-h"], ["show", "-h"]],
)
def test_help_teaches_by_example(command: Command, args: Sequence[str]) -> None:
    done = command(*args)
    assert done.returncode == 0
    assert "  sandsmith " in done.stdout.replace("Usage: sandsmith", "")


def test_help_is_fast(command: Command) -> None:
    """In CPU seconds, which do not depend on what else the machine does; on an idle one they are those on the clock."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.jail
def test_terminated_while_it_reads_stdin_leaves_nothing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    command.environment["TMPDIR"] = str(tmp_path / "tmp")
    with command.start("run", "task", "-", stdin=subprocess.PIPE) as process:
        wait_for(lambda: list((tmp_path / "tmp").iterdir()))
        time.sleep(0.2)  # the folder is made just before it reads
        process.terminate()
        assert process.wait(10) == 143
    assert not list((tmp_path / "tmp").iterdir())


def test_the_console_script_is_installed(environment: dict[str, str]) -> None:
    script = Path(sys.executable).parent / "sandsmith"
    out = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=environment).stdout
    assert out.startswith("sandsmith, version ")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["bogus"],
        ["run"],
        ["run", "  "],
        ["run", "task", "missing.csv"],
        ["run", "task", ".."],
        ["run", "task", "--drafts", "0"],
        ["run", "task", "--tests", "missing.py"],
        ["run", "task", "--save", "there.py"],
        ["run", "task", "--save", "no/such/folder.py"],
        ["run", "task", "--trace", "there.py"],
        ["run", "task", "--folder", "missing"],
        ["run", "--prompt-file", "missing.txt"],
        ["exec"],
        ["exec", "missing.py"],
        ["exec", "."],
        ["exec", "latin1.py"],
        ["exec", "nul.py"],
        ["exec", "there.py", "--memory", "lots"],
        ["exec", "there.py", "--memory", "0"],
        ["exec", "there.py", "--wall", "-1"],
        ["exec", "there.py", "--wall", "nan"],
        ["exec", "there.py", "--env", "NOVALUE"],
        ["exec", "there.py", "--env", "1X=2"],
        ["apply", "nothing"],
        ["apply", "last", "--undo", "--finish"],
        ["show", "last"],
        ["replay", "last"],
        ["model", "pull", "no-such-model"],
    ],
)
def test_usage_errors_exit_with_2_and_no_traceback(command: Command, folder: Path, args: Sequence[str]) -> None:
    (folder / "there.py").write_text("1")
    (folder / "latin1.py").write_bytes("é = 1".encode("latin-1"))
    (folder / "nul.py").write_bytes(b"1\0")
    done = command(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not args or done.stderr.startswith("sandsmith: error: ")


def test_an_unknown_model_is_named_before_anything_is_written(command: Command, folder: Path) -> None:
    done = command("run", "task", "--model", "scripted:missing.json")
    assert done.returncode in (2, 3)
    assert "missing.json" in done.stderr
    assert "hint: " in done.stderr
    assert not list(folder.iterdir())


def test_python_that_is_too_large_is_refused(command: Command, folder: Path) -> None:
    (folder / "large.py").write_text("#" * (1024 * 1024 + 1))
    done = command("exec", "large.py")
    assert done.returncode == 2
    assert "larger than" in done.stderr


# exec


@pytest.mark.jail
def test_exec_shows_output_value_and_stderr(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    done = command("exec", "p.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n42\n", "err\n")


@pytest.mark.jail
def test_exec_reads_the_program_from_stdin(command: Command) -> None:
    assert command("exec", "-", stdin=b"\xef\xbb\xbfsum(range(10))").stdout == "45\n"


@pytest.mark.jail
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("import time\ntime.sleep(60)", "out of time"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("x = bytearray(10**9)\nfor i in range(0, 10**9, 4096): x[i] = 1", "emory"),
        ("raise SystemExit(3)", ""),
    ],
)
def test_exec_says_how_a_program_failed(command: Command, folder: Path, code: str, said: str) -> None:
    (folder / "p.py").write_text(code)
    done = command("exec", "p.py", "--wall", "2", "--memory", "256M")
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.jail
def test_exec_changes_the_folder_only_with_apply(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text("open('out.txt', 'w').write('x')")
    assert "out.txt" in command("exec", "p.py").stderr
    assert not (folder / "out.txt").exists()
    assert command("exec", "p.py", "--apply").returncode == 0
    assert (folder / "out.txt").read_text() == "x"


@pytest.mark.jail
def test_exec_json_is_one_object(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text("open('out.txt', 'w').write('x')\nprint('\\x1b[31mü')\n[1]")
    done = command("exec", "p.py", "--json", "--apply")
    told = json.loads(done.stdout)
    assert (told["status"], told["stdout"], told["value"]) == ("ok", "ü\n", "[1]")
    assert told["applied"] is True
    assert told["changes"]["changes"][0]["path"] == "out.txt"
    assert told["peak_memory_bytes"] > 0


@pytest.mark.jail
def test_exec_grants_folders_and_variables(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "granted").mkdir()
    (tmp_path / "granted" / "a.txt").write_text("granted")
    (folder / "p.py").write_text(f"import os\nprint(os.environ['A'], open('{tmp_path}/granted/a.txt').read())")
    assert command("exec", "p.py").returncode == 1
    done = command("exec", "p.py", "--env", "A=b=c", "--read-only", "../granted")
    assert done.stdout == "b=c granted\n"


@pytest.mark.jail
@pytest.mark.data
def test_exec_saves_figures_and_follows_no_link(command: Command, folder: Path, tmp_path: Path) -> None:
    (folder / "p.py").write_text("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert "--figures" in command("exec", "p.py").stderr
    (folder / "figures").mkdir()
    (tmp_path / "precious").write_text("precious")
    (folder / "figures" / "figure-1.png").symlink_to(tmp_path / "precious")
    assert command("exec", "p.py", "--figures", "figures").returncode == 0
    assert (folder / "figures" / "figure-1.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.jail
def test_exec_never_sends_escape_codes(command: Command, folder: Path) -> None:
    evil = "\\x1b]52;c;aGk=\\x07\\x1b[2J\\x9b31m\\u202e"
    (folder / "p.py").write_text(
        f"import sys\nprint('{evil}')\nprint('{evil}', file=sys.stderr)\n"
        f"open('a\\x1b[2J', 'w')\nraise ValueError('{evil}')"
    )
    done = command("exec", "p.py", LC_ALL="C")
    for text in (done.stdout, done.stderr):
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}


@pytest.mark.jail
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exec_ends_at_once_on_a_signal(command: Command, folder: Path, number: signal.Signals) -> None:
    (folder / "p.py").write_text("open('out.txt', 'w').write('x')\nimport time\ntime.sleep(60)")
    process = command.start("exec", "p.py", "--apply")
    time.sleep(2)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    assert not (folder / "out.txt").exists()


@pytest.mark.jail
def test_a_closed_pipe_is_no_error(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text("print('line\\n' * 50_000)")
    with command.start("exec", "p.py") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


@pytest.mark.jail
def test_output_is_utf8_in_the_c_locale(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text("print('grüße 日本 \\ud800')")
    done = command("exec", "p.py", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.startswith("grüße 日本")


# run, with a scripted model


@pytest.mark.jail
def test_run_prints_the_answer_alone_on_stdout(command: Command, folder: Path) -> None:
    (folder / "sales.csv").write_text("region,total\nnorth,3\nsouth,5\n")
    code = "import csv\nprint(max(csv.DictReader(open('sales.csv')), key=lambda r: int(r['total']))['region'])"
    done = command("run", "Which region sold most?", "sales.csv", "-m", replies(folder, code))
    assert (done.returncode, done.stdout) == (0, "south\n")
    assert "unverified: nothing checked this answer" in done.stderr


@pytest.mark.jail
def test_run_with_a_check_that_holds_is_solved(command: Command, folder: Path) -> None:
    bad, good = "def double(x):\n    return x", "def double(x):\n    return 2 * x"
    done = command(
        "run", "Write double(x)", "--check", "double(2) == 4", "-m", replies(folder, bad, good), "--save", "d.py"
    )
    assert done.returncode == 0
    assert "solved: your checks hold" in done.stderr
    assert (folder / "d.py").read_text() == good + "\n"


@pytest.mark.jail
def test_run_that_no_program_solves_exits_with_1(command: Command, folder: Path) -> None:
    bad = "def double(x):\n    return x\nopen('out.txt', 'w').write('x')\nprint('wrong')"
    args = ["--check", "double(2) == 4", "--drafts", "2", "--repairs", "0", "--apply", "--save", "d.py"]
    done = command("run", "Write double(x)", "-m", replies(folder, bad, bad + "\n", bad), *args)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not solved" in done.stderr
    assert "the best program printed:\n  wrong\n" in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.jail
def test_a_file_is_found_from_here_and_in_the_folder(command: Command, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("x")
    (folder / "b.txt").write_text("y")
    model = replies(folder, "print(open('a.txt').read() + open('b.txt').read())")
    assert command("run", "Read", "a.txt", "b.txt", "--folder", "sub", "-m", model).stdout == "xy\n"
    refused = command("run", "Read", "aa.txt", "--folder", "sub", "-m", model)
    assert refused.returncode == 2
    assert "hint: there are: a.txt" in refused.stderr


@pytest.mark.jail
def test_run_json_is_one_object(command: Command, folder: Path) -> None:
    code = "open('out.txt', 'w').write('x')\ndef double(x):\n    return 2 * x\nprint(double(4))"
    (folder / "test_it.py").write_text("def test_two():\n    assert double(2) == 4\n")
    done = command("run", "Write double(x)", "--tests", "test_it.py", "--json", "--apply", "-m", replies(folder, code))
    told = json.loads(done.stdout)
    assert (told["outcome"], told["solved"], told["answer"].strip(), told["applied"]) == ("solved", True, "8", True)
    assert told["verdict"]["author"] == "user"
    assert told["program"].strip() == code
    assert told["execution"]["status"] == "ok"
    assert {"changes", "usage", "seconds", "reason", "run", "drafts", "repairs", "attempts"} <= told.keys()
    assert (folder / "out.txt").read_text() == "x"


@pytest.mark.jail
def test_run_with_a_planner_and_a_bigger_model(command: Command, folder: Path) -> None:
    planner, bigger = folder.parent / "planner.json", folder.parent / "bigger.json"
    planner.write_text(json.dumps({"name": "planner", "parameters": 70, "replies": ["1. Think.\n2. Print."]}))
    edit = "<<<<<<< SEARCH\nx = 1\n=======\nx = 42\n>>>>>>> REPLACE"
    bigger.write_text(json.dumps({"name": "bigger", "parameters": 70, "prefill": False, "replies": [edit]}))
    second = ("--planner-model", f"scripted:{planner}", "--escalate-model", f"scripted:{bigger}")
    one = ("-m", replies(folder, "x = 1\nprint(x)"), "--drafts", "1", "--check", "x == 42")
    done = command("run", "Print x", *one, *second)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert "2 steps by planner" in done.stderr and "  1. Think." in done.stderr
    assert "none of 1 drafts and 0 repairs passed" in done.stderr and f"scripted:{bigger} goes on" in done.stderr
    assert "written  by bigger" in command("show", "last").stdout
    replayed = command("replay", "last")
    assert (replayed.returncode, replayed.stdout) == (0, "42\n")
    told = json.loads(command("run", "Print x", *one, *second, "--json").stdout)
    assert (told["model"], told["outcome"], told["attempts"]) == ("bigger", "solved", 2)


@pytest.mark.jail
def test_a_planner_that_cannot_be_had_is_told(command: Command, folder: Path) -> None:
    done = command("run", "Print 1", "-m", replies(folder, "print(1)"), "--planner-model", "scripted:none.json")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "no steps from scripted:none.json: cannot read the script none.json" in done.stderr


@pytest.mark.jail
def test_run_takes_piped_data_as_a_file(command: Command, folder: Path) -> None:
    code = "import os\nprint([n for n in os.listdir() if n.startswith('stdin')], open('stdin.csv').read().count('x'))"
    done = command("run", "Count x", "-m", replies(folder, code), stdin=b"a,b\nx,1\nx,2\n")
    assert done.stdout == "['stdin.csv'] 2\n"


@pytest.mark.jail
def test_run_does_not_wait_for_a_pipe_that_nobody_writes_to(command: Command, folder: Path) -> None:
    reader, writer = os.pipe()
    try:
        process = command.start("run", "Say 1", "-m", replies(folder, "print(1)"), stdin=reader)
        out, errors = process.communicate(timeout=60)
    finally:
        os.close(reader)
        os.close(writer)
    assert (process.returncode, out) == (0, b"1\n")
    assert b"stdin is open but silent" in errors


@pytest.mark.jail
@pytest.mark.parametrize("args", [["-"], ["--prompt-file", "-"]])
def test_run_reads_the_task_from_stdin(command: Command, folder: Path, data: Path, args: list[str]) -> None:
    assert command("run", *args, "-m", replies(folder, "print(1)"), stdin=b"Say one.\n").stdout == "1\n"
    assert "Say one." in command("runs").stdout


@pytest.mark.jail
def test_run_quiet_and_verbose(command: Command, folder: Path) -> None:
    model = replies(folder, "print('hello')")
    assert command("run", "Say hello", "-m", model, "-q").stderr == ""
    loud = command("run", "Say hello", "-m", model, "-v").stderr
    assert "--- user" in loud
    assert "print('hello')" in loud


@pytest.mark.jail
def test_what_a_model_says_cannot_reach_the_terminal(command: Command, folder: Path) -> None:
    code = "x = '\x1b]0;owned\x07'\nprint(x)\nraise ValueError(x)"
    done = command("run", "Go\x1b[2J", "--drafts", "1", "--repairs", "0", "-v", "-m", replies(folder, code, code, code))
    assert "\x1b" not in done.stdout + done.stderr
    for words in (
        ["runs"],
        ["show", "last"],
        ["show", "last", "--program"],
        ["show", "last", "--json"],
        ["show", "last", "--trace"],
    ):
        assert "\x1b" not in command(*words).stdout


@pytest.mark.jail
def test_the_life_of_a_run_after_the_run(command: Command, folder: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    code = "open('a.txt', 'a').write('two\\n')\nprint('done')"
    done = command("run", "Add two", "-m", replies(folder, code), "--trace", "t.jsonl")
    assert "sandsmith apply 2" in done.stderr
    events = [json.loads(line)["event"] for line in (folder / "t.jsonl").read_text().splitlines()]
    assert (events[0], events[-1]) == ("started", "finished")
    (run,) = json.loads(command("runs", "--json").stdout)["runs"]
    assert run["task"] == "Add two"
    assert command("show", run["run"], "--program").stdout == code + "\n"
    assert "+two" in command("show", "last", "--diff").stdout
    assert json.loads(command("show", "last", "--json").stdout)["result"]["outcome"] == "unverified"
    assert "Add two" in command("show", "last").stdout
    assert (folder / "a.txt").read_text() == "one\n"
    assert command("apply", "last").returncode == 0
    assert (folder / "a.txt").read_text() == "one\ntwo\n"
    assert command("apply", "last").returncode == 2
    assert command("apply", "last", "--undo").returncode == 0
    assert (folder / "a.txt").read_text() == "one\n"


@pytest.mark.jail
def test_apply_refuses_when_the_folder_changed_meanwhile(command: Command, folder: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    command("run", "Add two", "-m", replies(folder, "open('a.txt', 'a').write('two\\n')\nprint('done')"))
    (folder / "a.txt").write_text("mine\n")
    refused = command("apply", "last")
    assert refused.returncode == 2
    assert "a.txt" in refused.stderr
    assert (folder / "a.txt").read_text() == "mine\n"
    assert command("apply", "last", "--force").returncode == 0
    assert (folder / "a.txt").read_text() == "one\ntwo\n"


@pytest.mark.jail
def test_apply_refuses_a_run_that_was_not_solved(command: Command, folder: Path) -> None:
    code = "open('out.txt', 'w').write('x')\nprint(1)"
    options = ["--check", "False", "--drafts", "1", "--repairs", "0", "--apply"]
    done = command("run", "Write out", "-m", replies(folder, code, code), *options)
    assert done.returncode == 1
    assert not (folder / "out.txt").exists()
    assert command("apply", "last").returncode == 2
    assert not (folder / "out.txt").exists()


@pytest.mark.jail
def test_replay_needs_no_model(command: Command, folder: Path) -> None:
    model = replies(folder, "print(6 * 7)")
    command("run", "Compute", "-m", model)
    Path(model.removeprefix("scripted:")).unlink()
    done = command("replay", "last")
    assert done.returncode == 0
    assert "42" in done.stdout


@pytest.mark.jail
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_interrupted_keeps_the_trace_and_the_folder(
    command: Command, folder: Path, data: Path, number: signal.Signals
) -> None:
    code = "open('out.txt', 'w').write('x')\nimport time\ntime.sleep(60)"
    process = command.start("run", "Wait", "--apply", "--json", "--wall", "50", "-m", replies(folder, code))
    wait_for(lambda: any('"drafted"' in t.read_text() for t in data.rglob("trace.jsonl")))
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number
    assert json.loads(out)["outcome"] == "interrupted"
    assert b"Traceback" not in errors
    assert not list(folder.iterdir())
    assert '"prompted"' in next(data.rglob("trace.jsonl")).read_text()


# doctor and model


@pytest.mark.jail
def test_doctor_says_what_there_is(command: Command) -> None:
    told = json.loads(command("doctor", "--json").stdout)
    assert told["ok"] is True
    assert told["jail"]
    assert {"name", "ok", "detail", "needed"} <= told["jail"][0].keys()
    assert "the jail can be built here" in command("doctor").stdout


def test_off_linux_the_jail_is_said_to_need_linux(environment: dict[str, str], folder: Path) -> None:
    (folder / "p.py").write_text("1")
    for words in (["exec", "p.py"], ["doctor"]):
        code = f"import sys\nsys.platform = 'darwin'\nfrom agent.cli import main\nsys.exit(main({words!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 3
        assert "Linux" in done.stderr
        assert "hint: " in done.stderr


def test_model_list_knows_the_embedded_models(command: Command) -> None:
    rows = json.loads(command("model", "list", "--json", HF_ENDPOINT="http://127.0.0.1:9").stdout)["models"]
    assert "qwen2.5-coder-1.5b" in {row["name"] for row in rows}


def test_a_bug_of_ours_exits_with_70(environment: dict[str, str], folder: Path) -> None:
    code = (
        "import sys\nfrom agent import store\n"
        "def broken(): raise RuntimeError('oops')\n"
        "store.list_runs = broken\n"
        "from agent.cli import main\nsys.exit(main(['runs']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 70
    assert done.stderr.startswith("sandsmith: error: a bug of sandsmith: RuntimeError: oops")
    assert "Traceback" not in done.stderr


@pytest.mark.jail
@pytest.mark.parametrize("words", [["exec", "../p.py"], ["run", "List"]])
def test_a_home_directory_is_not_handed_over(command: Command, folder: Path, words: list[str]) -> None:
    (folder / "private.txt").write_text("x")
    code = "import os\nprint(os.listdir())"
    (folder.parent / "p.py").write_text(code)
    model = ["-m", replies(folder, code)] if words[0] == "run" else []
    done = command(*words, *model, HOME=str(folder))
    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert "is not shown" in done.stderr
