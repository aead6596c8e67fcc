"""Answers in a form that the task gives."""

from __future__ import annotations

import pytest

from agent.facts import Facts
from agent.form import Place, find_form, unformed, write_ending
from agent.plan import make_plan
from agent.task import Check, Task
from agent.write import draft_messages

TASK = """Find the mean of the column "fare", and who paid most.
Print the answer in this format: @mean_fare[mean] @payer[name]
where "mean" is a number rounded to two decimal places. "name" is a string."""


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (TASK, [Place("mean_fare", 2), Place("payer")]),
        ("Both rounded to 3 decimals: @a[x], @b[y]", [Place("a", 3), Place("b", 3)]),
        ("@count[n] where n is an integer. Round means to two decimals.", [Place("count")]),
        ("@p[The p-value, rounded to four decimal places]", [Place("p", 4)]),
        ("@both[yes/no] and @list[a, b] rounded to one decimal", [Place("both"), Place("list")]),
        ('@n[count] If there are none, print @status["none"]', [Place("n")]),
        ("@of_month[{'month_1': mean_1, 'month_2", [Place("of_month")]),
        ("Write to me@example[at]home, or use @property and x[0]", []),
        ("How many rows?", []),
    ],
)
def test_the_places_of_an_answer(text: str, places: list[Place]) -> None:
    assert find_form(text) == tuple(places)


def test_the_program_is_told_how_to_end() -> None:
    lines = write_ending(find_form(TASK))
    assert lines == 'print(f"@mean_fare[{mean_fare:.2f}]")\nprint(f"@payer[{payer}]")'
    plan = make_plan(Task(TASK), Facts(), 900)
    assert draft_messages(TASK, plan)[1].content.endswith(f"End the program with:\n{lines}")
    assert {Check("form", "@mean_fare", "task"), Check("form", "@payer", "task")} <= {*plan.checks}


def test_a_name_that_python_keeps_is_no_variable() -> None:
    assert write_ending([Place("class"), Place("two-sided")]) == (
        'print(f"@class[{class_value}]")\nprint(f"@two-sided[{two_sided}]")'
    )


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("so: @mean[3.5].", True),
        ("@mean[]", True),  # an empty list
        ("@mean[['a', 'b']]", True),
        ("@mean[nan]", False),
        ("@mean[None]", False),
        ("@mean[<function f at 0x7f00>]", False),
        ("mean: 3.5", False),
        ("@means[3.5]", False),
    ],
)
def test_a_place_is_filled(answer: str, right: bool) -> None:
    assert (unformed(answer, "@mean") == "") is right
