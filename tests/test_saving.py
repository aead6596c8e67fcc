"""Saving a session or a run as a script: what it holds, that it does the same, and that nothing else is written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import Agent, Check, ConfigError, Saved, Step, save_run, save_script
from agent.models.scripted import ScriptedModel
from agent.script import About, body_of, given_files, with_about, with_arguments, with_files
from agent.store import load_run
from sandbox import Changes, open_session

SALES = "region,amount\nWest,10\nEast,5\nWest,7\n"
READ = "import csv\nrows = list(csv.DictReader(open('sales.csv')))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    (path / "sales.csv").write_text(SALES)
    return path


def play(folder: Path, *codes: str) -> tuple[list[Step], Changes]:
    """The steps of a session over `folder`, those that fail left out, and what it changed."""
    with open_session("jail", workspace=folder, store=Path(tempfile.mkdtemp(dir=folder.parent)) / "changes") as session:
        done = [(code, session.execute(code)) for code in codes]
        return [Step.of(code, run) for code, run in done if run.ok], session.changes()


def saved(folder: Path, *codes: str, checks: Sequence[Check] = (), task: str = "") -> Saved:
    steps, changes = play(folder, *codes)
    return save_script(steps, target=folder / "out.py", folder=folder, changes=changes, checks=checks, task=task)


def outside(script: Path, *arguments: str, folder: Path) -> str:
    """What the script prints when Python runs it, without any jail."""
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


# --- sessions ---


@pytest.mark.jail
def test_a_session_becomes_what_its_last_step_depends_on(folder: Path, tmp_path: Path) -> None:
    found = saved(
        folder,
        f"{READ}\nprint('there are', len(rows))",
        "1 / 0",
        "names = {r['region'] for r in rows}",
        "# what is asked\ntotal = sum(int(r['amount']) for r in rows)\ntotal",
        task="What is the total?",
    )
    body = body_of(found.code)
    assert "names" not in body and "there are" not in body and "1 / 0" not in body
    assert "# what is asked" in body and not found.whole
    assert found.path.read_text() == found.code
    assert outside(found.path, folder=folder) == "22\n"
    (tmp_path / "other.csv").write_text("region,amount\nSouth,3\n")
    assert outside(found.path, "../other.csv", folder=folder) == "3\n"
    assert "default: sales.csv" in outside(found.path, "--help", folder=folder)
    assert found.arguments == {"sales": "sales.csv"}


@pytest.mark.jail
def test_files_that_were_made_are_made_again(folder: Path) -> None:
    found = saved(
        folder,
        f"{READ}\nopen('n.txt', 'w').write(str(len(rows)))",
        "import zipfile\nwith zipfile.ZipFile('all.zip', 'w') as z:\n    z.writestr('a.txt', 'a')",
        "import os\nos.makedirs('new', exist_ok=True)\nx = 5",
        "unneeded = x",
    )
    assert "unneeded" not in body_of(found.code) and "makedirs" in found.code
    outside(found.path, folder=folder)
    assert (folder / "n.txt").read_text() == "3" and (folder / "all.zip").exists() and (folder / "new").is_dir()


@pytest.mark.jail
def test_the_output_of_earlier_steps_stays_where_it_cannot_be_taken_out(folder: Path) -> None:
    found = saved(folder, "def load():\n    print('loading')\n    return 5\nx = load()", "print('x', x)", "print(x)")
    assert outside(found.path, folder=folder) == "loading\nx 5\n5\n"


@pytest.mark.jail
def test_the_last_value_is_found_by_its_name(folder: Path) -> None:
    found = saved(folder, "6 * 7", "_ + 1")
    assert outside(found.path, folder=folder) == "43\n"


@pytest.mark.jail
@pytest.mark.parametrize(
    "code, printed",
    [
        ("'a\\nb'", "a\nb\n"),
        ("(  # c\n 1 +\n 2)", "3\n"),
        ("import decimal\ndecimal.Decimal('1.50')", "Decimal('1.50')\n"),
        ("print('p')\n5", "p\n"),
        ("[1, 'a']; ", "[1, 'a']\n"),
        ("é = 'ü'; é", "ü\n"),
    ],
)
def test_the_answer_is_printed(folder: Path, code: str, printed: str) -> None:
    assert outside(saved(folder, code).path, folder=folder) == printed


@pytest.mark.jail
def test_what_cannot_be_done_again_is_not_saved(folder: Path) -> None:
    for code in ("import time\nprint(time.time_ns())", "import uuid\nopen('id.txt', 'w').write(uuid.uuid4().hex)"):
        with pytest.raises(ConfigError, match="no program was found that does the same again") as caught:
            saved(folder, code)
        assert "printed" in str(caught.value) or "id.txt holds something else" in str(caught.value)
        assert sorted(p.name for p in folder.iterdir()) == ["sales.csv"]
    assert saved(folder, "print('the same')").path.exists()


@pytest.mark.jail
def test_steps_that_were_never_so_are_not_saved(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"printed '1\\n' where '2\\n'"):
        save_script([Step("print(1)", stdout="2\n")], target=folder / "out.py", folder=folder)
    with pytest.raises(ConfigError, match="no step"):
        save_script([], target=folder / "out.py")
    assert not (folder / "out.py").exists()


@pytest.mark.jail
def test_no_file_is_overwritten_unless_forced(folder: Path) -> None:
    steps, target = [Step("print(1)", stdout="1\n")], folder / "out.py"
    target.write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        save_script(steps, target=target)
    assert target.read_text() == "mine"
    assert save_script(steps, target=target, force=True).code == target.read_text()
    with pytest.raises(ConfigError, match="no such folder"):
        save_script(steps, target=folder / "none" / "out.py")


@pytest.mark.jail
def test_checks_must_hold_again_and_keep_what_they_are_about(folder: Path) -> None:
    check = Check("expression", "slug('A b') == 'a-b'")
    code = "import re\ndef slug(t): return re.sub(r'\\W+', '-', t.lower())\ndef other(): return 1\nprint('done')"
    found = saved(folder, code, checks=[check])
    assert "def slug" in found.code and "def other" not in found.code
    assert check in About.read(found.code).checks
    with pytest.raises(ConfigError, match="got 'a-b', want 'a_b'"):
        saved(folder.parent, code, checks=[Check("expression", "slug('A b') == 'a_b'")])


@pytest.mark.jail
def test_a_program_that_edits_a_file_is_saved_after_its_changes_were_applied(folder: Path) -> None:
    steps, changes = play(folder, "text = open('sales.csv').read()\nopen('sales.csv', 'w').write(text.upper())")
    changes.apply()
    found = save_script(steps, target=folder.parent / "out.py", folder=folder, changes=changes)
    assert found.arguments == {"sales": "sales.csv"}
    assert (folder / "sales.csv").read_text() == SALES.upper()  # it was taken back in a copy only


@pytest.mark.jail
@pytest.mark.data
def test_packages_are_pinned_and_pictures_compared_by_size(folder: Path) -> None:
    found = saved(
        folder,
        "import pandas as pd\nimport numpy as np\nimport matplotlib.pyplot as plt",
        "df = pd.read_csv('sales.csv')\ndf.head()",
        "df.groupby('region').amount.sum().to_excel('out.xlsx')",
        "df.plot(x='region')\nplt.savefig('out.svg')",
    )
    dependencies = About.read(found.code).dependencies
    assert [d.partition("==")[0] for d in dependencies] == ["matplotlib", "openpyxl", "pandas"]
    assert "numpy" not in found.code and "head" not in found.code


# --- runs ---


def record(folder: Path, code: str, *checks: str, files: Sequence[Path] = (), apply: bool = False) -> str:
    """The id of a run of the scripted model over `folder`."""
    model = ScriptedModel([f"```python\n{code}\n```"] * 6, parameters=1.5, prefill=False)
    runs = folder.parent / "runs"
    with Agent(model, runs=runs, apply=apply) as agent:
        return agent.run("What is the total?", files, folder, checks).run_id


@pytest.mark.jail
@pytest.mark.parametrize("apply", [False, True])
def test_a_run_becomes_a_script(folder: Path, apply: bool) -> None:
    (folder / "log.txt").write_text("begun\n")
    code = f"{READ}\ntotal = sum(int(r['amount']) for r in rows)\nopen('log.txt', 'a').write('more')\nprint(total)"
    run = load_run(record(folder, code, "total == 22", apply=apply), folder.parent / "runs")
    found = save_run(run, folder.parent / "out.py")
    about = About.read(found.code)
    assert about.task == "What is the total?"
    assert (about.checks[0].kind, about.checks[0].author) == ("expression", "user")
    assert outside(found.path, folder=folder) == "22\n"


@pytest.mark.jail
def test_a_file_from_elsewhere_becomes_an_argument_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(SALES)
    run = load_run(record(folder, "print(open('more.csv').read())", files=[tmp_path / "more.csv"]), tmp_path / "runs")
    (tmp_path / "more.csv").unlink()
    assert save_run(run, tmp_path / "out.py").arguments == {"more": "more.csv"}


@pytest.mark.jail
def test_a_run_that_failed_is_not_saved(folder: Path) -> None:
    run = load_run(record(folder, "print(1 / 0)"), folder.parent / "runs")
    with pytest.raises(ConfigError, match="ended as `failed`"):
        save_run(run, folder / "out.py")


@pytest.mark.jail
def test_secrets_of_the_environment_do_not_get_into_a_script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2hunter2")
    assert "hunter2" not in saved(folder, "print(1)", task="Use hunter2hunter2").code
    assert os.environ["MY_API_KEY"] in saved(folder.parent, "print('hunter2hunter2')").code  # the program's own text


# --- metadata and arguments ---


def test_metadata_are_read_as_they_were_written() -> None:
    about = About(
        ">=3.11",
        ("pandas==2.3.3", "numpy==2"),
        'What "is"\n\\ it? \u2028 \x7f # ///',
        (Check("expression", "x == 'a\nb'"), Check("answer", "something is printed", "none")),
        {"sales": "sales data.csv"},
    )
    code = with_about("print(1)\n", about)
    assert About.read(code) == about
    assert body_of(code) == "print(1)\n"
    assert all(line.startswith("#") for line in about.block().splitlines())


def test_metadata_of_others_are_read() -> None:
    lines = [
        "/// script",
        'requires-python = ">=3.11"',
        "dependencies = [",
        '  "rich",',
        "]",
        "[tool.uv]",
        "x = 1",
        "///",
    ]
    code = "".join(f"# {line}\n" for line in lines)
    assert About.read(f"#!/usr/bin/env python\n{code}import rich\n") == About(">=3.11", ("rich",))
    assert About.read("print(1)") == About()


@pytest.mark.parametrize("content", ["x =", 'dependencies = "a"\n# x = [', "dependencies = [1]", "tool = 1"])
def test_metadata_that_cannot_be_read_are_refused(content: str) -> None:
    with pytest.raises(ConfigError, match="metadata"):
        About.read(f"# /// script\n# {content}\n# ///\n")
    with pytest.raises(ConfigError, match="more than one"):
        About.read("# /// script\n# x = 1\n# ///\n\n# /// script\n# x = 1\n# ///\n")


def test_files_become_arguments_and_are_put_back() -> None:
    code = "def load(path='a.csv'):\n    return open(path)\n\n\n"
    code += "args = ['a.csv', 'b b.csv']\nprint('a.csv', load(), args)\n"
    changed, arguments = with_arguments(code, ["a.csv", "b b.csv", "c.csv"], "50% of it: %(prog)s", {})
    assert arguments == {"a": "a.csv", "b_b": "b b.csv"}
    assert "args = [args_2.a, args_2.b_b]" in changed and "print('a.csv'" in changed
    assert with_files(changed, {"a": "x.csv", "b_b": "y.csv"}) == code.replace("path='a.csv'", 'path="x.csv"').replace(
        "['a.csv', 'b b.csv']", '["x.csv", "y.csv"]'
    )
    known, arguments = with_arguments(code, ["b b.csv"], "", {"b b.csv": ("second", "usual.csv")})
    assert arguments == {"second": "b b.csv"} and 'default="usual.csv"' in known


def test_a_program_with_an_interface_of_its_own_keeps_it() -> None:
    code = "import sys\nprint(open(sys.argv[1] if sys.argv[1:] else 'a.csv').read())\n"
    assert with_arguments(code, ["a.csv"], "", {}) == (code, {})
    for other in ("print('a.csv' == x)\n", "x = 'data/' + 'a.csv'\n", "x = f'{y}a.csv'\n"):
        assert with_arguments(other, ["a.csv"], "", {}) == (other, {})


def test_a_command_line_names_the_files() -> None:
    few, many = {"a": "a.csv", "b": "b.csv"}, {name: f"{name}.csv" for name in ("a", "b_b", "c", "d")}
    assert given_files(few, ["x.csv"]) == {"a": "x.csv", "b": "b.csv"}
    assert given_files(few, []) == few
    assert given_files(many, ["--b-b", "x.csv", "--d=y.csv"]) == {**many, "b_b": "x.csv", "d": "y.csv"}
