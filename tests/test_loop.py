from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from agent import Agent, Agreement, Budget, Check, ConfigError, ModelUnavailable, RunFailed, RunResult, Task
from agent.events import (
    Drafted,
    Event,
    Executed,
    Finished,
    Judged,
    Mended,
    Planned,
    Prompted,
    Sampled,
    Started,
    Tokens,
)
from agent.models.base import Completion, ModelProfile
from agent.models.scripted import ScriptedModel
from agent.policy import LARGE, SMALL, Trial, best_of, choose_strategy, find_strategy, next_move
from agent.store import list_runs, load_run
from agent.task import Program
from sandbox import Policy

T = TypeVar("T", bound=Event)
jail = pytest.mark.jail
CRASH = "print(missing_thing)"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def small(*codes: str, lanes: int = 1, pause: float = 0.0) -> ScriptedModel:
    return ScriptedModel([fenced(c) for c in codes], parameters=1.5, lanes=lanes, pause=pause)


def large(*codes: str) -> ScriptedModel:
    return ScriptedModel([fenced(c) for c in codes], parameters=70, prefill=False)


class Stage:
    """An agent with a scripted model, and the events of its last task."""

    def __init__(self, root: Path) -> None:
        self.runs = root / "runs"
        self.folder = root / "data"
        self.folder.mkdir()
        self.events: list[Event] = []

    def play(
        self,
        model: ScriptedModel,
        task: str = "What is 6 * 7?",
        checks: Sequence[Check | str] = (),
        budget: Budget | None = None,
        policy: Policy | None = None,
        apply: bool = False,
        strategy: str | None = None,
    ) -> RunResult:
        with Agent(model, runs=self.runs, budget=budget, policy=policy, apply=apply, strategy=strategy) as agent:
            self.events = list(agent.stream(task, folder=self.folder, checks=checks))
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last.result

    def of(self, kind: type[T]) -> list[T]:
        return [e for e in self.events if isinstance(e, kind)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


# --- the walk ---


@jail
def test_a_first_draft_that_runs_is_the_answer(stage: Stage) -> None:
    result = stage.play(small("print('It is', 6 * 7)"), budget=Budget(drafts=1))
    assert (result.outcome, result.agreement) == ("unverified", None)
    assert result.answer == "It is 42"
    assert result.ok
    assert (result.drafts, result.repairs) == (1, 0)
    assert result.usage.completion_tokens > 0
    assert result.receipt.kind == "jail"
    kinds = [type(e).__name__ for e in stage.events if not isinstance(e, Tokens)]
    assert kinds == ["Started", "ModelLoaded", "Planned", "Prompted", "Drafted", "Executed", "Judged", "Finished"]
    assert [e.at for e in stage.events] == sorted(e.at for e in stage.events)
    assert "".join(e.text for e in stage.of(Tokens)) in stage.of(Drafted)[0].reply


@jail
def test_a_wrong_result_is_drawn_again_by_a_small_model(stage: Stage) -> None:
    model = small("x = 41", "x = 42", "x = 43")
    result = stage.play(model, "Set x to the answer", checks=["x == 42"])
    assert result.outcome == "solved"
    assert result.verdict is not None
    assert result.verdict.author == "user"
    assert [j.decision for j in stage.of(Judged)] == ["redraw", "stop"]
    first, second = model.calls
    assert first.messages == second.messages  # the prompt is shared, so a model need not read it again
    assert (first.temperature, second.temperature) == (0.0, 0.8)
    assert first.seed != second.seed
    assert first.prefill == "```python\n"
    assert first.stop == ("\n```",)


@jail
def test_a_mechanical_error_is_repaired_once_and_then_drawn_again(stage: Stage) -> None:
    model = small(CRASH, CRASH + "\nx = 1", "print('It is 42.')")
    result = stage.play(model, budget=Budget(drafts=2))
    assert result.answer == "It is 42."
    assert (result.drafts, result.repairs) == (2, 1)
    assert [j.decision for j in stage.of(Judged)] == ["repair", "redraw", "stop"]
    told = model.calls[1].messages[-1].content
    assert "NameError: name 'missing_thing' is not defined" in told
    assert "Line 1: print(missing_thing)" in told
    assert model.calls[1].messages[-2].content == fenced(CRASH)


@jail
def test_a_small_model_goes_on_from_the_statement_that_failed(stage: Stage) -> None:
    model = ScriptedModel([fenced(f"x = 6 * 7\n{CRASH}"), "print('It is', x)\n```"], parameters=1.5)
    result = stage.play(model, budget=Budget(drafts=1))
    assert result.answer == "It is 42"
    assert (result.drafts, result.repairs) == (1, 1)
    first, second = model.calls
    assert second.messages == first.messages  # read already
    assert second.prefill.startswith(f"```python\nx = 6 * 7\n# FAILED: {CRASH}\n# BECAUSE: NameError")
    assert result.program is not None
    assert result.program.code == "x = 6 * 7\nprint('It is', x)\n"


@jail
def test_a_draft_begins_with_the_files_read_and_the_second_without(stage: Stage) -> None:
    (stage.folder / "sales.csv").write_text('item,price\nlamp,"1,200"\nchair,30\n')
    replies = ["total = 0\n```", fenced("total = 1"), "total = sum(row['price'] for row in sales)\n```"]
    model = ScriptedModel(replies, parameters=1.5)
    result = stage.play(model, "Let total be the sum of the prices in sales.csv", checks=["total == 1230"])
    assert result.outcome == "solved"
    first, second, third = (call.prefill for call in model.calls)
    assert "csv.DictReader" in first
    assert first.endswith("# Task: Let total be the sum of the prices in sales.csv\n")
    assert second == "```python\n"
    assert third == first
    assert [call.temperature for call in model.calls] == [0, 0, 0.8]


@jail
def test_reading_that_fails_is_left_to_the_model(stage: Stage) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(60_000)) + "60000,n/k\n"  # the probe sees the head alone
    (stage.folder / "long.csv").write_text("id,price\n" + rows)
    model = small("print('There are', sum(1 for _ in open('long.csv')), 'lines')")
    assert stage.play(model, "How many lines has long.csv?").answer == "There are 60002 lines"
    assert model.calls[0].prefill == "```python\n"


