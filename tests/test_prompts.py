from __future__ import annotations

import pytest

from agent.facts import Facts, FileFact, count_tokens
from agent.plan import find_examples, find_function, find_outputs, is_question, make_plan
from agent.task import Check, Plan, Task
from agent.write import draft_messages, repair_messages
from prompts import render


def test_a_missing_value_or_prompt_is_an_error() -> None:
    with pytest.raises(KeyError):
        render("repair")
    with pytest.raises(KeyError, match="no prompt"):
        render("nonsense", feedback="x")


def test_a_dollar_in_a_value_is_only_text() -> None:
    assert "costs $5 and $feedback" in render("repair", feedback="costs $5 and $feedback")


def test_the_system_prompt_is_the_same_for_every_task() -> None:
    plan = Plan("", (), packages=("numpy",))
    first = draft_messages("What is 1 + 1?", plan)
    second = draft_messages("Add up", Plan("Files: a.csv", (), packages=("numpy",)))
    assert first[0] == second[0]
    assert "numpy" in first[0].content


def test_a_function_is_asked_for_without_the_rules_of_a_program_that_runs() -> None:
    rules = draft_messages("Write f(x)", Plan("", (), "f"))[0].content
    assert rules == draft_messages("Write g(x)", Plan("", (), "g"))[0].content
    assert "messy" not in rules
    assert "only the standard library" in rules


def test_a_function_is_told_of_the_packages_that_its_task_names() -> None:
    facts = Facts(packages=("numpy", "pandas", "sklearn"))
    assert make_plan(Task("Write a function f(x) that adds one"), facts, 900).packages == ()
    assert make_plan(Task("Write a function f(x) with numpy"), facts, 900).packages == ("numpy",)
    assert make_plan(Task("Write a function f(x) that takes a pd.DataFrame"), facts, 900).packages == ("pandas",)
    assert make_plan(Task("How many rows has a.csv?"), facts, 900).packages == facts.packages


STUB = '''from typing import List


def double(x: int) -> int:
    return 2 * x


def quadruple(x: int) -> int:
    """Four times x.
    >>> quadruple(1)  # so
    4
    """
'''


@pytest.mark.parametrize("task", [STUB, f"Complete this function:\n\n{STUB}", f"Do it:\n```python\n{STUB}```\nThanks"])
def test_a_program_begins_with_the_head_that_the_task_gives(task: str) -> None:
    plan = make_plan(Task(task), Facts(), 900, hints=True, opening=True)
    assert plan.opening == STUB
    assert plan.checks == (Check("expression", "quadruple(1) == 4", "task"),)
    assert make_plan(Task(task), Facts(), 900, hints=True).opening == ""


@pytest.mark.parametrize(
    "task",
    [
        "Fix this:\ndef f(x):\n    return x + 1\n",
        "Write f(x)",
        'def f(x):\n    """Unfinished',
        STUB + "\n\nprint(quadruple(2))",
    ],
)
def test_a_function_that_is_not_left_open_is_no_head(task: str) -> None:
    assert make_plan(Task(task), Facts(), 900, hints=True, opening=True).opening == ""


def test_a_repair_continues_the_draft_s_prompt() -> None:
    draft = draft_messages("What is 1 + 1?", Plan("", ()))
    repair = repair_messages(draft, "print(1 + )\n", "It failed.")
    assert repair[: len(draft)] == draft
    assert repair[-2].content == "```python\nprint(1 + )\n```"
    assert repair[-1].content.startswith("It failed.")


def test_the_user_s_checks_are_in_the_prompt_and_the_task_s_are_not_repeated() -> None:
    checks = (
        Check("expression", "total == 42"),
        Check("expression", "f(1) == 2", "task"),
        Check("tests", "def test_a(): ..."),
    )
    prompt = draft_messages("Add up.", Plan("", checks))[1].content
    assert "total == 42" in prompt
    assert "def test_a" in prompt
    assert "f(1) == 2" not in prompt


def test_a_chinese_task_is_answered_in_chinese() -> None:
    assert "用中文" in draft_messages("一共有多少行？", Plan("", ()))[1].content
    assert "用中文" not in draft_messages("How many lines?", Plan("", ()))[1].content


def test_a_usual_prompt_is_short() -> None:
    messages = draft_messages("How many rows are in a.csv?", Plan("", (), packages=("numpy", "pandas")))
    assert sum(count_tokens(m.content) for m in messages) < 200


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def helper(x):\n    return x\n\ndef solve(a, b):\n    '''Add.'''\n", "solve"),
        ("Write a function called `slugify` that makes slugs.", "slugify"),
        ("Write a function is_prime(n) that tells primes.", "is_prime"),
        ("Write slugify(text), please", "slugify"),
        ("写一个函数 add_all，把列表里的数加起来", "add_all"),
        ("Write a python function to find the max.\nassert max_of([1, 2]) == 2", "max_of"),
        ("Write a function that sorts a list.", None),
        ("What is the sum of sales.csv?", None),
        ("This function of mine is slow. Why?", None),
    ],
)
def test_the_function_asked_for(text: str, name: str | None) -> None:
    assert find_function(text) == name


