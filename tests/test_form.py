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
    assert [(found.name, found.digits) for found in find_form(text)] == [(place.name, place.digits) for place in places]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ('@mean[m] where "m" is a number rounded to two decimals', "@mean: a number"),
        (
            '@p[p_value]\nwhere "p_value" is a number between 0 and 1, rounded to four decimals',
            "@p: a number from 0 to 1",
        ),
        ('@r[r] where "r" is a float number from -1 to 1.', "@r: a number from -1 to 1"),
        ('@n[count] where "count" is a non-negative integer', "@n: an integer from 0"),
        ("@n[an integer that tells how many there are]", "@n: an integer"),
        (
            '@s[kind] where "kind" is a string that can be "low", "middle", or "high".',
            '@s: "low" or "middle" or "high"',
        ),
        ('@s[A string that is either "Normal" or "Not Normal"]', '@s: "Normal" or "Not Normal"'),
        ("@t[yes/no]", '@t: "yes" or "no"'),
        ("Is it positive or negative? @t[positive/negative]", '@t: "positive" or "negative"'),
        ("@t[lower/upper]", "@t"),  # may be two values
        ("@names[name1, name2, ...]", "@names: items"),
        ('@who[name] where "name" is a string', "@who"),
        ('@who[name] where "name" is a number or a string', "@who"),
        ('@a[x] where "y" is an integer', "@a"),
        ("@of_month[{'month_1': mean_1, 'month_2", "@of_month"),
    ],
)
def test_what_the_task_says_of_a_value_is_checked(text: str, check: str) -> None:
    assert [place.check for place in find_form(text)] == [check]


@pytest.mark.parametrize(
    ("wants", "value", "right"),
    [
        ("a number", "1,234.5", True),
        ("a number", "12.5%", True),
        ("a number", "a    3.5\nb    1.0", False),
        ("a number", "inf", False),
        ("a number from -1 to 1", "-1.00", True),
        ("a number from -1 to 1", "1.2", False),
        ("an integer from 0", "-1", False),
        ("an integer", "3.0", True),
        ("an integer", "3.5", False),
        ('"linear" or "none"', "none", True),  # a word that is wanted, not a value that is missing
        ('"linear" or "none"', "Linear", False),
        ("items", "a, b", True),
        ("items", "", True),
        ("items", "['a', 'b']", False),
    ],
)
def test_a_value_of_another_kind_is_told(wants: str, value: str, right: bool) -> None:
    wrong = unformed(f"so: @x[{value}].", f"@x: {wants}")
    assert (wrong == "") is right
    assert right or value[:3] in wrong or "not printed" in wrong


def test_the_program_is_told_how_to_end() -> None:
    lines = write_ending(find_form(TASK))
    assert lines == 'print(f"@mean_fare[{mean_fare:.2f}]")\nprint(f"@payer[{payer}]")'
    plan = make_plan(Task(TASK), Facts(), 900)
    assert draft_messages(TASK, plan)[1].content.endswith(f"End the program with:\n{lines}")
    assert {Check("form", "@mean_fare: a number", "task"), Check("form", "@payer", "task")} <= {*plan.checks}


def test_the_items_of_a_list_are_printed_as_the_task_shows_them() -> None:
    lines = write_ending(find_form("Who is missing? @names[name1,name2,...]"))
    printed: list[str] = []
    exec(lines, {"names": ["a", "b"], "print": printed.append})
    assert printed == ["@names[a,b]"]


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