@jail
def test_a_reply_is_not_waited_for_when_the_time_is_over(stage: Stage) -> None:
    model = small("x = 0\n" * 500 + "print(x)", pause=0.05)
    result = stage.play(model, budget=Budget(seconds=1.5))
    assert result.outcome == "gave_up"
    assert "the 1.5 seconds for this task are over" in result.reason
    assert result.seconds < 5
    assert stage.of(Drafted)[0].problem == "its time was over"


@jail
def test_the_same_error_is_not_repaired_twice(stage: Stage) -> None:
    model = small(CRASH, CRASH + "\nx = 1", CRASH + "\nx = 2", CRASH + "\nx = 3", CRASH + "\nx = 4")
    result = stage.play(model, budget=Budget(drafts=4))
    assert (result.drafts, result.repairs) == (4, 1)
    assert result.outcome == "failed"
    assert "NameError" in result.reason


@jail
def test_a_missing_import_costs_no_token(stage: Stage) -> None:
    result = stage.play(small("print('The root is', math.sqrt(4))"))
    assert result.answer == "The root is 2.0"
    assert result.drafts == 1
    assert result.program is not None
    assert result.program.mends == ("added import math",)
    assert len(stage.of(Mended)) == 1


@jail
def test_a_function_is_checked_by_the_task_s_examples(stage: Stage) -> None:
    task = "Write a function double(x).\n>>> double(2)\n4\n>>> double('a')\n'aa'\n"
    wrong, right = "def double(x):\n    return x + 2", "def twice(x):\n    return x * 2\n\nprint(twice(undefined))"
    result = stage.play(small(wrong, right), task)
    assert result.outcome == "solved"
    assert result.verdict is not None
    assert result.verdict.author == "task"
    details = [r.detail for r in stage.of(Judged)[0].verdict.results]
    assert details[0] == ""
    assert "double('a') == 'aa': TypeError" in details[1]
    mends = " ".join(stage.of(Mended)[-1].program.mends)
    assert "twice also as double" in mends
    assert "demonstration" in mends
    assert len(stage.of(Executed)) == 3


