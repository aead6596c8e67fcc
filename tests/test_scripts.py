"""`sandsmith save` and `sandsmith script run`, as real processes, and the repair of a script whose input changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.running import choose_packages, load_script, repair_task
from agent.script import About

pytestmark = pytest.mark.jail

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Done]
PROGRAM = """\
import csv

rows = list(csv.DictReader(open('sales.csv')))
unneeded = len(rows)
total = sum(int(row['amount']) for row in rows)
with open('total.txt', 'w') as file:
    file.write(str(total))
print(total)"""
SCRIPT = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'


def in_folder(folder: Path, data: Path) -> Command:
    """Runs `sandsmith` in `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SANDSMITH", "LC_", "LANG"))}
    environment = {**kept, "SANDSMITH_DATA_DIR": str(data), "LANG": "C.UTF-8"}

    def run(*args: object, timeout: float = 120) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "agent", *map(str, args)],
            cwd=folder,
            env=environment,
            timeout=timeout,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


def model(tmp_path: Path, *replies: str) -> str:
    path = tmp_path / "replies.json"
    path.write_text(json.dumps([f"```python\n{code}\n```" for code in replies]))
    return f"scripted:{path}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `work` with a script that was saved from a run, and the `data` folder of that run."""
    top = tmp_path_factory.mktemp("made")
    (top / "work").mkdir()
    (top / "work" / "sales.csv").write_text("region,amount\nWest,10\nEast,5\n")
    command = in_folder(top / "work", top / "data")
    task = "What is the total? Write it to total.txt."
    done = command("run", task, "sales.csv", "--model", model(top, PROGRAM), "--check", "total > 0", "--no-apply")
    assert done.returncode == 0, done.stderr
    done = command("save", "last", "report.py")
    assert (done.returncode, done.stdout) == (0, "report.py\n"), done.stderr
    assert "arguments: sales (sales.csv)" in done.stderr
    return top


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "work", tmp_path / "work")


@pytest.fixture
def report(folder: Path) -> Path:
    """A script that was saved from a run."""
    return folder / "report.py"


@pytest.fixture
def command(folder: Path, made: Path, tmp_path: Path) -> Command:
    return in_folder(folder, shutil.copytree(made / "data", tmp_path / "data"))


def test_a_saved_script_runs_over_other_files(command: Command, folder: Path, tmp_path: Path, report: Path) -> None:
    assert "unneeded" not in report.read_text()
    (tmp_path / "new.csv").write_text("region,amount\nWest,3\n")
    done = command("script", "run", "report.py", tmp_path / "new.csv", "--apply")
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert (folder / "total.txt").read_text() == "3"
    done = command("script", "run", "report.py", "--no-apply")
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr
    assert (folder / "total.txt").read_text() == "3"


def test_a_script_is_not_overwritten(command: Command, report: Path) -> None:
    report.write_text("mine")
    done = command("save", "last", "report.py")
    assert done.returncode == 2 and "--force" in done.stderr
    assert report.read_text() == "mine"
    done = command("save", "last", "report.py", "--force")  # the run's folder is another one, still there
    assert done.returncode == 0 and "total = " in report.read_text(), done.stderr


def test_a_script_finds_its_command_line_and_leaves_its_exit_code(command: Command, folder: Path) -> None:
    (folder / "args.py").write_text(SCRIPT + "import sys\nprint(sys.argv)\nsys.exit(len(sys.argv))\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "in.txt").write_text("")
    inside = folder / "sub" / "in.txt"
    done = command("script", "run", "args.py", "a b", inside, f"--in={inside}", "--top", "3", "--", "--help")
    assert eval(done.stdout) == ["args.py", "a b", "sub/in.txt", "--in=sub/in.txt", "--top", "3", "--help"]
    assert done.returncode == 7
    (folder / "args.py").write_text(SCRIPT + "1 / 0\n")
    done = command("script", "run", "args.py")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_a_script_sees_only_the_files_that_it_is_given(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shown.txt").write_text("shown")
    (tmp_path / "hidden.txt").write_text("hidden")
    code = (
        "import os, sys\nprint(open(sys.argv[1]).read(), os.path.exists('../hidden.txt'), os.path.exists('hidden.txt'))"
    )
    (folder / "look.py").write_text(code)
    done = command("script", "run", "look.py", "../shown.txt")
    assert done.stdout == "shown False False\n", done.stderr


def test_a_missing_package_is_told_with_the_way_to_bring_it(command: Command, folder: Path) -> None:
    code = SCRIPT.replace("[]", '["no-such-package-here>=2"]') + "print(1)\n"
    (folder / "p.py").write_text(code)
    done = command("script", "run", "p.py")
    assert done.returncode == 2
    assert "needs no-such-package-here>=2" in done.stderr and "--with 'no-such-package-here>=2'" in done.stderr
    (folder / "p.py").write_text(code.replace("no-such-package-here", "pytest"))
    assert command("script", "run", "p.py").stdout == "1\n"


def test_another_version_will_do_and_is_told() -> None:
    packages, told = choose_packages(About(dependencies=("pytest==0.1",)), None)
    assert packages is None and "asks for pytest==0.1" in told[0]
    assert choose_packages(About(dependencies=("pytest>=0.1", "nothing; python_version < '3'")), None) == (None, ())
    with pytest.raises(ConfigError, match="no requirement"):
        choose_packages(About(dependencies=("a b",)), None)


def test_a_script_for_another_python_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"for Python >=4, and this is 3\."):
        load_script(Path("p.py"), SCRIPT.replace(">=3.11", ">=4"), (), folder)
    with pytest.raises(ConfigError, match="names no versions"):
        load_script(Path("p.py"), SCRIPT.replace(">=3.11", "new"), (), folder)
    assert load_script(Path("p.py"), SCRIPT, ("x",), folder).arguments == ("x",)


# --- repair ---

DRIFTED = "Region;Sum\nWest;8\nEast;1\n"
MENDED = PROGRAM.replace("'sales.csv')", "'new.csv'), delimiter=';'").replace("'amount'", "'Sum'")


def test_a_script_whose_input_has_changed_is_mended(command: Command, report: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(DRIFTED)
    line = ("script", "run", "report.py", "../new.csv")
    assert "KeyError" in command(*line).stderr
    done = command(*line, "--repair", "--model", model(tmp_path, MENDED, MENDED))
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr
    assert "+total = sum(int(row['Sum']) for row in rows)" in done.stderr
    assert "-total = sum(int(row['amount']) for row in rows)" in done.stderr
    about = About.read(report.read_text())
    assert about.arguments == {"sales": "sales.csv"}
    assert ("expression", "total > 0") in [(check.kind, check.text) for check in about.checks]
    assert (command(*line).stdout, command(*line).returncode) == ("9\n", 0)
    assert not (report.parent / "total.txt").exists()  # nobody has accepted it


@pytest.mark.parametrize("bad", [PROGRAM, MENDED.replace("total)", "0 * total)"), MENDED.replace("total =", "n =")])
def test_what_does_not_pass_the_old_checks_is_not_saved(
    command: Command, report: Path, tmp_path: Path, bad: str
) -> None:
    before = report.read_text()
    (tmp_path / "new.csv").write_text(DRIFTED.replace("8", "-8"))
    replies = [f"{bad}\n# {n}" for n in range(8)]
    done = command("script", "run", "report.py", "../new.csv", "--repair", "--model", model(tmp_path, *replies))
    assert done.returncode == 1, done.stderr
    assert "was not changed" in done.stderr
    assert report.read_text() == before


def test_an_answer_that_is_taken_from_the_old_output_is_not_saved(
    command: Command, report: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text(DRIFTED)
    (folder / "total.txt").write_text("15")
    before = report.read_text()
    copied = "rows = open('new.csv').read()\ntotal = int(open('total.txt').read())\nprint(total)"
    copied += "\nopen('total.txt', 'w').write(str(total + 0))"
    line = ("script", "run", "report.py", "../new.csv", "--repair", "--model", model(tmp_path, copied, copied))
    done = command(*line)
    assert done.returncode == 1 and "reads total.txt, which it is to make" in done.stderr
    assert report.read_text() == before


def test_a_script_that_works_is_left_alone(command: Command, report: Path, tmp_path: Path) -> None:
    done = command("script", "run", "report.py", "--repair", "--model", model(tmp_path))
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr


def test_a_check_that_does_not_hold_any_more_calls_for_a_repair(
    command: Command, report: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "sales.csv").write_text("region,amount,net\nWest,-10,4\n")
    assert command("script", "run", "report.py").returncode == 0  # other data may have other results
    mended = PROGRAM.replace("'amount'", "'net'")
    done = command("script", "run", "report.py", "--repair", "--model", model(tmp_path, mended, mended), "--apply")
    assert (done.returncode, done.stdout) == (0, "-10\n4\n"), done.stderr
    assert "total > 0" in done.stderr
    assert (folder / "total.txt").read_text() == "4"


def test_a_script_that_does_not_say_what_it_is_for_cannot_be_repaired(command: Command, folder: Path) -> None:
    (folder / "p.py").write_text(SCRIPT + "1 / 0\n")
    done = command("script", "run", "p.py", "--repair")
    assert done.returncode == 2 and "does not say what it is for" in done.stderr
    done = command("script", "run", "p.py", "--repair", "--json")
    assert done.returncode == 2 and "exclude each other" in done.stderr


def test_a_repair_begins_with_the_program_over_the_files_that_were_given(report: Path, folder: Path) -> None:
    (folder / "may.csv").write_text(DRIFTED)
    task = repair_task(load_script(report, report.read_text(), (str(folder / "may.csv"),), folder), folder)
    assert task.files == (folder / "may.csv",)
    assert 'open("may.csv")' in task.program and "argparse" not in task.program
    report.write_text(report.read_text() + "\n)")
    with pytest.raises(ConfigError, match="no valid Python"):
        repair_task(load_script(report, report.read_text(), (), folder), folder)


@pytest.mark.model
def test_the_embedded_model_mends_a_renamed_column(command: Command, report: Path, folder: Path) -> None:
    (folder / "sales.csv").write_text("region,units_sold\nWest,10\nEast,7\n")
    done = command("script", "run", "report.py", "--repair", "--apply", timeout=500)
    assert done.returncode == 0, done.stderr
    assert "17" in done.stdout
    assert "units_sold" in report.read_text()
    assert "17" in (folder / "total.txt").read_text()
