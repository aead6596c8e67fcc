"""Nothing that a hostile program, reply or input file says reaches a screen, a log or a prompt as it stands.

The program and the files are full of what a terminal or a reader of the text would act upon; every stream, file and
prompt that comes of them is looked at byte by byte. The files' own contents are of course left as they are.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_text import BAD

pytestmark = pytest.mark.jail

EVIL = (
    "\x1b]52;c;UFdORUQ=\x07\x1b[2J\x1b]0;PWNED\x1b\\\x9b31m\x9dX\x9c\x07\x08\x7f"
    "\u202ecba\u2066\u200f\u2028\ufff9\U000e0041"
)
"""Clipboard, screen, title, C1 commands, bell, backspace, delete, text that runs backwards, hidden text."""
NAME = "ev\x1b]0;PWNED\x07il\x9b2J\u202e"
LINE = "\r\x00" + EVIL
PROGRAM = f"""
import os, sys, warnings
EVIL = {LINE!r}
print("out", EVIL)
print("err", EVIL, file=sys.stderr)
os.write(1, EVIL.encode("utf-8", "surrogatepass") + b"\\xff\\x1b[31m\\n")
warnings.warn(EVIL)
name = EVIL.replace("\\0", "").replace("/", "")
for path in ("made.txt", name + ".txt"):
    with open(path, "w") as file:
        file.write(EVIL + "\\n")
os.mkdir(name)
os.symlink(name, name + "-link")
"""
VALUE = """
class Value:
    def __repr__(self): return EVIL
Value()
"""
CRASH = """
data = {EVIL: 1}
class Broken(KeyError):
    def __str__(self): return EVIL