@jail
def test_an_attempt_starts_from_the_user_s_files_and_not_from_the_last_attempt(stage: Stage) -> None:
    (stage.folder / "a.txt").write_text("one")
    first = "open('a.txt', 'w').write('spoilt'); open('left.txt', 'w').write('x'); leak = 1; x = 0"
    second = "import os\nx = (open('a.txt').read(), os.listdir(), 'leak' in globals())\nopen('b.txt', 'w').write('new')"
    result = stage.play(small(first, second), "Fix it", checks=["x == ('one', ['a.txt'], False)"])
    assert result.outcome == "solved"
    assert result.changes is not None
    assert [c.path for c in result.changes.items] == ["b.txt"]
    assert sorted(p.name for p in stage.folder.iterdir()) == ["a.txt"]  # nothing is applied unasked
    assert (stage.folder / "a.txt").read_text() == "one"


@jail
def test_changes_are_kept_with_the_run_and_can_be_applied_later(stage: Stage) -> None:
    from sandbox import Changes

    result = stage.play(small("x = 1", "open('out.txt', 'w').write('42')"), "Save 42 to out.txt")
    run = load_run(result.run_id, stage.runs)
    Changes.load(run.path / "changes").apply()
    assert (stage.folder / "out.txt").read_text() == "42"
    assert not list(run.path.glob("collected*/*"))


@jail
def test_apply_writes_the_changes_of_a_program_that_passed_only(stage: Stage) -> None:
    stage.play(small("open('no.txt', 'w').write('x')\nx = 1"), checks=["x == 2"], budget=Budget(1, 0), apply=True)
    assert list(stage.folder.iterdir()) == []
    stage.play(small("open('yes.txt', 'w').write('x')\nprint('done')"), apply=True)
    assert [p.name for p in stage.folder.iterdir()] == ["yes.txt"]


@jail
def test_the_best_program_is_kept_when_none_passes(stage: Stage) -> None:
    checks = ["x == 1", "y == 2", "z == 3"]
    model = small("x = 1", "x, y, z = 1, 2, 0", "x = y = 1 / 0", "x = 1; y = 0")
    result = stage.play(model, "Set them", checks=checks, budget=Budget(drafts=4, repairs=0))
    assert result.outcome == "failed"
    assert not result.ok
    assert result.program is not None
    assert result.program.code == "x, y, z = 1, 2, 0\n"
    assert "1 of 3 checks fail: z: got 0, want 3" in result.reason
    assert "4 drafts" in result.reason
    with pytest.raises(RunFailed):
        result.raise_for_failure()
    assert load_run("last", stage.runs).program() == result.program.code


@jail
def test_the_best_is_shown_with_its_facts_after_three_drafts(stage: Stage) -> None:
    model = small("x = 1", "x = 2", "x = 3", "x = 42")
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert result.outcome == "solved"
    assert (result.drafts, result.repairs) == (3, 1)
    assert "x: got 1, want 42" in model.calls[3].messages[-1].content


@jail
def test_a_program_drawn_again_is_not_run_again(stage: Stage) -> None:
    model = small("x = 1", "x = 1  # the same", "x = 42")
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert result.outcome == "solved"
    assert len(stage.of(Executed)) == 2
    assert stage.of(Drafted)[1].problem == "the same program as in attempt 1"


@jail
def test_a_large_model_is_shown_its_error_first(stage: Stage) -> None:
    model = large("x = 1", "x = 2", "x = 42")
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert (result.drafts, result.repairs) == (1, 2)
    assert "x: got 1, want 42" in model.calls[1].messages[-1].content
    assert model.calls[0].prefill == ""


@jail
def test_replies_without_code_are_drawn_again_and_then_given_up(stage: Stage) -> None:
    model = ScriptedModel(["Sorry.", "I cannot.", "No."], parameters=70, prefill=False)
    result = stage.play(model, budget=Budget(drafts=3))
    assert result.outcome == "gave_up"
    assert result.program is None
    assert "no code" in result.reason
    assert [d.problem for d in stage.of(Drafted)] == ["the reply holds no code"] * 3


