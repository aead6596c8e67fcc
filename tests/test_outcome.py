"""What programs did, compared: answers, files, results of calls."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent import Budget
from agent.outcome import Behaviour, behaviour_of, behaviour_on, find_calls, groups
from agent.outcome_probe import LONGEST, outcome
from agent.policy import LARGE, PLAIN, SMALL, Trial, agreeing, is_agreed, next_move, wants_agreement
from agent.task import Check, CheckResult, Program, Verdict
from sandbox import Change, Execution, Policy, Request, Sandbox, open_sandbox

ANSWER = CheckResult(Check("answer", "something is printed", "task"), True)
EXAMPLE = CheckResult(Check("expression", "f(1) == 2", "task"), True)


# --- answers and files ---


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The total is 12.", "The  total is\n12.", True),
        ("The total is 12.", "12 units in all", True),
        ("1,234.50 in all", "Total: 1234.5", True),
        ("0.333333333", "1/3 is 0.3333333333", False),
        ("about 0.3333333333", "it is 0.333333333", True),
        ("33.33", "33.3333", False),
        ("12 and 7", "7 and 12", False),
        ("Q1: 12", "first quarter: 12", True),
        ("-3", "3", False),
        ("1e3", "1000", True),
        ("West", "East", False),
        ("West", "west", False),
        ("", "12", False),
        ("9" * 400, "8" * 400, False),
        ("9" * 400, "9" * 400 + " in all", True),
        ("there are 3kg", "3 kg", True),
    ],
)
def test_answers_are_the_same_when_their_numbers_are(one: str, other: str, same: bool) -> None:
    assert Behaviour(one).is_like(Behaviour(other)) is same
    assert Behaviour(other).is_like(Behaviour(one)) is same


def made(path: str, sha256: str = "", kind: str = "created") -> Change:
    return Change(path, kind, sha256=sha256)  # type: ignore[arg-type]


def did(printed: str, *changes: Change, asks: bool = False) -> Behaviour:
    found = behaviour_of(Execution("ok", stdout=printed), changes, asks=asks)
    assert found is not None
    return found


def test_files_are_the_same_when_their_content_is() -> None:
    one = did("Wrote 3 lines.", made("a.txt", "1"), made("b.txt", "2"))
    assert one.is_like(did("Done!", made("b.txt", "2"), made("a.txt", "1")))
    assert not one.is_like(did("Wrote 3 lines.", made("a.txt", "1")))
    assert not one.is_like(did("Wrote 3 lines.", made("a.txt", "1"), made("b.txt", "3")))
    assert not did("", made("a.txt", kind="deleted")).is_like(did("", made("a.txt", "1")))


def test_an_answer_counts_beside_files_where_one_is_asked_for() -> None:
    told = did("There are 3 lines.", made("a.txt", "1"), asks=True)
    assert not told.is_like(did("There are 4 lines.", made("a.txt", "1"), asks=True))


def test_pictures_and_archives_are_the_same_by_name() -> None:
    plot = did("The mean is 3.", made("p.PNG", "1"), asks=True)
    assert plot.is_like(did("mean: 3", made("p.PNG", "2"), asks=True))
    assert not plot.is_like(did("mean: 3", made("q.PNG", "1"), asks=True))
    assert behaviour_of(Execution("ok", stdout="Saved."), [made("p.png", "1")], asks=False) is None


def test_what_leaves_nothing_behind_cannot_be_compared() -> None:
    assert behaviour_of(Execution("ok"), (), asks=True) is None
    assert did("Nothing to do.").answer == "Nothing to do."


def test_the_largest_group_comes_first_and_between_equals_the_earliest() -> None:
    assert groups([Behaviour(a) for a in ("1", "2", "3", "two: 2", "1 in all", "2")]) == [[1, 3, 5], [0, 4], [2]]
    assert groups([Behaviour("1"), Behaviour("2")]) == [[0], [1]]
    assert groups([]) == []


# --- calls ---


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        ("```python\nf(1)\nf('a', [2, -3])\nf(x={'k': None})\n```", ("f(1)", "f('a', [2, -3])", "f(x={'k': None})")),
        ("```python\nassert f(1) == 2\nprint(f(3))  # 4\n```", ("f(1)", "f(3)")),
        ("f(1)\nf(1)\nf( 1 )", ("f(1)",)),
        ("```python\nf(open('x').read())\nf(n)\nf(*[1])\nf(**{'a': 1})\nf(2 ** 9)\ng(1)\nf(f(5))\n```", ("f(5)",)),
        ("```python\nf(1)\nf(2)\nf([1, 2", ("f(1)", "f(2)")),
        ("```python\n" + "\n".join(f"f({n})" for n in range(9)) + "\n```", tuple(f"f({n})" for n in range(6))),
        (f"f({'x' * 400!r})\nf(2)", ("f(2)",)),
        ("Sorry, I cannot.", ()),
        ("", ()),
    ],
)
def test_calls_have_literal_arguments_only(reply: str, calls: tuple[str, ...]) -> None:
    assert find_calls(reply, "f") == calls


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1, (2.0, "x")], "[1, (2.0, 'x')]"),
        ({"b": {3, 1}, "a": frozenset()}, "{'a': set(), 'b': set(1, 3)}"),
        ((n for n in range(3)), "iter(0, 1, 2)"),
        (object(), "<object object>"),
        (None, "None"),
    ],
)
def test_results_are_written_so_that_equal_ones_look_the_same(value: object, told: str) -> None:
    assert json.loads(outcome("f()", {"f": lambda: value})) == told


def test_an_error_is_told_by_its_type_and_a_long_result_by_its_digest() -> None:
    assert json.loads(outcome("f(1)", {"f": lambda: 1})) == "! TypeError"
    long, other = (json.loads(outcome("f()", {"f": lambda end=end: "x" * 5000 + end})) for end in "ab")
    assert len(long) < LONGEST + 100
    assert long != other


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with open_sandbox(policy=Policy(history=0)) as sandbox:
        yield sandbox


def returned(box: Sandbox, code: str, *calls: str) -> Behaviour | None:
    with box.open() as session:
        assert session.execute(code, on_error="keep").ok
        return behaviour_on(session, calls)


@pytest.mark.jail
def test_functions_are_the_same_when_they_return_the_same(box: Sandbox) -> None:
    calls = ("f(2)", "f(0.1)", "f('a')", "f(None)")
    one = returned(box, "def f(x): return x * 3", *calls)
    assert one is not None and one.results == ("6", "0.30000000000000004", "'aaa'", "! TypeError")
    same = returned(box, "def f(x): return x + x + x", *calls)
    assert same is not None and one.is_like(same)
    other = returned(box, "def f(x): return [x] * 3", *calls)
    assert other is not None and not one.is_like(other)


@pytest.mark.jail
def test_a_call_that_hangs_is_the_last(box: Sandbox) -> None:
    found = returned(box, "def f(x):\n    while x: pass\n    return 1", "f(0)", "f(1)", "f(2)")
    assert found is not None and found.results == ("1", "! timeout")


@pytest.mark.jail
def test_a_function_that_returns_for_no_call_cannot_be_compared(box: Sandbox) -> None:
    assert returned(box, "def f(x): raise ValueError", "f(0)", "f(1)") is None
    assert returned(box, "import os\ndef f(x): os._exit(0)", "f(0)", "f(1)") is None
    assert returned(box, "def f(x): return 1") is None


# --- what comes after a program that passed ---


def passed(attempt: int, answer: str = "", *, result: CheckResult = ANSWER, seconds: float = 0.1) -> Trial:
    execution = Execution("ok", stdout="x", seconds=seconds)
    behaviour = Behaviour(answer) if answer else None
    verdict = Verdict(True, (result,))
    return Trial(attempt, "draft", Program(f"print({attempt})"), "", execution, verdict, behaviour=behaviour)


def test_a_result_that_nothing_checks_is_to_be_agreed_on() -> None:
    budget = Budget(seconds=100)
    assert wants_agreement(SMALL, passed(1), budget, 10)
    assert not wants_agreement(SMALL, passed(1, result=EXAMPLE), budget, 10)
    assert not wants_agreement(SMALL, passed(1), budget, 51)
    assert not wants_agreement(SMALL, passed(1, seconds=11), budget, 20)
    assert not wants_agreement(LARGE, passed(1), budget, 10)
    assert not wants_agreement(PLAIN, passed(1), budget, 10)
    asked = Execution("ok", requests=(Request(0.1, "GET", "example.com", 443),))
    trial = Trial(1, "draft", Program("x"), "", asked, Verdict(True, (ANSWER,)))
    assert not wants_agreement(SMALL, trial, budget, 10)


def test_drafts_are_drawn_two_at_once_until_two_agree() -> None:
    budget = Budget(seconds=100)
    first, other = passed(1, "42"), passed(2, "43")
    assert (next_move(SMALL, [first], budget, 10).kind, next_move(SMALL, [first], budget, 10).most) == ("draft", 2)
    assert next_move(SMALL, [first, other], budget, 10).kind == "draft"
    assert next_move(SMALL, [first, other, passed(3, "42 units")], budget, 10).kind == "stop"
    failed = Trial(2, "draft", Program("1 / 0"), "", Execution("error"), Verdict(False))
    assert next_move(SMALL, [failed, first], budget, 10).kind == "draft"


def test_a_comparison_ends_with_the_drafts_the_time_and_the_model_s_ideas() -> None:
    budget, first = Budget(drafts=2, seconds=100), passed(1, "42")
    assert next_move(SMALL, [first], budget, 51).kind == "stop"
    assert next_move(SMALL, [first, passed(2, "43")], budget, 10).kind == "stop"
    again = Trial(2, "draft", problem="the same program as in attempt 1", repeats=1)
    assert next_move(SMALL, [first, again], Budget(seconds=100), 10).kind == "stop"
    assert next_move(SMALL, [passed(1)], Budget(seconds=100), 10).kind == "stop"


def test_what_agrees_is_found_whatever_the_order() -> None:
    trials = [passed(3, "43"), passed(1, "42"), passed(2, "43"), Trial(4, "draft", problem="no code")]
    assert [t.attempt for t in agreeing(trials)] == [2, 3]
    assert is_agreed(SMALL, trials)
    assert not is_agreed(SMALL, trials[1:])
    assert not is_agreed(SMALL, trials[3:])