Broken.__name__ = "Broken" + EVIL.replace(chr(0), "")
raise Broken(EVIL, data[EVIL])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Input files of every kind that is looked into, hostile in all that is told of them."""
    folder = tmp_path / "work"
    folder.mkdir()
    cell = EVIL.replace("\x07", "\x1b\\").replace("\x08", "")  # more than a few such bytes make a file a binary one
    (folder / "data.csv").write_text(f'id,{cell},"two\r\nlines"\n1,{cell},"\x0b5\u2028"\n2,"a{cell}",6\n')
    (folder / "look.csv").write_text(f'key,"n{cell}"\na{cell},"\u20285\x1f"\nb,6\n')
    (folder / f"{NAME}.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "data.json").write_text(json.dumps({EVIL: [{EVIL: EVIL}]}, ensure_ascii=False))
    (folder / "lines.jsonl").write_text('{"\u202e\x9b\x7f": "\x9d"}\n{"\u202e\x9b\x7f": 2}\n')
    (folder / "log.txt").write_text(f"one {cell}\ntwo\rthree\n")
    (folder / "web.log").write_text(f'1.2.3.4 - {cell.split()[0]} [x] "GET {cell}" 200 5\n' * 3)
    (folder / "conf.ini").write_text(f"[{cell}]\na={cell}\n")
    (folder / "code.py").write_text(f"# {cell}\nx = 1\n")
    with zipfile.ZipFile(folder / "files.zip", "w") as archive:
        archive.writestr(f"{NAME}.csv", f"a,{cell}\n1,{cell}\n")
        archive.writestr(f"dir/{NAME}.txt", cell)
    base = sqlite3.connect(folder / "base.sqlite")
    base.execute(f'create table "t{EVIL}" ("c{EVIL}" text)')
    base.execute(f'insert into "t{EVIL}" values (?)', (LINE,))
    base.commit()
    base.close()
    (folder / f"{NAME}-folder").mkdir()
    (folder / f"{NAME}-folder" / f"{NAME}.txt").write_text(cell)
    return folder


@pytest.fixture
def command(folder: Path) -> Any:
    environment = {**os.environ, "SANDSMITH_DATA_DIR": str(folder.parent / "data"), "LANG": "C.UTF-8"}

    def command(*args: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "agent", *args],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        for stream in (done.stdout, done.stderr):
            harmless(stream)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return command


def harmless(data: bytes) -> None:
    """No byte and no character that a terminal, or a reader of the text, would act upon."""
    found = BAD.search(data.decode())  # strictly: nothing but UTF-8 either
    assert not found, repr(data.decode()[max(0, found.start() - 80) : found.end() + 20])


def texts(value: Any) -> Iterator[str]:
    """All texts in JSON data, keys included."""
    if isinstance(value, str):
        yield value
    for inner in value if isinstance(value, list) else ():
        yield from texts(inner)
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        yield from texts(inner)


@pytest.mark.parametrize("end", [VALUE, CRASH, "import os; os.kill(os.getpid(), 9)", "while True: pass"])
def test_a_hostile_program(command: Any, folder: Path, end: str) -> None:
    (folder / "program.py").write_text(PROGRAM + end)
    for options in ([], ["--json"]):
        code, out, err = command("exec", "program.py", "--wall", "2", "--no-apply", *options)
        assert code == (0 if end is VALUE else 1)
        assert "out" in out and r"\u202e" in out + err  # what is hostile got as far as here
    for text in texts(json.loads(out)):
        assert not BAD.search(text), repr(text)


TASKS = (
    "Sum the numbers in data.csv and look.csv, and say what is in log.txt, web.log and conf.ini",
    "How many tables are in base.sqlite, data.json, lines.jsonl and files.zip? List the files.",
)


@pytest.fixture
def replies(folder: Path) -> Path:
    """A model that has read the files: two programs that crash and one that does not."""
    programs = [PROGRAM + CRASH, PROGRAM + "open('nothing' + name)", f"{PROGRAM}print('seven')\n{VALUE}"]
    path = folder.parent / "replies.json"
    path.write_text(json.dumps([f"```python\n{program}\n```\n{EVIL}" for program in programs * 3]))
    return path


@pytest.mark.parametrize("task", TASKS)
def test_a_run_over_hostile_files(command: Any, folder: Path, replies: Path, task: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _, _, err = command("run", task, "-m", f"scripted:{replies}", "-v", "--no-apply")
    assert r"\u202e" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (run,) = (folder.parent / "data" / "runs").iterdir()
    seen = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
    prompts = [event for event in seen if event["event"] == "prompted"]
    assert len(prompts) >= 3
    for event in prompts:
        given = [m["content"] for m in event["messages"] if m["role"] != "assistant"]  # what the model said is its own
        assert not any(BAD.search(text) for text in (event["prefill"], *given)), event
        assert any(r"\u202e" in text for text in (event["prefill"], *given))  # what is hostile got as far as here
    for event in seen:
        if event["event"] in ("planned", "executed", "judged"):
            said = list(texts({key: value for key, value in event.items() if key != "program"}))
            assert not any(BAD.search(text) for text in said), event


def test_a_hostile_run_in_json_and_looked_at_later(command: Any, folder: Path, replies: Path) -> None:
    replies.write_text(replies.read_text().replace("```python\\n", f"```python\\n# {json.dumps(EVIL)[1:-1]}\\n"))
    options = ("--json", "--no-apply", "--check", "name in EVIL")
    _, out, err = command("run", TASKS[0], "-m", f"scripted:{replies}", *options)
    assert out, err
    assert json.loads(out)["program"] and any(BAD.search(text) for text in texts(json.loads(out)))  # whole, in escapes
    for args in (
        *(["runs"], ["runs", "--json"], ["replay", "last"], ["apply", "last", "--force"], ["apply", "last", "--undo"]),
        *(["show", "last", *option] for option in ([], ["--program"], ["--trace"], ["--diff"], ["--json"])),
    ):
        command(*args)
    (run,) = (folder.parent / "data" / "runs").iterdir()
    for name in ("trace.jsonl", "task.json", "result.json"):
        harmless((run / name).read_bytes())


def test_hostile_names_on_the_command_line(command: Any, folder: Path) -> None:
    (folder / "program.py").write_text("1 / 0")
    for args in (
        ["run", "task", f"nothing{NAME}"],
        ["run", f"do {NAME}", f"{NAME}.csv", "-m", f"nothing:{NAME}"],
        ["exec", NAME],
        ["exec", "program.py", "--env", NAME],
        ["exec", "program.py", "--folder", f"{NAME}-folder"],
        ["exec", "program.py", "--memory", NAME],
        ["show", NAME],
        ["model", "pull", NAME],
        [NAME],
        ["doctor", f"--{NAME}"],
    ):
        code, _, err = command(*args)
        assert code and err
