from __future__ import annotations

import pytest

from agent.extract import extract

CODE = "import math\n\n\ndef area(r):\n    return math.pi * r * r\n"


@pytest.mark.parametrize(
    "reply",
    [
        f"```python\n{CODE}```",
        f"```python\n{CODE}",  # begun for the model, stopped at the closing fence
        f"Sure! Here it is:\n\n```py\n{CODE}```\nIt multiplies pi by the square.",
        f"~~~python\n{CODE}~~~",
        CODE,
        f"Here is the program:\n\n{CODE}\nThis computes the area. Let me know!",
        f"<think>First, ```python\nwrong(``` no.</think>\n```python\n{CODE}```",
        "```python\n" + CODE.replace("\n", "\r\n") + "```",
        "```\npython\n" + CODE + "```",
        "```python\n" + "".join(f"    {line}\n" if line else "\n" for line in CODE.split("\n")) + "```",
        f"```bash\npip install numpy\n```\n\n```python\n{CODE}```",
    ],
)
def test_the_program_is_found_whatever_is_around_it(reply: str) -> None:
    found = extract(reply)
    assert found.code.strip() == CODE.strip()
    assert found.problem == ""


def test_an_interpreter_session_loses_its_prompts_and_output() -> None:
    assert extract("```\n>>> x = 1\n>>> for i in range(2):\n...     x += i\n...\n>>> x\n2\n```").code == (
        "x = 1\nfor i in range(2):\n    x += i\n\nx\n"
    )


def test_the_block_that_defines_the_function_wins() -> None:
    use = "from shapes import area\nprint(area(1), area(2), area(3), 'longer than the other')\n"
    reply = f"```python\n{CODE}```\nUse it:\n```python\n{use}```"
    assert "def area" in extract(reply, "area").code
    assert "print" not in extract(reply, "area").code


def test_blocks_that_build_on_each_other_are_joined() -> None:
    load = "import csv\nrows = list(csv.reader(open('a.csv')))\n"
    reply = f"First load:\n```python\n{load}```\nThen:\n```python\nprint(len(rows))\n```"
    code = extract(reply).code
    assert "rows = list" in code
    assert "print(len(rows))" in code


def test_smart_quotes_are_changed_only_where_the_program_would_not_parse() -> None:
    assert extract("```python\nprint(“hi”)\n```").code == 'print("hi")\n'
    assert extract("```python\nprint('“hi”')\n```").code == "print('“hi”')\n"


def test_a_statement_cut_short_is_dropped() -> None:
    assert extract("```python\nx = 1\nprint(x)\nfor i in ran").code == "x = 1\nprint(x)\n"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "empty"),
        ("I am sorry, I cannot help with that.", "no code"),
        ("```python\nfor for\n```", "SyntaxError"),
        ("<think>never closed, with x = 1", "empty"),
        ("```python\n# only a comment\n```", "no code"),
        ("\0", "no code"),
    ],
)
def test_a_reply_without_a_program_says_why(reply: str, why: str) -> None:
    found = extract(reply)
    assert found.code == ""
    assert why in found.problem


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    assert extract("```python\n" + "(" * 5000 + ")" * 5000 + "\n```").code == ""