@jail
def test_a_program_that_does_nothing_has_failed(stage: Stage) -> None:
    result = stage.play(small("x = 6 * 7", "print('42 it is')"), "Compute the product")
    assert result.answer == "42 it is"
    assert result.drafts == 2
    assert stage.of(Judged)[0].verdict.results[0].detail == "nothing was printed and no file was changed"


@jail
def test_drafts_after_the_first_are_written_at_once_and_run_until_one_passes(stage: Stage) -> None:
    model = small("x = 1", "x = 2", "x = 1  # the same", "x = 42", "x = 43", "x = 44", lanes=4)
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert (result.outcome, result.drafts, result.repairs) == ("solved", 5, 0)
    assert [(c.n, c.temperature, c.seed) for c in model.calls] == [(1, 0.0, 1), (4, 0.8, 2)]
    assert [(p.attempt, p.n) for p in stage.of(Prompted)] == [(1, 1), (2, 4)]
    assert [(d.attempt, d.problem) for d in stage.of(Drafted)] == [
        *((1, ""), (2, ""), (3, "the same program as in attempt 1"), (4, ""), (5, "")),
    ]
    assert [e.attempt for e in stage.of(Executed)] == [1, 2, 4]
    assert [(j.attempt, j.decision) for j in stage.of(Judged)] == [(1, "redraw"), (2, "redraw"), (4, "stop")]
    assert {t.attempt for t in stage.of(Tokens)} == {1, 2}


@jail
def test_what_is_written_at_once_is_counted_once(stage: Stage) -> None:
    model = small("x = 1", "x = 2", "x = 42", lanes=2)
    used = stage.play(model, "Set x", checks=["x == 42"]).usage
    drafted = [d.usage for d in stage.of(Drafted)]
    assert used.completion_tokens == sum(u.completion_tokens for u in drafted) > 0
    assert used.prompt_tokens == drafted[0].prompt_tokens + drafted[1].prompt_tokens


@jail
def test_no_more_drafts_are_written_at_once_than_are_left(stage: Stage) -> None:
    model = small("x = 1", "x = 2", "x = 3", "x = 4", "x = 5", lanes=4)
    result = stage.play(model, "Set x", checks=["x == 42"], budget=Budget(drafts=4, repairs=1))
    assert ([c.n for c in model.calls], result.drafts, result.repairs) == ([1, 3, 1], 4, 1)
    assert "none of 4 drafts and 1 repairs passed" in result.reason


@jail
def test_the_draft_without_the_opening_is_written_alone(stage: Stage) -> None:
    (stage.folder / "sales.csv").write_text('item,price\nlamp,"1,200"\nchair,30\n')
    replies = [fenced(f"total = {n}") for n in range(3)] + ["total = sum(row['price'] for row in sales)\n```"]
    model = ScriptedModel(replies, parameters=1.5, lanes=2)
    stage.play(model, "Let total be the sum of the prices in sales.csv", checks=["total == 1230"])
    assert [(c.n, c.temperature, "DictReader" in c.prefill) for c in model.calls] == [
        *((1, 0.0, True), (1, 0.0, False), (2, 0.8, True))
    ]


@jail
def test_drafts_at_temperature_0_are_written_one_by_one(stage: Stage) -> None:
    model = small("x = 1", "x = 2", "x = 42", lanes=4)
    stage.play(model, "Set x", checks=["x == 42"], budget=Budget(temperature=0))
    assert [c.n for c in model.calls] == [1, 1, 1]


@jail
def test_a_reply_that_was_cut_while_others_were_written_is_no_program(stage: Stage) -> None:
    model = small("x = 1", "x = 42\n" * 200, "x = 42", lanes=2)
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert (result.outcome, result.program and result.program.code) == ("solved", "x = 42\n")
    assert [d.problem for d in stage.of(Drafted)] == ["", "it was cut after 512 tokens", ""]
    assert [p.kind for p in stage.of(Prompted)] == ["draft", "draft"]


@jail
def test_what_is_over_before_all_have_run_is_over(stage: Stage) -> None:
    model = small("x = 1", *(f"while {n}: pass" for n in range(1, 5)), lanes=4)
    result = stage.play(model, "Set x", checks=["x == 42"], budget=Budget(seconds=2.0))
    assert "seconds for this task are over" in result.reason
    assert result.drafts == 5 > len(stage.of(Executed))


