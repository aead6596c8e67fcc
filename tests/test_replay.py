from __future__ import annotations

from pathlib import Path

import pytest

from agent import Agent, Budget, ConfigError
from agent.models.scripted import ScriptedModel
from agent.replay import replay
from agent.store import create_run, load_run
from agent.task import Task

pytestmark = pytest.mark.jail


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def record(root: Path, *codes: str, apply: bool = False, checks: tuple[str, ...] = (), lanes: int = 1) -> Path:
    """A run in `root / runs` over `root / data`; returns that folder."""
    folder = root / "data"
    folder.mkdir()
    (folder / "n.txt").write_text("5")
    model = ScriptedModel([fenced(c) for c in codes], parameters=1.5, lanes=lanes)
    Agent(model, runs=root / "runs", apply=apply).run("What is in n.txt?", folder=folder, checks=checks)
    return folder


def test_a_replay_gives_what_was_recorded(tmp_path: Path) -> None:
    codes = ("print(missing)", "print('no', 1 / 0)", "print('n is', open('n.txt').read())\nx = 5")
    record(tmp_path, *codes, checks=("x == 5",))
    run = load_run("last", tmp_path / "runs")
    report = replay(run)
    assert report.same, report.differences
    assert report.attempts == 3
    assert report.result.answer == "n is 5"
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [run.id]  # it leaves no run of its own


def test_drafts_that_were_written_at_once_are_replayed_so(tmp_path: Path) -> None:
    codes = [f"x = {n}; print('n is', x)" for n in range(2, 8)]  # the second one is written alone, without the opening
    record(tmp_path, *codes, checks=("x == 5",), lanes=4)
    report = replay(load_run("last", tmp_path / "runs"))
    assert report.same, report.differences
    assert (report.attempts, report.result.drafts, report.result.outcome) == (6, 6, "solved")


def test_a_comparison_is_replayed(tmp_path: Path) -> None:
    replies = [fenced("def area(a, b): return a + b"), "2, 2)\narea(3, 4)\n```"]
    replies += map(fenced, ("def area(a, b): return a * b", "def area(x, y):\n    return x * y"))
    model = ScriptedModel(replies, parameters=1.5, lanes=2)
    result = Agent(model, runs=tmp_path / "runs").run("Write a function area(a, b).")
    report = replay(load_run("last", tmp_path / "runs"))
    assert report.same, report.differences
    assert (report.attempts, report.result.agreement) == (3, result.agreement)
    assert result.agreement is not None and result.agreement.changed
    assert report.result.program == result.program


def test_a_replay_has_the_policy_that_was_chosen_by_hand(tmp_path: Path) -> None:
    Agent(ScriptedModel([fenced("print(sqrt(4))")], parameters=1.5), runs=tmp_path, strategy="plain").run("Root of 4?")
    run = load_run("last", tmp_path)
    assert (run.strategy, run.status) == ("plain", "failed")  # what `small` would have mended
    assert replay(run).same


def test_a_replay_over_other_files_says_what_is_different(tmp_path: Path) -> None:
    folder = record(tmp_path, "n = int(open('n.txt').read())\nprint('n is', n)", checks=("n == 5",))
    (folder / "n.txt").write_text("6")
    report = replay(load_run("last", tmp_path / "runs"))
    found = {(d.attempt, d.what): (d.recorded, d.replayed) for d in report.differences}
    assert found[1, "check n == 5"] == ("True", "False")
    assert found[0, "outcome"] == ("solved", "failed")
    assert found[1, "printed"] == ("n is 5\n", "n is 6\n")


def test_a_replay_of_applied_changes_says_so(tmp_path: Path) -> None:
    record(tmp_path, "open('n.txt', 'a').write('1')\nprint('n is', open('n.txt').read())", apply=True)
    report = replay(load_run("last", tmp_path / "runs"))
    assert not report.same
    assert "applied" in report.notes[0]


def test_files_from_elsewhere_that_are_gone_come_from_the_run(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "n.txt").write_text("5")
    model = ScriptedModel([fenced("print('n is', open('n.txt').read())")], parameters=1.5)
    Agent(model, runs=tmp_path / "runs").run("What is n?", [tmp_path / "n.txt"], folder=tmp_path / "work")
    (tmp_path / "n.txt").unlink()
    assert replay(load_run("last", tmp_path / "runs")).same


def test_the_budget_is_as_large_as_what_was_recorded(tmp_path: Path) -> None:
    model = ScriptedModel([fenced(f"x = {n}") for n in range(6)], parameters=1.5)
    Agent(model, runs=tmp_path / "runs", budget=Budget(drafts=5)).run("Set x", checks=["x == 9"])
    report = replay(load_run("last", tmp_path / "runs"))
    assert report.attempts == 6
    assert report.same, report.differences


def test_a_run_without_a_reply_cannot_be_replayed(tmp_path: Path) -> None:
    create_run(tmp_path).save_task(Task("Add up."))
    with pytest.raises(ConfigError, match="recorded no reply"):
        replay(load_run("last", tmp_path))