@pytest.mark.parametrize(
    ("text", "examples"),
    [
        (">>> f(1)\n2\n>>> f('a')\n'b'\n", ("f(1) == 2", "f('a') == 'b'")),
        ("  assert f(1) == 2\n  assert set(f(2)) == {3}", ("f(1) == 2", "set(f(2)) == {3}")),
        ("f(3) returns 9, and f(4) -> 16.", ("f(3) == 9", "f(4) == 16")),
        ("f([1, 2]) should return [2, 1].", ("f([1, 2]) == [2, 1]",)),
        (">>> x = 1\n>>> f(x)\n2\n", ()),  # needs more than the example itself
        (">>> f(1)\n<Thing object>\n", ()),  # printed, but no value
        (">>> f(1)\n2\n>>> f(1)\n3\n", ()),  # contradict each other
        (">>> print(f(1))\n2\n", ()),
        ("assert this is odd", ()),
        ("f(1) returns the first prime", ()),
        ("f([1])==>True\nf([2]) --> False", ("f([1]) == True", "f([2]) == False")),
        ("def f(grid, k): ...\nInput: grid = [[1, 2]], k = 3\nOutput: [1]\n", ("f([[1, 2]], 3) == [1]",)),
        ("def f(a, b=1, c=2): ...\nInput: c = 3, a = 1\nOutput: 4\n", ("f(c=3, a=1) == 4",)),
        ("Input: [1, 2], 'x'\nOutput: 'y' because of it\n", ("f([1, 2], 'x') == 'y'",)),
        ("输入：n = 3\n输出：6\n", ("f(3) == 6",)),
        ("For lst = [] the output should be 0.\nIf n = 5, the result is -1", ("f([]) == 0", "f(5) == -1")),
        ("def f(a): ...\nInput: b = 3\nOutput: 4\n", ()),  # no parameter of it
        ("Input: a file\nOutput: 4\n", ()),
        ("For n = 3 the output should be an error", ()),
        ("Input: n = open('x')\nOutput: 4\n", ()),
        ("f(1) -> ('a')\nf(2) -> ('a', 'b')\nf(3) -> (4)", ("f(2) == ('a', 'b')", "f(3) == (4)")),  # ('a',) is meant
        (">>> f(1)  # one\n2\n", ("f(1) == 2",)),
    ],
)
def test_the_examples_in_a_task(text: str, examples: tuple[str, ...]) -> None:
    assert find_examples(text, "f") == examples


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("plot it and save it as temps.png please", ("temps.png",)),
        ("Write totals.csv with id and name, and tell me the sum.", ("totals.csv",)),
        ("Flatten them into out/orders.csv (id, date) and items.csv (id).", ("out/orders.csv", "items.csv")),
        ("把结果另存为 结果.csv，再告诉我总数", ("结果.csv",)),
        ("汇总以后另存为结果.csv。", ("结果.csv",)),
        ("Write a summary of data.csv", ()),  # there already
        ("Write what you find in other.csv", ()),  # read, not written
        ("Rename them to YYYY-MM-DD.jpg", ()),
        ("Save each page as page_*.html", ()),
        ("Write a script that loads config.json", ()),
        ("Which rows of data.csv are empty?", ()),
        ("Write it to /etc/passwd.txt or ../x.csv", ()),
        ("Export to report.csv.bak", ()),
    ],
)
def test_the_files_a_task_wants_written(text: str, files: tuple[str, ...]) -> None:
    assert find_outputs(text, ["data.csv"]) == files


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("What's the total?", True),
        ("Save it, and tell me the sum.", True),
        ("一共多少行", True),
        ("Sort the files by the date on which they were taken", False),
        ("Write the users whose name is long to out.csv", False),
        ("List orders (how many) per customer in out.csv", False),
    ],
)
def test_a_question_wants_an_answer(text: str, question: bool) -> None:
    assert is_question(text) is question


def kinds(text: str, *files: str) -> list[tuple[str, str]]:
    facts = Facts(tuple(FileFact(name, 1, "text", "text") for name in files))
    return [(c.kind, c.text) for c in make_plan(Task(text), facts, 500).checks]


def test_the_checks_of_a_task() -> None:
    assert [k for k, _ in kinds("What is 2 + 2?")] == ["answer"]
    assert [k for k, _ in kinds("Plot it and save it as a.png")] == ["file"]
    assert kinds("Rename my photos by date", "a.jpg") == [("effect", "files are changed")]
    assert kinds("In a.txt, replace foo by bar", "a.txt") == [("effect", "files are changed")]
    assert kinds("Replace foo by bar in a.txt and print it", "a.txt")[0][0] == "answer"
    assert kinds("Compute the mean age") == [("effect", "something is printed or files are changed")]
    assert kinds("Write a function f(x) that doubles") == []
    assert kinds("Write a class for stacks") == []