@jail
def test_the_best_crash_among_drafts_written_at_once_is_repaired(stage: Stage) -> None:
    wrong, crash = "x = 2", "y = 1\nx = missing"
    model = ScriptedModel([fenced(c) for c in ("x = 1", crash, wrong)] + ["x = 42\n```"], parameters=1.5, lanes=2)
    result = stage.play(model, "Set x", checks=["x == 42"])
    assert (result.outcome, result.drafts, result.repairs) == ("solved", 3, 1)
    assert "# FAILED: x = missing" in model.calls[2].prefill


@jail
def test_a_reply_that_was_cut_is_continued_once(stage: Stage) -> None:
    whole = "a = 1\nb = 2\nprint('sum', a + b)"
    model = ScriptedModel([fenced(whole), "3\nprint('sum:', a+b)\n```"], parameters=1.5)
    result = stage.play(model, budget=Budget(drafts=1, max_tokens=5))  # a word is a token: ```python a = 1 b = is cut
    assert [p.kind for p in stage.of(Prompted)] == ["draft", "continue"]
    assert model.calls[1].prefill.endswith("b =")
    assert result.answer == "sum: 4"
    assert len(stage.of(Drafted)) == 1


@jail
def test_a_chat_model_continues_in_a_new_turn(stage: Stage) -> None:
    replies = ["```python\na = 1\nprint('a is', a)\n```", "```python\nprint('a is', a)\n```"]
    model = ScriptedModel(replies, parameters=70, prefill=False)
    result = stage.play(model, budget=Budget(drafts=1, max_tokens=5))
    assert model.calls[1].messages[-1].content.startswith("Your reply was cut off")
    assert result.answer == "a is 1"


@jail
def test_the_user_s_test_file_decides(stage: Stage) -> None:
    tests = Check("tests", "from solution import f\n\ndef test_f():\n    assert f(2) == 4\n")
    result = stage.play(small("def f(x): return x", "def f(x): return x * 2"), "Write f(x)", checks=[tests])
    assert result.outcome == "solved"
    assert "test_f: f(2): got 2, want 4" in stage.of(Judged)[0].verdict.results[0].detail


@jail
def test_a_hanging_program_is_stopped_and_drawn_again(stage: Stage) -> None:
    policy = Policy(wall_seconds=1.0)
    result = stage.play(small("while True: pass", "print('It is 42.')"), policy=policy)
    assert result.answer == "It is 42."
    assert [e.execution.status for e in stage.of(Executed)] == ["timeout", "ok"]


@jail
def test_the_seconds_of_the_budget_bound_programs_and_attempts(stage: Stage) -> None:
    began = time.monotonic()
    result = stage.play(small(*(f"while {n}: pass" for n in range(1, 9))), budget=Budget(drafts=8, seconds=1.5))
    assert time.monotonic() - began < 20
    assert result.outcome == "failed"
    assert result.drafts < 8
    assert "seconds for this task are over" in result.reason


# --- agreement, where nothing checks the result ---


@jail
def test_a_second_draft_that_does_the_same_ends_the_task(stage: Stage) -> None:
    model = small("print('It is', 6 * 7)", "x = 42\nprint(x)", "print('It is 43')", lanes=4)
    result = stage.play(model)
    assert (result.outcome, result.answer, result.drafts) == ("unverified", "It is 42", 3)
    assert result.agreement == Agreement(2, 2)
    assert [(c.n, c.temperature) for c in model.calls] == [(1, 0.0), (2, 0.8)]
    assert [e.attempt for e in stage.of(Executed)] == [1, 2]  # the third was written and not needed
    assert [(j.attempt, j.decision) for j in stage.of(Judged)] == [(1, "compare"), (2, "stop")]


@jail
def test_the_program_that_most_agree_on_is_taken_with_its_changes(stage: Stage) -> None:
    wrong, right = "open('n.txt', 'w').write('41')", "n = 42; open('n.txt', 'w').write(str(n)); print('done')"
    model = small(wrong, right, "print(6 / 0)", "with open('n.txt', 'w') as f:\n    f.write('42')", "")
    result = stage.play(model, "Save 6 * 7 to n.txt", apply=True)
    assert (result.outcome, result.drafts, result.repairs) == ("unverified", 4, 0)
    assert result.agreement == Agreement(2, 3, changed=True)
    assert result.program is not None and result.program.code.startswith("n = 42")
    assert (stage.folder / "n.txt").read_text() == "42"


