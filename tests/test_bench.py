"""`sandsmith bench`: tiny benchmarks made here, with a scripted model; hidden tests that can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Budget, ConfigError
from agent.bench import problems
from agent.bench.compare import compare
from agent.bench.judging import Judge, Made
from agent.bench.problems import Problem
from agent.bench.results import Results, Row, options_of, read_rows
from agent.bench.running import Bench, Heard, _refused
from agent.bench.suites import SUITES, load_problems
from agent.bench.tables import summarise
from agent.models.scripted import ScriptedModel
from agent.store import load_run

jail = pytest.mark.jail
SHARED = Path(__file__).parents[2] / "shared" / "data"
RIGHT, WRONG = "def add{n}(x):\n    return x + {n}", "def add{n}(x):\n    return {n} + 1"
"""The second one passes the example in the docstring alone."""


def write_lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def humaneval(n: int) -> dict[str, Any]:
    doc = f'    """Add {n}.\n    >>> add{n}(1)\n    {n + 1}\n    """\n'
    test = f"def check(candidate):\n    assert candidate(1234) == {1234 + n}\n"
    return {"task_id": f"HumanEval/{n}", "prompt": f"def add{n}(x):\n{doc}", "entry_point": f"add{n}", "test": test}


MBPP = {
    "task_id": 7,
    "prompt": "Write a function to double a number.",
    "test_imports": ["import math"],
    "test_list": ["assert twice(2) == 4", "assert math.isclose(twice(2.5), 5)"],
}
QUIXBUGS = {
    "name": "last",
    "description": "The last node of a list.",
    "buggy": "def last(node):\n    return node",
    "preamble": "class Node:\n    def __init__(self, next):\n        self.next = next\n",
    "test": "one = Node(None)\ntwo = Node(one)\n"
    "def test1():\n    assert last(two) is one\n    two.next = None\n\n\ntest1()\n",
}
LAST = "def last(node):\n    while node.next:\n        node = node.next\n    return node"
DABENCH = {
    "id": 3,
    "question": "What is the mean of a?",
    "constraints": "Use all rows.",
    "format": "@mean_a[mean], a float",
    "file_name": "t.csv",
    "answers": [["mean_a", "2.50"]],
}
CHECK = """
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import same
work, printed = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
if not same((work / "out.txt").read_text(), (pathlib.Path(__file__).parent / "input" / "in.txt").read_text()):
    print("out.txt is another one")
    sys.exit(1)
