"""A program that crashed, begun anew up to the statement that failed."""

from __future__ import annotations

import ast

import pytest

from agent.hints import helpers
from agent.rewind import rewound, without_comments
from agent.task import Program
from sandbox import Execution
from sandbox.execution import Problem

CODE = """\
rows = [1, 2]
for row in rows:
    total = (
        row +
        missing
    )
print(total)
"""


def crash(line: int | None, message: str = "name 'missing' is not defined") -> Execution:
    return Execution("error", error=Problem("NameError", message, line, notes=("Did you mean: 'rows'?",)))


def test_the_statement_that_failed_becomes_a_comment_where_it_stood() -> None:
    begun = rewound(Program(CODE), crash(5))
    assert begun.startswith(
        "rows = [1, 2]\nfor row in rows:\n    # FAILED: total = ( row + missing )\n    # BECAUSE: Name"
    )
    assert "Did you mean: 'rows'?" in begun
    assert "print" not in begun
    ast.parse(begun + "    total = row\n")


def test_a_helper_that_failed_is_left_and_its_call_written_anew() -> None:
    source = helpers()["same_content"]
    code = f"{source}\nfound = same_content([1])\nprint(found)\n"
    call, inside = len(source.splitlines()) + 2, source.splitlines().index("    for path in paths:") + 2
    said = f'File "<program>", line {call}, in <module>\n  File "<program>", line {inside}, in same_content\n'
    problem = Problem("AttributeError", "'int' object has no attribute 'read_bytes'", inside, traceback=said)
    begun = rewound(Program(code), Execution("error", error=problem))
    assert begun.startswith(f"{source}\n# FAILED: found = same_content([1])\n")


def test_what_was_said_about_it_does_not_stay_in_the_program() -> None:
    begun = rewound(Program(CODE), crash(5))
    assert without_comments(begun + "    total = row\n") == "rows = [1, 2]\nfor row in rows:\n    total = row\n"
    assert without_comments(CODE) == CODE


def test_messages_of_several_lines_stay_comments() -> None:
    begun = rewound(Program(CODE), crash(7, "one\nimport os\n" + "x" * 900))
    assert all(line.startswith("#") for line in begun.splitlines()[6:])
    assert max(map(len, begun.splitlines())) < 240


@pytest.mark.parametrize("line", [None, 1, 99])
def test_without_a_place_or_a_beginning_there_is_nothing_to_go_back_to(line: int | None) -> None:
    assert rewound(Program(CODE), crash(line)) == ""


def test_a_statement_behind_another_on_its_line_is_left_alone() -> None:
    assert rewound(Program("x = 1\nif x: y = z\n"), crash(2)) == ""


def test_the_head_of_a_loop_is_a_statement_of_its_own() -> None:
    begun = rewound(Program("x = 1\nfor y in z:\n    print(y)\n"), crash(2))
    assert begun.splitlines()[:2] == ["x = 1", "# FAILED: for y in z: print(y)"]
