"""Search/replace blocks: where they fit, and what is told of those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.edits import UNAPPLIED, Edit, Unfit, apply_edits, parse_edits, read_reply

CODE = """\
import csv

def total(rows):
    result = 0
    for row in rows:
        result += row
    return result

def count(rows):
    result = 0
    for row in rows:
        result += 1
    return result
"""


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def edited(*blocks: str, code: str = CODE) -> str:
    found = read_reply("\n".join(blocks), code)
    assert not found.problem
    return found.code


def problem(*blocks: str, code: str = CODE) -> str:
    found = read_reply("\n".join(blocks), code)
    assert found.code == "" and found.problem.startswith(UNAPPLIED)
    return found.problem.removeprefix(UNAPPLIED)


# --- what fits ---


def test_lines_that_stand_there_once_are_replaced() -> None:
    changed = edited(block("        result += row\n", "        result += int(row)\n"))
    assert changed == CODE.replace("+= row", "+= int(row)")


def test_what_stands_around_the_blocks_is_of_no_matter() -> None:
    thought, one = "<think><<<<<<< SEARCH\n</think>", block("import csv\n", "import json\n")
    reply = f"{thought}The sum.\n\n```python\n{one}```\nDone."
    assert edited(reply) == CODE.replace("csv", "json")
    assert edited(reply.replace("\n", "\r\n")) == CODE.replace("csv", "json")


def test_several_blocks_are_applied_one_after_the_other() -> None:
    first = block("import csv\n", "import csv\nimport json\n")
    second = block("import json\n\n", "import json, math\n\n")
    assert edited(first, second).startswith("import csv\nimport json, math\n\ndef total")


def test_lines_are_removed_and_added() -> None:
    assert edited(block("import csv\n\n", "")) == CODE.removeprefix("import csv\n\n")
    more = edited(block("    return result\n\ndef count(rows):\n", "    return result\n\nX = 1\n\ndef count(rows):\n"))
    assert "return result\n\nX = 1\n\ndef count" in more
    assert edited(block("", "print(1)\n")).endswith("    return result\n\nprint(1)\n")


def test_white_space_may_be_another() -> None:
    assert edited(block("\nimport  csv \n\n", "import json\n")) == CODE.replace("import csv", "import json")
    without = block("for row in rows:\nresult+=row\n", "for row in rows:\n    result -= row\n")
    assert edited(without) == CODE.replace("result += row", "result -= row")
    tabs = block("\tfor row in rows:\n\t\tresult += 1\n", "\tfor _ in rows:\n\t\tresult += 1\n")
    assert "    for _ in rows:" in edited(tabs).replace("\t", "    ")


def test_what_is_new_is_indented_as_what_it_replaces() -> None:
    deep = block("            result += row\n", "            if row:\n                result += row\n")
    assert "        if row:\n            result += row\n    return" in edited(deep)
    flat = block("result += 1\n", "if row:\n    result += 1\n")
    assert "        if row:\n            result += 1\n    return" in edited(flat)


def test_the_exact_place_goes_before_one_that_is_alike() -> None:
    code = "x = 1\nif x:\n    y = 2\ny = 2\n"
    assert edited(block("y = 2\n", "y = 3\n"), code=code) == "x = 1\nif x:\n    y = 2\ny = 3\n"


def test_a_whole_program_is_taken_as_such() -> None:
    assert read_reply("All new:\n```python\nprint(1)\n```\n", CODE).code == "print(1)\n"
    assert read_reply("I cannot.", CODE).problem == "the reply holds no code"


def test_without_a_program_to_edit_blocks_are_none() -> None:
    assert (
        read_reply(f"```python\nprint('<<<<<<< SEARCH')\n```\n{block('', '')}", "").code == "print('<<<<<<< SEARCH')\n"
    )


# --- what does not ---


def test_a_line_that_is_nowhere_is_told_with_the_closest_ones() -> None:
    told = problem(block("    for row in rows:\n        result += rows[0]\n", "    pass\n"))
    assert told.startswith("the block has a SEARCH line that is not in the program:\n    result += rows[0]\n")
    assert "    6: result += row" in told and "import csv" not in told
    assert "closest" not in problem(block("@@@@@@@@\n", "x\n"))


def test_lines_that_do_not_follow_one_another_are_told() -> None:
    assert "do not follow one another" in problem(block("import csv\n    return result\n", "x = 1\n"))


def test_several_places_are_told() -> None:
    told = problem(block("    result = 0\n", "    result = 1\n"))
    assert "stand in 2 places (lines 4, 10)" in told
    assert "2 places" in problem(block("result = 0\n", "result = 1\n"))  # and where only white space differs


def test_all_blocks_are_applied_or_none() -> None:
    told = problem(block("import csv\n", "import json\n"), block("nothing like it\n", "x = 1\n"))
    assert told.startswith("block 2 has")


@pytest.mark.parametrize(
    ("reply", "missing"),
    [
        ("<<<<<<< SEARCH\nimport csv\n", "======="),
        ("<<<<<<< SEARCH\nimport csv\n=======\nimport json\n", ">>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\nimport csv\n" + block("import csv\n", "x\n"), "======="),
    ],
)
def test_a_block_that_is_not_whole_is_told(reply: str, missing: str) -> None:
    assert problem(reply) == f"a block has no line {missing}"


def test_a_program_that_is_no_python_any_more_is_told() -> None:
    told = problem(block("    for row in rows:\n        result += 1\n", "    for row in rows:\n"))
    assert told.startswith("with them the program is no Python, IndentationError")


def test_what_is_told_of_long_lines_is_short() -> None:
    assert len(problem(block("x" * 10_000 + "\n", "y\n"), code="".join(f"{'x' * 9_000}{n}\n" for n in range(9)))) < 1200


# --- anything at all ---

_LINES = st.lists(st.sampled_from(["", "x = 1", "    y = 2", "\tz", "======", "<<<<<<< SEARCH", "ü\x0c\u2028"]))


@given(st.text(alphabet="<>=SEARCHREPLA \n\tx", max_size=200), _LINES)
def test_no_reply_breaks_the_reader(reply: str, lines: list[str]) -> None:
    found = read_reply(reply, "\n".join(lines))
    assert bool(found.code) != bool(found.problem)


@given(st.lists(st.from_regex(r"\A[ ]{0,4}[a-z]{1,3}\Z"), min_size=1, unique=True), st.data())
def test_an_exact_edit_changes_its_lines_alone(lines: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = apply_edits("\n".join(lines), [Edit((lines[at],), ("new line",))])
    assert changed == "\n".join([*lines[:at], "new line", *lines[at + 1 :]]) + "\n"


def test_blocks_are_read_in_their_order() -> None:
    reply = block("a\n", "b\n") + "and\n" + block("c\n", "")
    assert parse_edits(reply) == (Edit(("a",), ("b",)), Edit(("c",), ()))
    with pytest.raises(Unfit, match="block 2"):
        apply_edits("a\n", parse_edits(reply))