sys.exit(0 if "done" in printed else "it does not say so")
"""


def make_data(folder: Path) -> Path:
    """One small file of each benchmark."""
    tables, job = folder / "dabench_tables", folder / "jobs" / "01_copy"
    tables.mkdir(parents=True)
    (job / "input").mkdir(parents=True)
    write_lines(folder / "humaneval_tiny.jsonl", *map(humaneval, range(1, 4)))
    write_lines(folder / "mbpp_tiny.jsonl", MBPP)
    write_lines(folder / "quixbugs_tiny.jsonl", QUIXBUGS)
    write_lines(folder / "dabench_tiny.jsonl", DABENCH)
    (tables / "t.csv").write_text("a\n2\n3\n")
    (folder / "jobs" / "lib.py").write_text("def same(a, b):\n    return a == b\n")
    (job / "input" / "in.txt").write_text("text\n")
    (job / "check.py").write_text(CHECK)
    (job / "task.json").write_text(json.dumps({"id": "01_copy", "prompt": "Copy in.txt to out.txt and say done."}))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


def only(name: str, data: Path) -> Problem:
    (problem,) = load_problems(name, data / "jobs" if name == "jobs" else data, most=1)
    return problem


# --- texts become tasks ---


def test_a_task_is_the_benchmarks_text_and_nothing_hidden(data: Path) -> None:
    function = only("humaneval", data)
    assert function.text == f"Complete this function:\n\n{humaneval(1)['prompt'].strip()}"
    assert isinstance(function.hidden, problems.Tests) and function.hidden.source.endswith("check(add1)\n")
    sentence = only("mbpp", data)
    assert sentence.text.endswith("double a number.\nYour code should pass this test:\nassert twice(2) == 4")
    assert sentence.hidden == problems.Tests(
        "", "import math\nassert twice(2) == 4\nassert math.isclose(twice(2.5), 5)\n"
    )
    buggy = only("quixbugs", data)
    assert buggy.text == f"Fix the bug in this function:\n\n{QUIXBUGS['buggy']}\n\nThe last node of a list."
    table = only("dabench", data)
    assert table.text.splitlines()[1:] == ["Use all rows.", "Print the answer in this format: @mean_a[mean], a float"]
    assert (table.files, table.hidden) == (("t.csv",), problems.Values((("mean_a", "2.50"),)))
    job = only("jobs", data)
    assert (job.id, job.text) == ("01_copy", "Copy in.txt to out.txt and say done.")
    assert isinstance(job.hidden, problems.Job) and [p.name for p in job.inputs] == ["in.txt"]


def test_the_first_tasks_are_taken_in_the_order_of_the_file(data: Path) -> None:
    assert [p.id for p in load_problems("humaneval", data, most=2)] == ["HumanEval/1", "HumanEval/2"]
    assert len(load_problems("humaneval", data)) == 3


def test_a_split_is_found_here_or_in_the_folder(data: Path) -> None:
    write_lines(data / "humaneval_other.jsonl", humaneval(9))
    with pytest.raises(ConfigError, match=r"there are: humaneval_other\.jsonl, humaneval_tiny\.jsonl"):
        load_problems("humaneval", data)
    assert load_problems("humaneval", data, Path("humaneval_other.jsonl"))[0].id == "HumanEval/9"
    assert load_problems("humaneval", data, data / "humaneval_other.jsonl")[0].id == "HumanEval/9"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no task"),
        (b"\n\n", "holds no task"),
        (b'{"task_id": "a"\n', "line 1 of .* is broken"),
        (b"[" * 100_000, "line 1 of .* is broken"),
        (b"[1]\n", "no JSON object"),
        (b"\xff\xfe", "cannot be read"),
        (b'\n{"task_id": "a"}\n', "line 2 of .*: it has no `prompt`"),
        (json.dumps({**humaneval(1), "prompt": 5}).encode(), "its `prompt` is no text"),
        (json.dumps({**humaneval(1), "prompt": "  "}).encode(), "its `prompt` is no text"),
        (json.dumps({**humaneval(1), "task_id": None}).encode(), "its `task_id` is no text"),
        (2 * (json.dumps(humaneval(1)).encode() + b"\n"), "holds the task HumanEval/1 twice"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "humaneval.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load_problems("humaneval", tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("mbpp", {"test_list": []}, "it has no assertion"),
        ("mbpp", {"test_list": "assert True"}, "no list of texts"),
        ("dabench", {"file_name": "../t.csv"}, "is not the name of a table"),
        ("dabench", {"file_name": "other.csv"}, r"there are no tables other\.csv"),
        ("dabench", {"answers": [["a"]]}, "no list of pairs"),
        ("dabench", {"answers": []}, "no list of pairs"),
        ("quixbugs", {"test": None}, "its `test` is no text"),
    ],
)
def test_a_record_with_a_wrong_field_is_refused(data: Path, name: str, change: dict[str, Any], told: str) -> None:
    record = {"mbpp": MBPP, "dabench": DABENCH, "quixbugs": QUIXBUGS}[name]
    write_lines(data / f"{name}_tiny.jsonl", {**record, **change})
    with pytest.raises(ConfigError, match=told):
        load_problems(name, data)


def test_folders_that_hold_no_benchmark_are_refused(data: Path, tmp_path: Path) -> None:
    for name in SUITES:
        with pytest.raises(ConfigError):
            load_problems(name, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="there is no file nothing"):
        load_problems("mbpp", data, Path("nothing"))
    with pytest.raises(ConfigError, match="jobs have no split"):
        load_problems("jobs", data / "jobs", Path("x"))
    with pytest.raises(ConfigError, match="no benchmark 'other'"):
        load_problems("other", data)
    (data / "jobs" / "01_copy" / "check.py").unlink()
    with pytest.raises(ConfigError, match=r"has no check\.py"):
        load_problems("jobs", data / "jobs")


# --- the hidden tests ---


def ruling(problem: Problem, program: str, scratch: Path) -> str:
    scratch.mkdir()
    with Judge() as judge:
        return judge.what_is_wrong(problem, judge.run(problem, program, scratch))


GOOD = {
    "humaneval": "def add1(x):\n    return x + 1",
    "mbpp": "def twice(x):\n    return 2 * x",
    "quixbugs": LAST,
    "dabench": "a = [int(line) for line in open('t.csv').readlines()[1:]]\nprint(f'@mean_a[{sum(a) / len(a)}]')",
    "jobs": "open('out.txt', 'w').write(open('in.txt').read())\nprint('done')",
}


@jail
@pytest.mark.parametrize("name", SUITES)
def test_what_is_right_passes(name: str, data: Path, tmp_path: Path) -> None:
    assert ruling(only(name, data), GOOD[name], tmp_path / "s") == ""


@jail
@pytest.mark.parametrize(
    ("name", "program", "why"),
    [
        ("humaneval", "def add1(x):\n    return 2", "candidate(1234): got 2, want 1235"),
        ("humaneval", "def other(x):\n    return x + 1", "got None"),
        ("humaneval", "def add1(x):\n    raise SystemExit(0)", "SystemExit"),
        ("humaneval", "import os\ndef add1(x):\n    os._exit(0)", "tests"),
        ("humaneval", "def add1(x):\n    return x + 1\n1 / 0", "ZeroDivisionError"),
        ("mbpp", "def twice(x):\n    return 4", "twice(2.5)"),
        ("quixbugs", QUIXBUGS["buggy"], "last(two)"),
        ("dabench", "print('@mean_a[2.51]')", "got '2.51', want '2.50'"),
        ("dabench", "print(2.5)", "not in the answer"),
        ("dabench", "print('@mean_a[2.5]'); 1 / 0", "not in the answer"),
        ("jobs", "open('out.txt', 'w').write('else')\nprint('done')", "out.txt is another one"),
        ("jobs", "open('out.txt', 'w').write(open('in.txt').read())", "it does not say so"),
        ("jobs", "print('done')", "FileNotFoundError"),
    ],
)
def test_what_is_wrong_does_not(name: str, program: str, why: str, data: Path, tmp_path: Path) -> None:
    assert why in ruling(only(name, data), program, tmp_path / "s")


def test_the_last_value_of_a_name_counts_and_numbers_may_be_close(data: Path) -> None:
    problem = only("dabench", data)
    with Judge() as judge:
        assert judge.what_is_wrong(problem, Made("", "@mean_a[1] no, @mean_a[2.5000001]")) == ""
        assert judge.what_is_wrong(problem, Made("", "@mean_a[2.5] no, @mean_a[mean]")) != ""


# --- a bench ---


def scripted(*codes: str, pause: float = 0.0) -> ScriptedModel:
    return ScriptedModel([f"```python\n{code}\n```" for code in codes], parameters=1.5, pause=pause)


class Stage:
    """Benches over the same tasks, into the same folder."""

    def __init__(self, problems: Sequence[Problem], out: Path) -> None:
        self.problems, self.out = problems, out

    def play(
        self, model: ScriptedModel, *, resume: bool = False, strategy: str | None = None, stop_in: str = ""
    ) -> list[Row]:
        """The rows of one bench, stopped in the task `stop_in`."""
        options = options_of("humaneval", self.problems, "scripted", strategy, Budget())
        results = Results(self.out, options, resume=resume)
        with Agent(model, apply=True, runs=self.out / "runs", strategy=strategy) as agent:
            bench = Bench(self.problems, agent, results)
            for step in bench.run():
                if isinstance(step, Heard) and step.problem.id == stop_in:
                    bench.cancel()
        results.close()
        return results.rows


@pytest.fixture
def stage(data: Path, tmp_path: Path) -> Stage:
    return Stage(load_problems("humaneval", data), tmp_path / "out")


@jail
def test_rows_tell_how_each_task_went(stage: Stage) -> None:
    model = scripted(RIGHT.format(n=1), WRONG.format(n=2), "def add3(x):\n    return y", RIGHT.format(n=3))
    rows = stage.play(model)
    assert [(r.task, r.solved, r.first_passed) for r in rows] == [
        ("HumanEval/1", True, True),
        ("HumanEval/2", False, False),
        ("HumanEval/3", True, False),
    ]
    assert {(r.outcome, r.author) for r in rows} == {("solved", "task")}
    assert [r.drafts for r in rows] == [1, 1, 2]
    assert (rows[1].error, rows[1].first_error) == ("hidden tests", "")
    assert "got 3, want 1236" in rows[1].why
    assert rows[2].first_error == "visible check, NameError"
    assert all(r.completion_tokens and (stage.out / "runs" / r.run / "trace.jsonl").exists() for r in rows)
    assert read_rows(stage.out) == rows


@jail
def test_hidden_tests_are_never_shown_to_the_model(stage: Stage) -> None:
    wrong = "def add1(x):\n    return 0"
    model = scripted(*[f"{wrong}  # {n}" for n in range(40)], *[f"def add1(x):\n    return {n}" for n in range(3, 60)])
    stage.problems = stage.problems[:1]
    stage.play(model)
    said = "\n".join(m.content for call in model.calls for m in call.messages)
    assert len(model.calls) > 2 and ">>> add1(1)" in said
    assert "1234" not in said and "1235" not in said


@jail
def test_an_answer_that_the_loop_refuses_is_not_handed_over(data: Path, tmp_path: Path) -> None:
    stage = Stage(load_problems("jobs", data / "jobs"), tmp_path / "out")
    rows = stage.play(scripted(*["raise ValueError('no')"] * 9))
    assert (rows[0].solved, rows[0].error, rows[0].outcome) == (False, "ValueError", "failed")
    assert (data / "jobs" / "01_copy" / "input" / "in.txt").read_text() == "text\n"


@jail
@pytest.mark.parametrize("name", ["dabench", "jobs"])
def test_tasks_with_files_work_on_copies(name: str, data: Path, tmp_path: Path) -> None:
    stage = Stage([only(name, data)], tmp_path / "out")
    (row,) = stage.play(scripted(GOOD[name]))
    assert row.solved and row.first_passed
    assert sorted(p.name for p in (data / "jobs" / "01_copy" / "input").iterdir()) == ["in.txt"]


@jail
def test_a_row_tells_when_agreement_changed_the_choice(data: Path, tmp_path: Path) -> None:
    problem = only("dabench", data)
    stage = Stage([problem], tmp_path / "out")
    (row,) = stage.play(scripted("print('@mean_a[7]')", GOOD["dabench"], GOOD["dabench"] + "\nx = 1"))
    assert row.solved and not row.first_passed
    assert (row.compared, row.agreed, row.rechosen) == (3, 2, True)
    found = summarise([row])
    assert (found.compared, found.rechosen, found.rechosen_well) == (1, 1, 1)


@jail
def test_a_stopped_bench_goes_on_where_it_was(stage: Stage) -> None:
    before = stage.play(scripted(RIGHT.format(n=1), RIGHT.format(n=2), pause=0.05), stop_in="HumanEval/2")
    assert [r.task for r in before] == ["HumanEval/1"]
    with (stage.out / "results.jsonl").open("a") as file:
        file.write('{"task": "HumanEval/2", "sol')  # as a kill in the middle of a line leaves it
    assert read_rows(stage.out) == before
    rows = stage.play(scripted(RIGHT.format(n=2), RIGHT.format(n=3)), resume=True)
    assert [(r.task, r.solved) for r in rows] == [("HumanEval/1", True), ("HumanEval/2", True), ("HumanEval/3", True)]
    assert read_rows(stage.out) == rows


@jail
def test_other_options_are_refused(stage: Stage, data: Path) -> None:
    model = scripted(RIGHT.format(n=1))
    stage.play(model, stop_in="HumanEval/2")
    with pytest.raises(ConfigError, match="holds results already"):
        stage.play(scripted())
    with pytest.raises(ConfigError, match="other options: policy was None, is 'plain'"):
        stage.play(scripted(), resume=True, strategy="plain")
    stage.problems = stage.problems[:2]
    with pytest.raises(ConfigError, match="tasks was 3, is 2"):
        stage.play(scripted(), resume=True)


@jail
def test_a_task_that_the_agent_does_not_take_is_named(stage: Stage) -> None:
    long = replace(stage.problems[0], text="x" * 70_000)
    stage.problems = [long]
    with pytest.raises(ConfigError, match="HumanEval/1: the task has 70000 bytes"):
        stage.play(scripted())


@jail
def test_a_prompt_that_the_model_refuses_is_a_task_that_is_not_solved(stage: Stage) -> None:
    stage.problems = [replace(stage.problems[0], text="word " * 9000), stage.problems[1]]
    rows = stage.play(scripted(RIGHT.format(n=2)))
    assert [(r.solved, r.outcome, r.error) for r in rows] == [(False, "gave_up", "no program"), (True, "solved", "")]


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first = Results(tmp_path, {})
    with pytest.raises(ConfigError, match="another bench writes"):
        Results(tmp_path, {})
    first.close()
    Results(tmp_path, {}).close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Results(tmp_path / "file" / "out", {})


@jail
def test_plain_is_one_draft_from_the_text_alone(stage: Stage) -> None:
    stage.problems = stage.problems[:2]
    model = scripted("def add1(x):\n    return sqrt(x)", RIGHT.format(n=2))
    rows = stage.play(model, strategy="plain")
    assert [(r.solved, r.drafts, r.repairs, r.mends) for r in rows] == [(False, 1, 0, 0), (True, 1, 0, 0)]
    assert [[m.role for m in call.messages] for call in model.calls] == [["user"], ["user"]]
    assert model.calls[0].messages[0].content == stage.problems[0].text
    assert model.calls[0].temperature == 0


# --- results ---


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("f(1): got 2, want 3", "visible check"),
        ("f(1): NameError: name 'x' is not defined", "visible check, NameError"),
        ("the tests: f: AssertionError", "visible check, AssertionError"),
        ("f(1): stopped (timeout)", "visible check, timeout"),
        ("f(1): got 'ValueError: x', want 3", "visible check"),
    ],
)
def test_the_class_of_a_failed_check_is_that_of_its_error(detail: str, told: str) -> None:
    assert _refused("visible check", detail) == told


def row(task: str, solved: bool, *, seconds: float = 1.0, error: str = "") -> Row:
    return Row(task, solved, "solved", "task", 1, 0, 0, 10, 20, seconds, solved, error, error, "", "run")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no json\n", "line 1 of .* is no result"),
        ('{"task": "a"}\n', "`solved` is not what it should be"),
        ("", "holds no result yet"),
        ('{"task": "a"', "holds no result yet"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "results.jsonl").write_text(line)
    with pytest.raises(ConfigError, match=told):
        read_rows(tmp_path)


def test_a_task_that_was_recorded_twice_is_refused(tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    results.add(row("a", True))
    results.add(row("a", False))
    results.close()
    with pytest.raises(ConfigError, match="holds the task a twice"):
        read_rows(tmp_path)


def test_tables_sum_up_by_what_went_wrong() -> None:
    rows = [row("a", True, seconds=2), row("b", False, error="KeyError"), row("c", False, error="KeyError", seconds=3)]
    found = summarise(rows)
    assert [(g.name, g.tasks, g.solved, g.seconds, g.longest) for g in found.groups] == [
        ("all", 3, 1, 2.0, 3),
        ("solved", 1, 1, 2.0, 2),
        ("first draft: KeyError", 2, 0, 2.0, 3),
        ("not solved: KeyError", 2, 0, 2.0, 3),
    ]
    assert (found.wrongly_solved, found.wrongly_failed) == (2, 0)


@pytest.mark.data
def test_comparison_pairs_the_tasks_that_both_hold() -> None:
    first = [row(str(n), n < 2) for n in range(12)]
    second = [row(str(n), n >= 2, seconds=3) for n in range(12)]
    found = compare([*first, row("x", True)], second)
    assert (found.tasks, found.unpaired, found.solved.first, found.solved.second) == (12, 1, 2, 10)
    assert found.solved.only_first == ("0", "1")
    assert found.solved.p == pytest.approx(158 / 4096)  # 2 * (1 + 12 + 66) / 2**12
    assert (found.tokens, found.seconds) == (1.0, 3.0)
    assert compare(first, first).solved.p == 1.0
    with pytest.raises(ConfigError, match="no task in common"):
        compare(first, [row("y", True)])


def test_rows_from_before_a_field_was_added_are_read(tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    results.add(row("a", True))
    results.close()
    old = json.loads(results.file.read_text())
    del old["escalated"]
    results.file.write_text(json.dumps(old) + "\n")
    assert read_rows(tmp_path) == [row("a", True)]


# --- the command ---


def command(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "agent", "bench", *map(str, args)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def replies(path: Path, *codes: str) -> str:
    path.write_text(json.dumps([f"```python\n{code}\n```" for code in codes]))
    return f"scripted:{path}"


@jail
@pytest.mark.data
def test_the_command_prints_a_table_and_compares(data: Path, tmp_path: Path) -> None:
    model = replies(tmp_path / "r.json", RIGHT.format(n=1), WRONG.format(n=2))
    done = command("humaneval", "--data", data, "--model", model, "--n", 2, "--out", "a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| all                      |     2 |      1 |  50.0% |           1 |" in done.stdout
    assert "called solved and is not: 1" in done.stdout
    assert "HumanEval/2: not solved" in done.stderr and "(1 of 2, 0:00:0" in done.stderr
    again = command("humaneval", "--data", data, "--model", model, "--n", 2, "--out", "a", "--resume", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    both = command("compare", "a", "a/results.jsonl", cwd=tmp_path)
    assert both.returncode == 0 and f"(humaneval, {model})" in both.stdout
    assert "| solved             | 1 | 1 |      0 |      0 | 1 |" in both.stdout


def profiled(path: Path, *replies: str, **profile: Any) -> str:
    path.write_text(json.dumps({"replies": replies, **profile}))
    return f"scripted:{path}"


BIG = {"name": "big", "parameters": 70, "prefill": False}
STEPS = "1. Read the column a of t.csv.\n2. Print its mean in the format asked for."
EDIT = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


@jail
def test_a_big_model_plans_and_repairs(data: Path, tmp_path: Path) -> None:
    right = GOOD["dabench"].splitlines()[0]
    wrong = right.replace(".readlines()", "")
    draft = f"```python\n{GOOD['dabench'].replace(right, wrong)}\n```"
    model = profiled(tmp_path / "r.json", STEPS, draft, EDIT.format(right, wrong), EDIT.format(wrong, right), **BIG)
    done = command("dabench", "--data", data, "--model", model, "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = read_rows(tmp_path / "o")
    assert (found.solved, found.drafts, found.repairs, found.escalated) == (True, 1, 2, False)
    events = load_run(found.run, tmp_path / "o" / "runs").events()
    assert [e["steps"] for e in events if e["event"] == "advised"] == [[s[3:] for s in STEPS.splitlines()]]
    prompts = [e["messages"][-1]["content"] for e in events if e["event"] == "prompted"]
    assert f"Steps:\n{STEPS}" in prompts[1]
    assert "TypeError" in prompts[2] and "<<<<<<< SEARCH" in prompts[2]
    assert "the edits could not be made" in prompts[3]


@jail
def test_a_bigger_model_goes_on_in_a_bench(data: Path, tmp_path: Path) -> None:
    little = replies(tmp_path / "r.json", RIGHT.format(n=1), "def add2(x):\n    return y")
    bigger = profiled(tmp_path / "b.json", EDIT.format("    return y", "    return x + 2"), **BIG)
    options = ("--data", data, "--n", 2, "--model", little, "--out", "o", "--drafts", 1, "--repairs", 1)
    done = command("humaneval", *options, "--escalate-model", bigger, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "o")
    assert [(r.solved, r.escalated) for r in rows] == [(True, False), (True, True)]
    assert "escalated: 1, of which 1 are solved" in done.stdout
    again = command("humaneval", *options, "--resume", cwd=tmp_path)
    assert again.returncode == 2 and "escalate_model was 'scripted:" in again.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("mbpp", "--data", "nowhere"), 2, "there is no folder nowhere"),
        (("mbpp", "--data", "data", "--policy", "clever"), 2, "there are: small, large, plain"),
        (("mbpp", "--data", "data", "--model", "gibt-es-nicht"), 2, "gibt-es-nicht"),
        (("mbpp", "--data", "data", "--planner-model", "gibt-es-nicht"), 2, "gibt-es-nicht"),
        (("mbpp", "--data", "data", "--policy", "plain", "--escalate-model", "p:x"), 2, "one draft of one model"),
        (("mbpp", "--data", "data", "--out", "data/mbpp_tiny.jsonl"), 2, "cannot be written"),
        (("compare", "data", "data"), 2, "there are no results in data"),
    ],
)
def test_bad_input_is_a_usage_error(args: tuple[str, ...], code: int, told: str, data: Path) -> None:
    done = command(*args, cwd=data.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr and "hint:" in done.stderr and "Traceback" not in done.stderr


@jail
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_loses_only_the_task_in_progress(data: Path, tmp_path: Path, number: int) -> None:
    hang = "import time\ntime.sleep(60)\n"
    model = replies(tmp_path / "r.json", RIGHT.format(n=1), RIGHT.format(n=2), hang + RIGHT.format(n=3))
    args = [str(a) for a in ("humaneval", "--data", data, "--model", model, "--out", tmp_path / "o")]
    line = [sys.executable, "-m", "agent", "bench", *args]
    bench = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end, rows = time.monotonic() + 60, tmp_path / "o" / "results.jsonl"
    while not rows.exists() or rows.read_bytes().count(b"\n") < 2:
        assert time.monotonic() < end and bench.poll() is None
        time.sleep(0.05)
    os.kill(bench.pid, number)
    out, err = bench.communicate(timeout=60)
    if number == signal.SIGINT:
        assert bench.returncode == 130
        assert "2 of 3 tasks" in out and "--resume goes on" in err
    replies(tmp_path / "r.json", RIGHT.format(n=3))
    done = command(*args, "--resume", cwd=tmp_path)
    assert done.returncode == 0 and "3 of 3 tasks" in done.stdout
    assert [(r.task, r.solved) for r in read_rows(tmp_path / "o")] == [(f"HumanEval/{n}", True) for n in (1, 2, 3)]


def test_every_benchmark_has_a_command() -> None:
    from agent.cli.bench import bench

    assert set(bench.commands) == {*SUITES, "compare"}


@jail
@pytest.mark.model
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no benchmarks in {SHARED}")
def test_the_embedded_model_solves_a_task(tmp_path: Path) -> None:
    done = command("mbpp", "--data", SHARED, "--n", 1, "--out", tmp_path / "o", "--drafts", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = read_rows(tmp_path / "o")
    assert found.task == "MBPP/2" and found.completion_tokens > 10 and found.solved
