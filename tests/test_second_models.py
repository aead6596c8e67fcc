"""A second model: one that writes the steps of a plan, and a bigger one that goes on when the first has given up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from agent import Agent, Budget, ConfigError, ModelRejected, ModelUnavailable, RunResult, Task
from agent.events import Advised, Drafted, Escalated, Event, Executed, Finished, Judged, ModelLoaded, Planned, Prompted
from agent.models.base import Model
from agent.models.lazy import LazyModel
from agent.models.scripted import ScriptedModel
from agent.policy import LARGE, PLAIN, SMALL, Trial, handed_over
from agent.replay import replay
from agent.steps import find_steps, wants_steps
from agent.store import load_run
from agent.task import Check, Plan

T = TypeVar("T", bound=Event)
jail = pytest.mark.jail
STEPS = "1. Read the file.\n2. Add up.\n3. Print the sum."


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def small(*codes: str, **more: Any) -> ScriptedModel:
    return ScriptedModel([fenced(c) for c in codes], name="little", parameters=1.5, **more)


def big(*replies: str, **more: Any) -> ScriptedModel:
    return ScriptedModel(replies, name="big", parameters=70, prefill=False, **more)


class Stage:
    """An agent with scripted models, and the events of its last task."""

    def __init__(self, root: Path) -> None:
        self.runs, self.folder = root / "runs", root / "data"
        self.folder.mkdir()
        self.events: list[Event] = []

    def play(
        self,
        model: Model,
        task: Task | str = "Set x",
        *checks: str,
        budget: Budget | None = None,
        on_event: Callable[[Agent, Event], None] = lambda agent, event: None,
        **second: Any,
    ) -> RunResult:
        self.events = []
        with Agent(model, runs=self.runs, budget=budget, **second) as agent:
            for event in agent.stream(task, folder=self.folder, checks=checks):
                self.events.append(event)
                on_event(agent, event)
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last.result

    def of(self, kind: type[T]) -> list[T]:
        return [e for e in self.events if isinstance(e, kind)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def script(path: Path, *replies: str, **more: Any) -> str:
    path.write_text(json.dumps({"replies": replies, **more}))
    return f"scripted:{path}"


# --- the steps in a reply ---


@pytest.mark.parametrize(
    ("reply", "steps"),
    [
        (STEPS, ("Read the file.", "Add up.", "Print the sum.")),
        ("The plan:\n\n 1) Read  it\n 2) Print it\n\nGood luck!", ("Read it", "Print it")),
        ("**1.** Read it\n**Step** of no matter\n2. Print", ("Read it", "Print")),
        ("Step 1: Read it\nStep 2: Print it", ("Read it", "Print it")),
        ("1. Read it\n   - with csv\n   - skip blanks\n2. Print", ("Read it - with csv - skip blanks", "Print")),
        ("- Read it\n* Print it", ("Read it", "Print it")),
        ("1. Read it\n```python\n2. x = 1\n```\n2. Print it", ("Read it", "Print it")),
        ("```\n1. Read it\n2. Print it\n```\n", ("Read it", "Print it")),
        ("<think>1. Hm\n</think>1. Read it", ("Read it",)),
        ("".join(f"{n}. step\n" for n in range(1, 30)), ("step",) * 8),
        ("1. " + "x" * 9000, ("x" * 300,)),
    ],
)
def test_the_steps_in_a_reply(reply: str, steps: tuple[str, ...]) -> None:
    assert find_steps(reply).steps == steps
    assert find_steps(reply).problem == ""


@pytest.mark.parametrize("reply", ["", " \n", "Just do it.", fenced("1. x"), "<think>1. never ends"])
def test_a_reply_without_steps_says_so(reply: str) -> None:
    assert find_steps(reply).steps == () and find_steps(reply).problem


def test_the_last_line_of_a_reply_that_was_cut_is_no_step() -> None:
    assert find_steps("1. Read it\n2. Pri", cut=True).steps == ("Read it",)
    assert find_steps("1. Rea", cut=True).problem


def test_who_writes_steps() -> None:
    short, long, files = Task("Set x"), Task("Set x to a value. " * 40), Plan("Files: a.csv", ())
    example = Plan("Files: a.csv", (Check("expression", "f(1) == 2", "task"),), "f")
    assert wants_steps(LARGE, long, Plan("", ()), planner=False)
    assert wants_steps(LARGE, short, files, planner=False)
    assert not wants_steps(LARGE, short, Plan("", ()), planner=False)
    assert not wants_steps(LARGE, long, example, planner=False)
    assert not wants_steps(LARGE, Task("Mend it", program="x = 1"), files, planner=False)
    assert not wants_steps(SMALL, long, files, planner=False)
    assert wants_steps(SMALL, short, example, planner=True)
    assert not wants_steps(PLAIN, long, files, planner=True)


# --- a plan ---


@jail
def test_a_big_model_plans_where_there_are_files(stage: Stage) -> None:
    (stage.folder / "sales.csv").write_text("item,price\nlamp,1200\n")
    model = big(STEPS, fenced("print('The sum is', 1200)"))
    result = stage.play(model, "What is the sum of the prices in sales.csv?")
    assert result.ok
    (told,) = stage.of(Advised)
    assert (told.model, told.reply, told.problem) == ("big", STEPS, "")
    assert stage.of(Planned)[0].plan.steps == told.steps == find_steps(STEPS).steps
    asked, drafted = (call.messages[-1].content for call in model.calls)
    assert "sales.csv" in asked and "at most eight numbered steps" in asked
    assert f"\n\nSteps:\n{STEPS}\n\nTask: What is the sum" in drafted
    assert drafted.index("item") < drafted.index("Steps:")  # after the facts
    assert (result.drafts, result.repairs) == (1, 0)  # a plan is neither
    assert result.usage.completion_tokens == sum(e.usage.completion_tokens for e in (told, *stage.of(Drafted)))


@jail
def test_a_big_model_does_not_plan_a_small_task(stage: Stage) -> None:
    assert stage.play(big(fenced("print('It is', 42)")), "What is 6 * 7?").ok
    assert not stage.of(Advised)


@jail
def test_a_second_model_plans_for_a_small_one(stage: Stage) -> None:
    model, planner = small("x = 42"), big(STEPS)
    result = stage.play(model, "Write f(x).\n>>> f(1)\n1\n", budget=Budget(drafts=1), planner_model=planner)
    assert f"Steps:\n{STEPS}\n\nWrite f(x)" in model.calls[0].messages[-1].content
    assert [len(m.calls) for m in (planner, model)] == [1, 1]
    assert (planner.calls[0].max_tokens, planner.calls[0].stop) == (1024, ("```python",))
    first, second = stage.of(ModelLoaded)
    assert (first.model, second.model) == ("little", "big")
    assert result.usage.prompt_tokens == sum(e.usage.prompt_tokens for e in (*stage.of(Advised), *stage.of(Drafted)))


@jail
@pytest.mark.parametrize("replies", [[], ["No idea."], [""]])
def test_a_planner_that_fails_costs_a_note(stage: Stage, replies: list[str]) -> None:
    model = small("x = 42")
    result = stage.play(model, "Set x", "x == 42", planner_model=big(*replies))
    assert result.outcome == "solved"
    assert "Steps:" not in model.calls[0].messages[-1].content
    plan = stage.of(Planned)[0].plan
    assert plan.steps == () and plan.notes.startswith("no steps from big: the ")
    assert stage.of(Advised)[0].problem in plan.notes


@jail
def test_a_planner_that_cannot_be_opened_costs_a_note(stage: Stage, tmp_path: Path) -> None:
    result = stage.play(small("x = 42"), "Set x", "x == 42", planner_model=f"scripted:{tmp_path / 'none.json'}")
    assert result.outcome == "solved"
    assert "no steps from scripted:" in stage.of(Planned)[0].plan.notes


@jail
def test_a_slow_planner_leaves_time_for_the_program(stage: Stage) -> None:
    budget = Budget(seconds=6)
    planner = big("word " * 5000, f"{STEPS}\n{'word ' * 5000}", pause=0.05)
    result = stage.play(small("x = 42"), "Set x", "x == 42", planner_model=planner, budget=budget)
    assert result.outcome == "solved"
    assert stage.of(Advised)[0].problem == "its time was over"
    result = stage.play(small("x = 42"), "Set x", "x == 42", planner_model=planner, budget=budget)
    assert result.outcome == "solved"
    assert stage.of(Advised)[0].steps == find_steps(STEPS).steps  # what was written until then


@jail
def test_cancel_stops_a_planner(stage: Stage) -> None:
    began = time.monotonic()

    def stop(agent: Agent, event: Event) -> None:
        if isinstance(event, Prompted):
            threading.Thread(target=agent.cancel).start()

    result = stage.play(small("x = 42"), planner_model=big(STEPS * 500, pause=0.1), on_event=stop)
    assert time.monotonic() - began < 10
    assert result.outcome == "interrupted"
    assert not stage.of(Drafted)


# --- a bigger model goes on ---


@jail
def test_a_bigger_model_goes_on_from_the_best_program(stage: Stage) -> None:
    first = small("x = 1\ny = 1", "x = 42\ny = 1\n", "x = 3", "x = 4", "x = 42\ny = 2")
    edit = "<<<<<<< SEARCH\ny = 1\n=======\ny = 7\n>>>>>>> REPLACE"
    bigger = big(edit)
    four = Budget(drafts=4)
    result = stage.play(first, "Set x and y", "x == 42", "y == 7", escalate_model=bigger, budget=four)
    assert result.outcome == "solved"
    assert result.program is not None and result.program.code == "x = 42\ny = 7\n"
    (call,) = bigger.calls
    assert call.messages[:2] == first.calls[0].messages  # the same prompt
    assert call.messages[2].content == fenced("x = 42\ny = 1")
    assert "y: got 1, want 7" in call.messages[3].content
    (told,) = stage.of(Escalated)
    assert told.model == "big" and "none of 4 drafts and 1 repairs passed" in told.why
    assert (result.drafts, result.repairs) == (4, 2)
    assert [e.attempt for e in stage.of(Drafted)] == [1, 2, 3, 4, 5, 6]
    assert [e.program and e.program.model for e in stage.of(Drafted)] == ["little"] * 5 + ["big"]
    assert result.program.model == "big"
    assert result.usage.completion_tokens == sum(e.usage.completion_tokens for e in stage.of(Drafted))
    assert result.usage.prompt_tokens == sum(e.usage.prompt_tokens for e in stage.of(Drafted))


@jail
def test_a_model_that_passes_is_not_followed(stage: Stage) -> None:
    bigger = big()
    assert stage.play(small("x = 1", "x = 42"), "Set x", "x == 42", escalate_model=bigger).outcome == "solved"
    assert not bigger.calls and not stage.of(Escalated)
    assert len(stage.of(ModelLoaded)) == 1


@jail
def test_without_any_program_the_bigger_model_drafts(stage: Stage) -> None:
    first = ScriptedModel(["No.", "Never."], name="little", parameters=1.5, prefill=False)
    bigger = big(fenced("x = 42"))
    budget = Budget(drafts=2)
    assert stage.play(first, "Set x", "x == 42", escalate_model=bigger, budget=budget).outcome == "solved"
    assert bigger.calls[0].temperature == 0
    assert len(bigger.calls[0].messages) == 2


@jail
def test_a_bigger_model_has_a_budget_of_its_own_and_may_fail_too(stage: Stage) -> None:
    bigger = big(*(fenced(f"x = {n}") for n in (11, 12, 13, 14, 15)))
    result = stage.play(small("x = 1", "x = 2"), "Set x", "x == 42", escalate_model=bigger, budget=Budget(drafts=2))
    assert result.outcome == "failed"
    assert [e.kind for e in stage.of(Prompted)] == ["draft"] * 2 + ["repair"] * 2 + ["draft"] * 2
    assert (result.drafts, result.repairs) == (4, 2)
    assert result.reason.startswith("big gave up, too: none of 2 drafts and 2 repairs passed; of the best one, x: got ")
    assert result.program is not None and result.program.code == "x = 1\n"  # never lost


@jail
def test_a_bigger_model_of_no_help_leaves_the_first_result(stage: Stage) -> None:
    result = stage.play(small("x = 1"), "Set x", "x == 42", escalate_model=big(), budget=Budget(drafts=1))
    assert result.outcome == "failed"
    assert result.program is not None and result.program.model == "little"
    assert "none of 1 drafts and 0 repairs passed" in result.reason
    assert "; big was of no help: the script has 0 replies" in result.reason


@jail
def test_no_time_is_left_for_a_bigger_model(stage: Stage) -> None:
    slow = small("while True: pass", "while 1: pass")
    bigger = big(fenced("x = 42"))
    budget = Budget(seconds=1.5)
    result = stage.play(slow, "Set x", "x == 42", escalate_model=bigger, budget=budget)
    assert result.outcome == "failed"
    assert not bigger.calls and not stage.of(Escalated)


@jail
def test_cancel_stops_a_bigger_model(stage: Stage) -> None:
    began = time.monotonic()

    def stop(agent: Agent, event: Event) -> None:
        if isinstance(event, Prompted) and stage.of(Escalated):
            threading.Thread(target=agent.cancel).start()

    bigger = big("x " * 5000, pause=0.1)
    one = Budget(drafts=1)
    result = stage.play(small("x = 1"), "Set x", "x == 42", escalate_model=bigger, budget=one, on_event=stop)
    assert time.monotonic() - began < 10
    assert result.outcome == "interrupted"
    assert len(bigger.calls) == 1


@jail
def test_a_task_in_a_session_goes_on_with_a_bigger_model(tmp_path: Path) -> None:
    from sandbox import open_session

    with (
        open_session() as session,
        Agent(
            small("x = y"), escalate_model=big(fenced("x = y + 40")), budget=Budget(drafts=1), runs=tmp_path
        ) as agent,
    ):
        session.execute("y = 2")
        events = list(agent.stream("Set x", checks=["x == 42"], session=session))
        assert any(isinstance(e, Escalated) for e in events)
        assert session.execute("x").value == "42"


def test_what_is_handed_over_counts_for_nothing_and_ends_with_the_best() -> None:
    trials = [Trial(1, "draft"), Trial(2, "draft"), Trial(3, "repair", base=2)]
    given = handed_over(trials, trials[1])
    assert [(t.attempt, t.kind) for t in given] == [(1, "given"), (3, "given"), (2, "given")]
    assert [t.attempt for t in handed_over(trials, None)] == [1, 2, 3]


# --- a big model edits ---


@jail
def test_edits_that_fit_nowhere_are_told_once(stage: Stage) -> None:
    wrong = "<<<<<<< SEARCH\nx = 2\n=======\nx = 42\n>>>>>>> REPLACE"
    right = wrong.replace("x = 2", "x = 1")
    model = big(fenced("x = 1"), wrong, right)
    result = stage.play(model, "Set x", "x == 42")
    assert result.outcome == "solved"
    assert (result.drafts, result.repairs) == (1, 2)
    problem = stage.of(Drafted)[1].problem
    assert problem.startswith("the edits could not be made: the block has a SEARCH line that is not in the program")
    told = [call.messages[-1].content for call in model.calls]
    assert "<<<<<<< SEARCH" in told[1] and "x: got 1, want 42" in told[1]
    assert "x: got 1, want 42" in told[2] and problem in told[2] and "    1: x = 1" in told[2]
    assert [call.messages[2].content for call in model.calls[1:]] == [fenced("x = 1")] * 2
    assert [e.decision for e in stage.of(Judged)] == ["repair", "stop"]


@jail
def test_edits_that_fit_nowhere_twice_are_followed_by_a_draft(stage: Stage) -> None:
    wrong = "<<<<<<< SEARCH\nx = {}\n=======\nx = 42\n>>>>>>> REPLACE"
    model = big(fenced("x = 1"), wrong.format(2), wrong.format(3), fenced("x = 42"))
    result = stage.play(model, "Set x", "x == 42", budget=Budget(repairs=5))
    assert (result.outcome, result.drafts, result.repairs) == ("solved", 2, 2)
    assert len(stage.of(Executed)) == 2


@jail
def test_a_reply_of_edits_is_not_begun_for_a_local_model(stage: Stage) -> None:
    edit = "<<<<<<< SEARCH\nx = 1\n=======\nx = 42\n>>>>>>> REPLACE"
    model = ScriptedModel([fenced("x = 1"), edit], parameters=14)
    assert stage.play(model, "Set x", "x == 42").outcome == "solved"
    assert [call.prefill for call in model.calls] == ["```python\n", ""]
    assert model.calls[1].stop == ()


# --- replays ---


@jail
def test_a_run_with_a_planner_and_a_bigger_model_is_replayed(stage: Stage) -> None:
    first = small("print(missing)\nx = 1", "x = 2")
    bigger = big("<<<<<<< SEARCH\nx = 2\n=======\nx = 3\n>>>>>>> REPLACE", fenced("x = 4"), fenced("x = 42"))
    budget = Budget(drafts=1, repairs=1)
    result = stage.play(first, "Set x", "x == 42", planner_model=big(STEPS), escalate_model=bigger, budget=budget)
    assert (result.outcome, result.drafts, result.repairs) == ("failed", 2, 2)
    report = replay(load_run(result.run_id, stage.runs))
    assert report.same, report.differences
    assert report.attempts == 4
    assert (report.result.drafts, report.result.repairs) == (2, 2)


@jail
def test_a_run_without_steps_is_replayed_without(stage: Stage) -> None:
    (stage.folder / "n.txt").write_text("5")
    result = stage.play(big(STEPS, fenced("print('n is', 5)")), "What is in n.txt?")
    run = load_run(result.run_id, stage.runs)
    assert replay(run).same
    lines = [line for line in (run.path / "trace.jsonl").read_text().splitlines() if '"advised"' not in line]
    (run.path / "trace.jsonl").write_text("\n".join(lines) + "\n")  # as before there were steps
    assert replay(run).same


# --- the models ---


class Closing(ScriptedModel):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_model_is_opened_when_it_is_asked_for_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Closing] = []

    def open_it(spec: str, **options: object) -> Model:
        made.append(Closing(["x"], name=spec))
        return made[-1]

    monkeypatch.setattr("agent.models.lazy.open_model", open_it)
    lazy = LazyModel("openai:gpt-5", checked=True)
    assert (lazy.name, made) == ("openai:gpt-5", [])
    assert lazy.load() is lazy.load() is made[0]
    lazy.close()
    lazy.close()
    assert made[0].closed == 1


def test_a_model_of_the_caller_s_own_is_not_closed() -> None:
    model = Closing(["x"])
    lazy = LazyModel(model)
    assert lazy.load() is model
    lazy.close()
    assert model.closed == 0


@jail
def test_the_agent_closes_the_models_that_it_opened(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Closing] = []
    replies = {"p:p": [STEPS], "b:b": [fenced("x = 42")], "m:m": [fenced("x = 1")]}

    def open_it(spec: str | Model, **options: object) -> Model:
        assert isinstance(spec, str)
        made.append(Closing(replies[spec], name=spec, parameters=1.5))
        return made[-1]

    monkeypatch.setattr("agent.models.lazy.open_model", open_it)
    with Agent("m:m", runs=stage.runs, planner_model="p:p", escalate_model="b:b", budget=Budget(1, 0)) as agent:
        assert agent.run("Set x", checks=["x == 42"]).outcome == "solved"
        assert [m.profile.name for m in made] == ["m:m", "p:p", "b:b"]
    assert [m.closed for m in made] == [1, 1, 1]


@jail
def test_two_roles_of_one_name_are_one_model(stage: Stage, tmp_path: Path) -> None:
    name = script(tmp_path / "r.json", STEPS, fenced("x = 42"), parameters=1.5)
    with Agent(name, runs=stage.runs, planner_model=name) as agent:
        assert agent.run("Set x", checks=["x == 42"]).outcome == "solved"


@pytest.mark.parametrize("role", ["planner_model", "escalate_model"])
def test_a_name_that_no_model_has_is_refused_at_once(role: str) -> None:
    with pytest.raises(ConfigError, match="no model is called 'bigg'"):
        Agent(small(), runs=False, **cast("Any", {role: "bigg"}))


def test_the_plain_policy_has_one_model() -> None:
    with pytest.raises(ConfigError, match="one draft of one model"):
        Agent(small(), runs=False, strategy="plain", planner_model=big())


@jail
def test_an_unknown_error_of_a_second_model_is_no_note(stage: Stage) -> None:
    class Broken(ScriptedModel):
        def complete(self, *args: Any, **options: Any) -> Any:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        stage.play(small("x = 1"), planner_model=Broken([]))


@jail
def test_a_prompt_that_is_too_long_for_the_first_model_is_one_for_the_bigger(stage: Stage) -> None:
    class Narrow(ScriptedModel):
        def complete(self, *args: Any, **options: Any) -> Any:
            raise ModelRejected("the prompt has 9000 tokens")

    result = stage.play(Narrow([], parameters=1.5), "Set x", "x == 42", escalate_model=big(fenced("x = 42")))
    assert result.outcome == "solved"
    assert [e.why for e in stage.of(Escalated)] == ["the prompt has 9000 tokens"]
    with pytest.raises(ModelRejected):
        stage.play(Narrow([], parameters=1.5), "Set x", "x == 42")


@jail
def test_the_first_model_s_absence_is_still_an_error(stage: Stage) -> None:
    with pytest.raises(ModelUnavailable):
        stage.play(small(), "Set x", escalate_model=big(fenced("x = 42")))