@jail
def test_when_none_agree_the_first_that_ran_is_taken(stage: Stage) -> None:
    model = small(CRASH, *(f"print('It is', {n})" for n in range(9)), lanes=2)
    result = stage.play(model, budget=Budget(drafts=4, repairs=0))
    assert (result.answer, result.drafts, result.agreement) == ("It is 0", 4, Agreement(1, 3))
    assert [c.n for c in model.calls] == [1, 2, 1]


@jail
def test_what_something_checks_is_not_compared(stage: Stage) -> None:
    model = small("x = 42; print('It is', x)", "print(42)")
    assert stage.play(model, checks=["x == 42"]).agreement is None
    task = "Write a function double(x).\n>>> double(2)\n4\n"
    assert stage.play(small("def double(x): return x * 2"), task).drafts == 1
    assert len(model.calls) == 1


@jail
def test_a_model_that_repeats_itself_is_not_asked_again(stage: Stage) -> None:
    model = small("print('It is', 42)", "print('It is', 42)", "print('It is',  42)", "print(42)", lanes=2)
    result = stage.play(model)
    assert (result.answer, result.drafts, result.agreement) == ("It is 42", 3, None)


@jail
def test_a_model_that_fails_does_not_lose_the_program_that_ran(stage: Stage) -> None:
    result = stage.play(small("print('It is', 6 * 7)"))
    assert (result.outcome, result.answer, result.agreement) == ("unverified", "It is 42", None)


@jail
def test_a_big_model_s_program_is_taken_at_once(stage: Stage) -> None:
    model = large("print('It is', 6 * 7)", "print(42)")
    assert (stage.play(model).drafts, len(model.calls)) == (1, 1)


@jail
def test_a_function_without_examples_is_compared_by_calls_that_the_model_writes(stage: Stage) -> None:
    wrong, right = "def area(a, b):\n    return a + b", "def area(a, b):\n    return a * b"
    other = "def area(a, b):\n    open('left.txt', 'w').close()\n    return b * a"
    calls = "2, 2)\narea(3, 4)\narea(x, 1)\narea('a', 2) == 'aa'\n```"
    model = ScriptedModel([fenced(wrong), calls, *map(fenced, (right, other))], parameters=1.5, lanes=2)
    result = stage.play(model, "Write a function area(a, b).")
    assert (result.outcome, result.drafts, result.agreement) == ("unverified", 3, Agreement(2, 3, changed=True))
    assert result.program is not None and result.program.code == right + "\n"
    assert not result.changes  # what the calls did is no part of the task
    (sampled,) = stage.of(Sampled)
    assert sampled.calls == ("area(2, 2)", "area(3, 4)", "area('a', 2)")
    asked = model.calls[1]
    assert (asked.prefill, asked.temperature) == ("```python\narea(", 0.0)
    assert asked.messages[:2] == model.calls[0].messages
    assert asked.messages[2].content == fenced(wrong)
    assert result.usage.completion_tokens == sum(e.usage.completion_tokens for e in [*stage.of(Drafted), sampled])


@jail
def test_a_function_is_taken_at_once_when_the_model_writes_no_call(stage: Stage) -> None:
    model = small("def area(a, b):\n    return a * b", "area(x, y)", "def area(a, b):\n    return b * a")
    result = stage.play(model, "Write a function area(a, b).")
    assert (result.drafts, result.agreement, len(model.calls)) == (1, None, 2)


@jail
def test_no_calls_are_written_where_there_is_one_draft(stage: Stage) -> None:
    model = small("def area(a, b):\n    return a * b", "area(1, 2)")
    stage.play(model, "Write a function area(a, b).", budget=Budget(drafts=1))
    assert len(model.calls) == 1


# --- being stopped ---


