"""A task that goes on in a live session: tried in branches, adopted as one step, or nothing happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import Agent, Budget, ConfigError, ModelUnavailable, RunResult
from agent.events import Drafted, Event, Executed, Finished, Judged, Planned, Tokens
from agent.live import Live, describe_session
from agent.models.scripted import ScriptedModel
from agent.replay import replay
from agent.store import load_run
from sandbox import Branch, Name, Policy, Session, open_session
from sandbox.jail.session import JailSession

pytestmark = pytest.mark.jail


in_branches = pytest.mark.parametrize("stage", ["branches"], indirect=True)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def refuse(session: JailSession, n: int = 1) -> list[Branch]:
    raise ConfigError("no branch can grow")


class Stage:
    """A live session, and an agent that solves tasks in it."""

    def __init__(self, root: Path, session: Session) -> None:
        self.runs = root / "runs"
        self.session = session
        self.events: list[Event] = []
        self.model = ScriptedModel([])

    def play(
        self, task: str, *codes: str, checks: tuple[str, ...] = (), recap: str = "", small: bool = True, drafts: int = 0
    ) -> RunResult:
        self.model = ScriptedModel([fenced(c) for c in codes], parameters=1.5 if small else 70, prefill=small)
        budget = Budget(drafts=drafts or len(codes), repairs=0)
        with Agent(self.model, runs=self.runs, budget=budget) as agent:
            self.events = list(agent.stream(task, checks=checks, session=self.session, recap=recap))
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last.result

    @property
    def told(self) -> str:
        return self.model.calls[0].messages[-1].content

    def value(self, code: str) -> str | None:
        return self.session.execute(code).value


@pytest.fixture(params=["branches", "in place"])
def stage(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """With branches, and as where none can grow."""
    if request.param == "in place":
        monkeypatch.setattr(JailSession, "branch", refuse)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "sales.csv").write_text("region,units\nNorth,3\nSouth,5\n")
    with open_session("jail", workspace=folder) as session:
        session.execute("rows = [{'region': 'North', 'units': 3}, {'region': 'South', 'units': 5}]")
        yield Stage(tmp_path, session)


def test_the_first_program_that_passes_is_adopted_as_one_step(stage: Stage) -> None:
    wrong = "total = 1; open('wrong.txt', 'w').write('x')"
    right = "total = sum(row['units'] for row in rows); open('total.txt', 'w').write(str(total))"
    steps = stage.session.steps
    result = stage.play("Sum up the units", wrong, right, "total = 2", checks=("total == 8",))
    assert result.outcome == "solved"
    assert stage.session.steps == steps + 1
    assert [c.path for c in stage.session.changes()] == ["total.txt"]
    assert stage.value("total") == "8"
    stage.session.undo(2)
    assert not stage.session.changes()
    assert [name.name for name in stage.session.names()] == ["rows"]


def test_when_none_passes_nothing_has_happened(stage: Stage) -> None:
    before, steps = stage.session.names(), stage.session.steps
    result = stage.play("Sum up the units", "rows.clear()", "del rows; 1 / 0", "rows = 1", checks=("total == 8",))
    assert result.outcome == "failed"
    assert (stage.session.names(), stage.session.steps) == (before, steps)
    assert not stage.session.changes()


def test_a_program_sees_what_is_there_and_what_checks_do_is_gone(stage: Stage) -> None:
    result = stage.play("Add one to the first", "rows[0]['units'] += 1", checks=("rows.append(1) or len(rows) == 3",))
    assert result.outcome == "solved"
    assert stage.value("len(rows), rows[0]['units']") == "(2, 4)"


def test_the_model_is_told_what_exists_and_what_was_done(stage: Stage) -> None:
    stage.session.execute("import math; limit = 3")
    stage.play("How many rows are there?", "print(len(rows))", recap="Done before: much.")
    assert "- rows: list, [{'region': 'North', 'units': 3}," in stage.told
    assert stage.told.index("- rows") < stage.told.index("- limit: int, 3") < stage.told.index("- math: module")
    assert "Done before: much." in stage.told
    planned = next(e for e in stage.events if isinstance(e, Planned))
    assert "- rows: list" in planned.plan.session


def test_a_small_model_is_begun_with_the_names_and_not_told_of_files_beside(stage: Stage) -> None:
    stage.play("How many units has each region?", "print(1)")
    assert stage.model.calls[0].prefill.startswith("```python\n# There is already rows: list, [{'region'")
    assert "sales.csv" not in stage.told
    stage.play("How many rows has sales.csv, and how many are in rows?", "print(1)")
    assert "sales.csv: CSV" in stage.told


def test_an_opening_takes_no_name_of_the_session(stage: Stage) -> None:
    stage.play("What is the sum of the prices in sales.csv?", "print(1)")
    assert "sales = list(csv.DictReader(file))" in stage.model.calls[0].prefill
    stage.session.execute("sales = 'mine'")
    stage.play("What is the sum of the prices in sales.csv?", "print(1)")
    assert "DictReader" not in stage.model.calls[0].prefill
    assert stage.value("sales") == "'mine'"


def test_imports_are_added_only_for_names_that_are_not_there(stage: Stage) -> None:
    stage.session.execute("mean = 41")
    assert stage.play("Print it", "print(mean + 1, round(sqrt(4)))").answer == "42 2"
    assert stage.value("mean") == "41"


def test_a_name_that_changes_is_an_effect(stage: Stage) -> None:
    result = stage.play("add 10 to the units in rows", "for row in rows: row['units'] += 10")
    assert result.ok
    assert stage.value("rows[0]['units']") == "13"
    assert not stage.play("do something", "pass").ok


def test_a_program_that_does_not_end_costs_nothing_but_its_draft(stage: Stage) -> None:
    stage.model = ScriptedModel([fenced("while True: pass"), fenced("print(len(rows))")], parameters=1.5)
    with Agent(stage.model, runs=stage.runs, policy=Policy(wall_seconds=1)) as agent:
        [*_, last] = agent.stream("How many?", session=stage.session)
    assert isinstance(last, Finished)
    assert last.result.answer == "2"


@in_branches
def test_the_next_draft_is_written_while_a_long_program_runs_and_left_when_that_passes(stage: Stage) -> None:
    slow = "import time; time.sleep(3); total = 8; print(total)"
    endless = "print(" + " + ".join(["1"] * 400) + ")"
    stage.model = ScriptedModel([fenced(slow), fenced(endless)], parameters=1.5, pause=0.05)
    with Agent(stage.model, runs=stage.runs) as agent:
        stage.events = list(agent.stream("Print the total", session=stage.session))
    last = stage.events[-1]
    assert isinstance(last, Finished)
    assert (last.result.answer, last.result.drafts) == ("8", 1)
    assert stage.value("total") == "8"
    kinds = [(type(e).__name__, getattr(e, "attempt", 0)) for e in stage.events]
    assert kinds.index(("Prompted", 2)) < kinds.index(("Executed", 1)) < kinds.index(("Drafted", 2))
    assert [e.problem for e in stage.events if isinstance(e, Drafted)] == ["", "it is not needed any more"]


@in_branches
def test_the_draft_written_meanwhile_runs_beside_and_ends_the_other_when_it_passes(stage: Stage) -> None:
    slow = "import time; open('left', 'w').close(); time.sleep(25); total = 7"
    result = stage.play("Set total", slow, "total = 8", "total = 9", checks=("total == 8",))
    assert (result.outcome, result.drafts) == ("solved", 2) and result.seconds < 20
    assert stage.value("import os; total, os.path.exists('left')") == "(8, False)"
    assert [e.attempt for e in stage.events if isinstance(e, Executed)] == [2]
    assert [e.attempt for e in stage.events if isinstance(e, Judged)] == [2]


@in_branches
def test_a_third_draft_takes_the_place_of_the_one_that_ended(stage: Stage) -> None:
    slow = "import time; time.sleep({}); total = 7"
    codes = (slow.format(4), "undefined", slow.format(3), "total = 8")
    result = stage.play("Set total", *codes, checks=("total == 8",), drafts=4)
    assert (result.outcome, result.drafts) == ("solved", 4) and stage.value("total") == "8"
    kinds = [(type(e).__name__, getattr(e, "attempt", 0)) for e in stage.events]
    assert kinds.index(("Drafted", 2)) < kinds.index(("Executed", 2)) < kinds.index(("Executed", 1))


def test_drafts_written_at_once_are_tried_in_the_session_until_one_passes(stage: Stage) -> None:
    codes = ("total = 1", "total = 2", "missing", "total = 8", "total = 9")
    stage.model = ScriptedModel([fenced(c) for c in codes], parameters=1.5, prefill=False, lanes=4)
    with Agent(stage.model, runs=stage.runs) as agent:
        stage.events = list(agent.stream("Set total", checks=["total == 8"], session=stage.session))
    last = stage.events[-1]
    assert isinstance(last, Finished)
    assert (last.result.outcome, last.result.drafts, stage.value("total")) == ("solved", 5, "8")
    assert [call.n for call in stage.model.calls] == [1, 4]
    assert [e.attempt for e in stage.events if isinstance(e, Executed)] == [1, 2, 3, 4]


@in_branches
def test_those_written_at_once_run_beside_one_that_takes_long(stage: Stage) -> None:
    slow = "import time; time.sleep(25); total = 7"
    codes = ("total = 1", slow, "total = 8", "total = 9")
    stage.model = ScriptedModel([fenced(c) for c in codes], parameters=1.5, prefill=False, lanes=4)
    with Agent(stage.model, runs=stage.runs, budget=Budget(drafts=4)) as agent:
        stage.events = list(agent.stream("Set total", checks=["total == 8"], session=stage.session))
    last = stage.events[-1]
    assert isinstance(last, Finished)
    assert (last.result.outcome, last.result.drafts, stage.value("total")) == ("solved", 4, "8")
    assert last.result.seconds < 20
    assert [e.attempt for e in stage.events if isinstance(e, Executed)] == [1, 3]


@pytest.mark.parametrize("stage", ["in place"], indirect=True)
def test_where_no_branch_grows_a_draft_waits_for_the_one_that_runs(stage: Stage) -> None:
    slow = "import time; time.sleep(3); total = 7"
    result = stage.play("Set total", slow, "total = 8", checks=("total == 8",))
    assert (result.outcome, result.drafts) == ("solved", 2) and stage.value("total") == "8"
    kinds = [(type(e).__name__, getattr(e, "attempt", 0)) for e in stage.events]
    assert kinds.index(("Drafted", 2)) < kinds.index(("Executed", 1)) < kinds.index(("Executed", 2))


@in_branches
def test_a_model_that_fails_meanwhile_does_not_spoil_what_runs(stage: Stage) -> None:
    with pytest.raises(ModelUnavailable):
        stage.play("Set total", "import time; time.sleep(3); total = 7", checks=("total == 8",), drafts=2)
    result = stage.play("Print it", "import time; time.sleep(3); print(9)", drafts=2)
    assert result.answer == "9"


@in_branches
def test_a_stop_ends_the_program_and_the_draft_that_is_written_meanwhile(stage: Stage) -> None:
    slow = "total = 7; import time; time.sleep(25)"
    stage.model = ScriptedModel([fenced(slow), fenced(" + ".join(["1"] * 2000))], parameters=1.5, pause=0.05)
    before = stage.session.names()
    with Agent(stage.model, runs=stage.runs) as agent:
        for event in agent.stream("Print the total", session=stage.session):
            stage.events.append(event)
            if isinstance(event, Tokens) and event.attempt == 2:
                agent.cancel()
    last = stage.events[-1]
    assert isinstance(last, Finished)
    assert last.result.outcome == "interrupted"
    assert last.result.seconds < 20
    assert stage.session.names() == before


def test_a_task_in_a_session_takes_no_folder_and_is_no_replay(stage: Stage, tmp_path: Path) -> None:
    with Agent(ScriptedModel([]), runs=stage.runs) as agent, pytest.raises(ConfigError, match="folder of that session"):
        agent.stream("x", folder=tmp_path, session=stage.session)
    result = stage.play("How many?", "print(len(rows))")
    run = load_run(result.run_id, stage.runs)
    assert run.live
    assert [e["event"] for e in run.events()][-1] == "finished"
    with pytest.raises(ConfigError, match="session of a conversation"):
        replay(run)


def test_names_are_told_within_a_budget(stage: Stage) -> None:
    many = tuple(Name(f"name_{n}", "str", "x" * 80) for n in range(100))
    live = Live(stage.session, many, ())
    text = describe_session(live, "about name_3", 200)
    assert text.index("name_3") < text.index("name_99")
    assert "and 9" in text
    assert len(text) < 1200
    assert describe_session(Live(stage.session, (), ()), "x", 200) == ""
