from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.judge import answer_of, judge
from agent.task import Check, CheckResult, Verdict
from sandbox import Execution, Policy, Sandbox, open_sandbox

pytestmark = pytest.mark.jail


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with open_sandbox(policy=Policy(history=0)) as sandbox:  # as the loop opens it: what has ended does not come back
        yield sandbox


def verdict(box: Sandbox, code: str, *checks: Check, wall: float = 10.0) -> Verdict:
    with box.open() as session:
        run = session.execute(code, on_error="keep")
        return judge(session, run, checks, changed=lambda: bool(session.changes().items), wall_seconds=wall)


def only(found: Verdict) -> CheckResult:
    assert len(found.results) == 1
    return found.results[0]


def expression(text: str) -> Check:
    return Check("expression", text)


def test_an_expression_over_the_program_s_names(box: Sandbox) -> None:
    found = verdict(box, "total = 42\ndef f(x): return x + total", expression("f(1) == 43"), expression("total"))
    assert found.passed
    assert found.author == "user"
    assert found.outcome == "solved"


@pytest.mark.parametrize(
    ("check", "detail"),
    [
        ("f(1) == 3", "f(1): got 2, want 3"),
        ("f('a')", "f('a'): TypeError"),
        ("f(1) > 5", "the left side is 2"),
        ("not f(1)", "this is not true"),
        ("f(2) in [1, 2]", "the left side is 4"),
        ("g(1) == 1", "NameError: name 'g'"),
        ("f.__code__.nothing", "AttributeError"),
    ],
)
def test_a_failing_expression_says_call_got_and_want(box: Sandbox, check: str, detail: str) -> None:
    result = only(verdict(box, "def f(x):\n    if x == 'a': raise TypeError\n    return x * 2", expression(check)))
    assert not result.passed
    assert detail in result.detail


def test_each_side_of_a_comparison_is_evaluated_once(box: Sandbox) -> None:
    checks = (expression("f() == 2"), expression("calls == 1"))
    found = verdict(box, "calls = 0\ndef f():\n    global calls\n    calls += 1\n    return calls", *checks)
    assert found.results[0].detail == "f(): got 1, want 2"
    assert found.results[1].passed


def test_a_program_s_own_names_do_not_disturb_a_check(box: Sandbox) -> None:
    code = "def check(*a): raise ValueError\njson = ast = judge = exec = names = None\ndef dumps(*a): return 'x'"
    assert verdict(box, code, expression("json is None")).passed


def suite(text: str) -> Check:
    return Check("tests", text)


def test_test_functions_and_test_cases(box: Sandbox) -> None:
    source = (
        "import unittest\nfrom solution import f\nimport program\n"
        "def test_one():\n    assert f(1) == 2\n"
        "async def test_two():\n    assert program.f(2) == 3\n"
        "class TestF(unittest.TestCase):\n    def test_three(self): self.assertEqual(f(3), 4)\n"
        "if __name__ == '__main__':\n    unittest.main()\n"
    )
    assert verdict(box, "def f(x): return x + 1", suite(source)).passed
    result = only(verdict(box, "def f(x): return x", suite(source)))
    assert result.detail == "test_one: f(1): got 1, want 2 (and 2 more failures)"


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        ("assert f(1) == 5", "the tests: f(1): got 2, want 5"),
        ("def test_a():\n    x = 4\n    assert f(x) == x, 'no luck'", "test_a: AssertionError: no luck"),
        ("def test_a():\n    for x in (1, 3):\n        assert f(x) < 5", "the left side is 6"),
        ("from solution import missing", "ImportError"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_b(self): self.assertEqual(f(1), 9)",
            "test_b: Assertion",
        ),
        ("def test_a(tmp_path): pass", "TypeError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_failing_test_says_what_it_compared(box: Sandbox, source: str, detail: str) -> None:
    result = only(verdict(box, "def f(x): return x * 2", suite(source)))
    assert not result.passed
    assert detail in result.detail


def test_files_and_answers(box: Sandbox) -> None:
    checks = (Check("file", "a.csv", "task"), Check("file", "b.csv", "task"), Check("file", "c.csv", "task"))
    found = verdict(box, "open('a.csv', 'w').write('x')\nopen('b.csv', 'w').close()", *checks)
    assert [r.passed for r in found.results] == [True, False, False]
    assert [r.detail for r in found.results] == ["", "b.csv is empty", "the file c.csv was not written"]
    assert found.author == "none"


@pytest.mark.parametrize(
    ("code", "passed"),
    [
        ("print('The total is 12.')", True),
        ("6 * 7", True),
        ("x = 1", False),
        ("print(lambda: 1)", False),
        ("class A: pass\nprint('The answer is', A())", False),
        ("print('mean:', float('nan'))", False),
        ("print('My banana has 3 rows')", True),
    ],
)
def test_an_answer_says_something(box: Sandbox, code: str, passed: bool) -> None:
    assert only(verdict(box, code, Check("answer", "", "task"))).passed is passed


def test_an_effect_is_a_change_or_where_it_may_be_something_printed(box: Sandbox) -> None:
    either = Check("effect", "something is printed or files are changed", "task")
    change = Check("effect", "files are changed", "task")
    assert verdict(box, "print(1)", either).passed
    assert verdict(box, "open('x', 'w').write('y')", either, change).passed
    assert only(verdict(box, "print('renamed 0 files')", change)).detail == "no file was changed"
    assert only(verdict(box, "x = 1", either)).detail == "nothing was printed and no file was changed"


def test_a_program_that_crashed_has_no_check_that_holds(box: Sandbox) -> None:
    found = verdict(box, "total = 42\n1 / 0", expression("total == 42"))
    assert not found.ran
    assert not only(found).passed
    assert found.outcome == "failed"


def test_a_check_that_hangs_does_not_hold_and_the_next_ones_neither(box: Sandbox) -> None:
    checks = (expression("f() == 1"), expression("x == 1"))
    found = verdict(box, "x = 1\ndef f():\n    while True: pass", *checks, wall=0.5)
    assert "timeout" in found.results[0].detail
    assert not found.results[1].passed


def test_a_program_that_ends_its_process_is_no_broken_sandbox(box: Sandbox) -> None:
    result = only(verdict(box, "import os\nprint('done', flush=True)\nos._exit(0)", expression("1 == 1")))
    assert not result.passed


def test_the_answer_is_what_was_printed_else_the_last_value() -> None:
    assert answer_of(Execution("ok", stdout=" 3 rows \n", value="7")) == "3 rows"
    assert answer_of(Execution("ok", value="'three'")) == "three"
    assert answer_of(Execution("ok", value="[1, 2]")) == "[1, 2]"
    assert answer_of(Execution("ok", value="None")) == ""
    assert answer_of(None) == ""