def cancel_when(agent: Agent, events: list[Event], seen: Callable[[Event], bool], task: str = "What is 6 * 7?") -> None:
    for event in agent.stream(task):
        events.append(event)
        if seen(event):
            threading.Thread(target=agent.cancel).start()


@jail
def test_cancel_stops_a_model_that_writes(stage: Stage) -> None:
    agent = Agent(small("print(1)\n" * 200, pause=0.1), runs=stage.runs)
    began = time.monotonic()
    cancel_when(agent, stage.events, lambda e: isinstance(e, Tokens))
    assert time.monotonic() - began < 10
    result = stage.of(Finished)[0].result
    assert result.outcome == "interrupted"
    assert load_run("last", stage.runs).status == "interrupted"


@jail
def test_cancel_stops_a_program_that_runs(stage: Stage) -> None:
    agent = Agent(small("import time\ntime.sleep(60)"), runs=stage.runs)
    began = time.monotonic()
    cancel_when(agent, stage.events, lambda e: isinstance(e, Drafted))
    assert time.monotonic() - began < 10
    assert stage.of(Finished)[0].result.outcome == "interrupted"


@jail
def test_an_agent_can_be_used_again_after_cancel(stage: Stage) -> None:
    agent = Agent(small("import time\ntime.sleep(60)", "print('It is 42.')"), runs=stage.runs)
    cancel_when(agent, stage.events, lambda e: isinstance(e, Drafted))
    assert agent.run("What is 6 * 7?").answer == "It is 42."


@jail
def test_a_closed_stream_ends_its_task(stage: Stage) -> None:
    agent = Agent(small("print(1)\n" * 200, pause=0.1), runs=stage.runs)
    events = agent.stream("What is 6 * 7?")
    next(e for e in events if isinstance(e, Tokens))
    before = threading.active_count()
    events.close()
    assert threading.active_count() < before
    assert load_run("last", stage.runs).status == "interrupted"


@jail
def test_ctrl_c_reaches_the_caller_after_the_trace_has_its_last_line(stage: Stage) -> None:
    import _thread

    agent = Agent(small("import time\ntime.sleep(60)"), runs=stage.runs)
    timer = threading.Timer(1.5, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        agent.run("What is 6 * 7?")
    timer.join()
    last = load_run("last", stage.runs).events()[-1]
    assert last["event"] == "finished"
    assert last["result"]["outcome"] == "interrupted"


class Missing:
    """A model that cannot be reached."""

    profile = ModelProfile("missing", 1.5)

    def complete(self, *args: object, **options: object) -> list[Completion]:
        raise ModelUnavailable("nobody there", hint="wait")

    def count_tokens(self, messages: object) -> int:
        return 1

    def cancel(self) -> None: ...

    def close(self) -> None: ...


@jail
def test_an_error_of_the_model_is_raised_and_kept(stage: Stage) -> None:
    with pytest.raises(ModelUnavailable, match="nobody there"):
        Agent(Missing(), runs=stage.runs).run("What is 6 * 7?")
    run = load_run("last", stage.runs)
    assert run.status == "gave_up"
    assert "nobody there" in run.reason


# --- tasks that cannot be taken ---


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("a\0b", "NUL"),
        ("x" * 70_000, "65536"),
        ("\ud800", "Unicode"),
        (Task("x", Path("/nowhere/at/all")), "not there"),
        (Task("x", files=(Path("nope.csv"),)), "no file nope.csv"),
        (Task("x", checks=(Check("expression", "x ="),)), "not a Python expression"),
        (Task("x", checks=(Check("tests", "def"),)), "not Python"),
    ],
)
def test_a_task_that_cannot_be_taken_is_refused_at_once(tmp_path: Path, task: Task | str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Agent(small(), runs=tmp_path).stream(task)
    assert list_runs(tmp_path) == []


def test_a_missing_file_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError) as caught:
        Agent(small(), runs=False).stream("Sum", ["sale.csv"], folder=tmp_path)
    assert "sales.csv" in caught.value.hint


@jail
def test_files_from_elsewhere_are_shown_by_name_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "n.txt").write_text("5")
    agent = Agent(small("print('n is', open('n.txt').read())"), runs=tmp_path / "runs")
    result = agent.run("What is n?", [tmp_path / "b" / "n.txt"], folder=tmp_path / "a")
    assert result.answer == "n is 5"
    assert (load_run("last", tmp_path / "runs").path / "inputs" / "n.txt").read_text() == "5"


