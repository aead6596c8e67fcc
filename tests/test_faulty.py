"""A function in the task that is to be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import Agent, Budget
from agent.events import Drafted, Finished, Prompted
from agent.faulty import find_faulty
from agent.models.scripted import ScriptedModel

CODE = "def area(a, b):\n    total = a + b\n\n    return total"
FRESH = "Write this function:\n\ndef area(a, b):\n\nThe area of a rectangle."


@pytest.mark.parametrize(
    "text",
    [
        f"Fix the bug in this function:\n\n{CODE}\n\nThe area of a rectangle.",
        f"The area of a rectangle.\nSomething is wrong here:\n```python\n{CODE}\n```\n",
    ],
)
def test_the_function_is_found_with_what_it_is_for(text: str) -> None:
    found = find_faulty(text, "area")
    assert found is not None
    assert (found.code, found.fresh) == (CODE, FRESH)


def test_without_a_word_of_what_it_is_for_it_cannot_be_written_anew() -> None:
    found = find_faulty(f"Fix the bug in this function:\n```python\n{CODE}\n```", "area")
    assert found is not None and (found.code, found.fresh) == (CODE, "")


def test_a_docstring_belongs_to_the_head() -> None:
    code = 'def area(a, b):\n    """The area of a rectangle."""\n    return a + b'
    found = find_faulty(f"This is buggy.\nUse it for floors.\n{code}\n", "area")
    assert found is not None
    head = 'def area(a, b):\n    """The area of a rectangle."""'
    assert found.fresh == f"Write this function:\n\n{head}\n\nUse it for floors."


@pytest.mark.parametrize(
    "text",
    [
        f"Use this function:\n{CODE}\nThe area of a rectangle.",
        "Fix the bug in this function:\ndef area(a, b):\n    ...\n",
        'Complete it without a bug:\ndef area(a, b):\n    """The area of a rectangle."""\n',
        "Fix the bug in area.py",
        "Fix this:\ndef area(a, b:\n    return a\n",
        "Fix this:\ndef other(a, b):\n    return a\n",
    ],
)
def test_other_texts_hold_none(text: str) -> None:
    assert find_faulty(text, "area") is None


@pytest.mark.parametrize(
    ("program", "same"),
    [
        (CODE, True),
        (f"import math\n\n\n{CODE}  # mended", True),
        (CODE.replace("total = a", '"""The area."""\n    total = a'), True),
        (CODE.replace("+", "*"), False),
        (f"{CODE}\n\nprint(area(1, 2))", False),
    ],
)
def test_a_copy_is_known_whatever_it_imports(program: str, same: bool) -> None:
    found = find_faulty(f"Fix the bug:\n{CODE}\n", "area")
    assert found is not None and found.is_same(program) is same


@pytest.mark.jail
def test_a_copy_is_no_program_and_the_second_draft_does_not_see_the_mistake(tmp_path: Path) -> None:
    right = CODE.replace("+", "*")
    model = ScriptedModel([f"```python\n{code}\n```" for code in (CODE, right)], parameters=1.5, lanes=4)
    text = f"Fix the bug in this function:\n\n{CODE}\n\nThe area of a rectangle.\n>>> area(3, 4)\n12\n"
    with Agent(model, runs=tmp_path, budget=Budget(drafts=2)) as agent:
        events = list(agent.stream(text))
    assert isinstance(end := events[-1], Finished)
    assert (end.result.outcome, end.result.drafts) == ("solved", 2)
    assert [e.problem for e in events if isinstance(e, Drafted)] == ["it is area as it was", ""]
    first, second = (e for e in events if isinstance(e, Prompted))
    assert "total = a + b" in first.messages[1].content and "must not stay the same" in first.messages[1].content
    assert "total" not in second.messages[1].content and "The area of a rectangle" in second.messages[1].content
    assert (first.temperature, second.temperature, second.n) == (0.0, 0.0, 1)