@jail
def test_a_home_directory_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "private.txt").write_text("x")
    (home / "named.txt").write_text("y")
    monkeypatch.setenv("HOME", str(home))
    agent = Agent(small("import os\nprint('files:', os.listdir())"), runs=tmp_path / "runs")
    events = list(agent.stream("Which files?", [home / "named.txt"], folder=home))
    plan = next(e for e in events if isinstance(e, Planned)).plan
    assert "not shown" in plan.notes
    assert events[-1].result.answer == "files: ['named.txt']"  # type: ignore[attr-defined]


@jail
def test_without_a_folder_there_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").write_text("x")
    agent = Agent(small("import os\nprint('files:', os.listdir())"), runs=tmp_path / "runs")
    assert agent.run("Which files?").answer == "files: []"


@jail
def test_runs_need_not_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDSMITH_DATA_DIR", str(tmp_path / "data"))
    with Agent(small("print('It is 42.')"), runs=False) as agent:
        assert agent.run("What is 6 * 7?").ok
    assert not (tmp_path / "data").exists()
    assert Agent(small("print('It is 42.')")).run("What is 6 * 7?").ok
    assert len(list_runs()) == 1


@jail
def test_the_run_begins_with_what_was_asked(stage: Stage) -> None:
    stage.play(small("print('It is 42.')"))
    started = stage.of(Started)[0]
    assert (started.task, started.model, started.sandbox) == ("What is 6 * 7?", "scripted", "jail")


# --- strategies ---


def test_the_strategy_follows_the_size() -> None:
    assert choose_strategy(ModelProfile("a", 1.5)) is SMALL
    assert choose_strategy(ModelProfile("a", 14)) is LARGE
    assert choose_strategy(ModelProfile("hosted")) is LARGE
    assert choose_strategy(ModelProfile("local", prefill=True)) is SMALL


def test_between_equals_the_earlier_and_shorter_program_is_best() -> None:
    from sandbox import Execution

    ran = Execution("ok", stdout="x")
    long, short = Trial(1, "draft", Program("x = 1 + 1"), "", ran), Trial(2, "draft", Program("x = 2"), "", ran)
    assert best_of([long, short]) is short
    assert best_of([Trial(3, "draft", problem="no code")]) is None


def test_a_spent_budget_ends_the_task() -> None:
    assert next_move(SMALL, [], Budget(drafts=1), 0.0).kind == "draft"
    assert next_move(SMALL, [Trial(1, "draft", problem="no code")], Budget(drafts=1), 0.0).kind == "stop"
    assert next_move(LARGE, [], Budget(seconds=5), 6.0).kind == "stop"


def test_a_policy_can_do_without_one_of_its_techniques() -> None:
    assert find_strategy("small") is SMALL
    found = find_strategy("small-mends-agreement")
    assert found == replace(SMALL, name="small-mends-agreement", mends=False, agreement=0)
    assert find_strategy("large-edits") == replace(LARGE, name="large-edits", edits=False)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("clever", "no policy 'clever'", "small, large, plain"),
        ("", "no policy ''", "small, large, plain"),
        (
            "small-magic",
            "'small' has no 'magic'",
            "it has: facts, hints, openings, mends, rewinds, agreement",
        ),
        ("small-mends-mends", "has no 'mends'", "it has: facts"),
        ("large-hints", "'large' has no 'hints'", "it has: facts, mends, plans, edits"),
        ("plain-facts", "'plain' has no 'facts'", "nothing"),
    ],
)
def test_what_a_policy_does_not_have_cannot_be_left_out(name: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        find_strategy(name)
    assert hint in error.value.hint


@jail
def test_a_policy_without_mends_runs_what_was_written(stage: Stage) -> None:
    unimported = "print(math.pi)"
    assert stage.play(small(unimported), budget=Budget(drafts=1, repairs=0)).ok
    result = stage.play(small(unimported), budget=Budget(drafts=1, repairs=0), strategy="small-mends")
    assert not result.ok and not stage.of(Mended)
