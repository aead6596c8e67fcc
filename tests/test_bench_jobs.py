"""`sandsmith bench --jobs K`: tasks side by side, which share a model and leave each other alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_bench import RIGHT, WRONG, command, humaneval, profiled, row, write_lines
from test_cli_display import Terminal

from agent import Agent, Budget, ConfigError, ModelUnavailable
from agent.bench.problems import Problem
from agent.bench.results import Results, Row, options_of, read_rows
from agent.bench.running import Bench, Heard
from agent.bench.suites import load_problems
from agent.cli import bench as shown
from agent.events import Drafted, Finished, Started, Tokens
from agent.models.base import Completion, Message
from agent.models.scripted import ScriptedModel
from agent.store import list_runs
from agent.task import RunResult
from sandbox import SandboxUnavailable

jail = pytest.mark.jail
TASKS = (1, 2, 3)
SLOW = 600
"""Words of a reply that nobody waits for."""
LIMITED = Budget(drafts=1, repairs=0, seconds=4)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


class ByTask(ScriptedModel):
    """Answers each task by a script of its own. `entered` is called with the task before each reply."""

    def __init__(self, scripts: dict[str, ScriptedModel], entered: Callable[[str], object] = lambda task: None) -> None:
        super().__init__([], parameters=1.5)
        self.scripts, self.entered = scripts, entered

    def complete(self, messages: Sequence[Message], **options: Any) -> list[Completion]:
        [task] = [name for name in self.scripts if f"def {name}(" in messages[-1].content]
        self.entered(task)
        return self.scripts[task].complete(messages, **options)

    def cancel(self) -> None:
        for script in self.scripts.values():
            script.cancel()


def model_of(*codes: str, entered: Callable[[str], object] = lambda task: None) -> ByTask:
    """One reply for each task, by its number."""
    scripts = {f"add{n}": ScriptedModel([fenced(code.format(n=n))] * 9) for n, code in enumerate(codes, 1)}
    return ByTask(scripts, entered)


def slow(model: ByTask, *names: str) -> ByTask:
    """`model`, which takes for ever to answer these tasks."""
    for name in names:
        model.scripts[name] = ScriptedModel(["word " * SLOW] * 99, pause=0.1)
    return model


class Stage:
    def __init__(self, root: Path) -> None:
        self.out = root / "out"
        root.mkdir(exist_ok=True)
        write_lines(root / "humaneval.jsonl", *map(humaneval, TASKS))
        self.problems: Sequence[Problem] = load_problems("humaneval", root)

    def play(
        self,
        model: ScriptedModel,
        parallel: int = 3,
        *,
        resume: bool = False,
        on_step: Callable[[Bench, Heard | Row], None] = lambda bench, step: None,
    ) -> list[Row]:
        options = options_of("humaneval", self.problems, "scripted", None, Budget(), parallel)
        results = Results(self.out, options, resume=resume)
        try:
            with Agent(model, runs=self.out / "runs", parallel=parallel, budget=Budget(drafts=2, repairs=0)) as agent:
                bench = Bench(self.problems, agent, results, parallel=parallel)
                for step in bench.run():
                    on_step(bench, step)
        finally:
            results.close()
        return results.rows

    def statuses(self) -> list[str]:
        return sorted(run.status for run in list_runs(self.out / "runs"))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "stage")


def told(rows: Sequence[Row]) -> list[Row]:
    """Rows without what differs from run to run."""
    return sorted((replace(r, seconds=0.0, run="") for r in rows), key=lambda r: r.task)


@jail
def test_tasks_go_on_at_once_and_end_as_they_would_alone(stage: Stage, tmp_path: Path) -> None:
    programs = (RIGHT, WRONG, "def add{n}(x):\n    return y")
    together, names = threading.Barrier(3), set[str]()

    def entered(task: str) -> None:
        if task not in names:
            names.add(task)
            together.wait(60)  # broken unless all three are in progress

    rows = stage.play(model_of(*programs, entered=entered))
    assert sorted(r.task for r in rows) == [f"HumanEval/{n}" for n in TASKS]
    assert read_rows(stage.out) == rows
    alone = Stage(tmp_path / "alone").play(model_of(*programs), parallel=1)
    assert told(rows) == told(alone)
    assert [r.solved for r in told(rows)] == [True, False, False]


@jail
def test_no_more_than_were_asked_for_go_on_at_once(stage: Stage) -> None:
    begun, most = set[str](), list[int]()

    def on_step(bench: Bench, step: Heard | Row) -> None:
        if isinstance(step, Row):
            begun.discard(step.task)
        elif isinstance(step.event, Started):
            begun.add(step.problem.id)
            most.append(len(begun))

    assert len(stage.play(model_of(RIGHT, RIGHT, RIGHT), parallel=2, on_step=on_step)) == 3
    assert max(most) == 2


@jail
def test_a_stopped_bench_keeps_what_has_ended_and_goes_on(stage: Stage) -> None:
    def stop(bench: Bench, step: Heard | Row) -> None:
        if isinstance(step, Row):
            bench.cancel()

    before = stage.play(slow(model_of(RIGHT, RIGHT, RIGHT), "add1", "add3"), on_step=stop)
    assert [r.task for r in before] == ["HumanEval/2"]
    assert stage.statuses() == ["interrupted", "interrupted", "solved"]
    model = model_of(RIGHT, RIGHT, RIGHT)
    rows = stage.play(model, resume=True)
    assert sorted(r.task for r in rows) == [f"HumanEval/{n}" for n in TASKS] and all(r.solved for r in rows)
    assert not model.scripts["add2"].calls
    assert read_rows(stage.out) == rows
    with pytest.raises(ConfigError, match="jobs was 3, is None"):
        stage.play(model, parallel=1, resume=True)


@jail
def test_whoever_leaves_the_bench_stops_its_tasks(stage: Stage) -> None:
    class Left(Exception):
        pass

    def leave(bench: Bench, step: Heard | Row) -> None:
        raise Left

    with pytest.raises(Left):
        stage.play(slow(model_of(RIGHT, RIGHT, RIGHT), "add1", "add2", "add3"), on_step=leave)
    assert {run.status for run in list_runs(stage.out / "runs")} <= {"interrupted"}
    assert not [thread for thread in threading.enumerate() if thread.name == "sandsmith-bench"]


@jail
def test_an_error_of_the_model_ends_the_bench_once_the_others_are_stopped(stage: Stage) -> None:
    begun = threading.Barrier(3)

    def entered(task: str) -> None:
        begun.wait(60)

    model = slow(model_of(RIGHT, RIGHT, RIGHT, entered=entered), "add1", "add3")
    model.scripts["add2"] = ScriptedModel([])
    with pytest.raises(ModelUnavailable, match="the script has 0 replies"):
        stage.play(model)
    assert stage.statuses() == ["gave_up", "interrupted", "interrupted"]
    assert (stage.out / "results.jsonl").read_text() == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "sandsmith-bench"]


@jail
def test_an_error_of_the_judge_ends_the_bench(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise SandboxUnavailable("no more namespaces")

    monkeypatch.setattr("agent.bench.judging.open_sandbox", refuse)
    with pytest.raises(SandboxUnavailable, match="no more namespaces"):
        stage.play(slow(model_of(RIGHT, RIGHT, RIGHT), "add1"))
    assert (stage.out / "results.jsonl").read_text() == ""


# --- tasks that share a model ---


class Held:
    """A task that is solved in a thread: its reply has begun, and goes on when it may."""

    def __init__(self, agent: Agent, model: ByTask, problem: Problem) -> None:
        self.ends: list[Finished] = []
        self._begun, self._go_on = threading.Event(), threading.Event()
        model.scripts["add2"].complete = self._holding(model.scripts["add2"].complete)
        self._thread = threading.Thread(target=self._solve, args=(agent, problem), daemon=True)
        self._thread.start()
        assert self._begun.wait(60)

    def end(self) -> RunResult:
        self._go_on.set()
        self._thread.join(60)
        return self.ends[0].result

    def _solve(self, agent: Agent, problem: Problem) -> None:
        self.ends += [event for event in agent.stream(problem.text) if isinstance(event, Finished)]

    def _holding(self, complete: Callable[..., list[Completion]]) -> Callable[..., list[Completion]]:
        def held(*args: Any, on_token: Callable[[str], None], **options: Any) -> list[Completion]:
            def wait(piece: str) -> None:
                self._begun.set()
                self._go_on.wait(60)
                on_token(piece)

            return complete(*args, on_token=wait, **options)

        return held


@jail
def test_the_time_limit_of_one_task_leaves_the_calls_of_another(stage: Stage, tmp_path: Path) -> None:
    model = slow(model_of(RIGHT, RIGHT), "add1")
    with Agent(model, runs=tmp_path / "a") as agent, Agent(model, runs=tmp_path / "b", budget=LIMITED) as limited:
        other = Held(agent, model, stage.problems[1])
        events = list(limited.stream(stage.problems[0].text))
        assert [e.problem for e in events if isinstance(e, Drafted)] == ["its time was over"]
        result = other.end()
    assert (result.outcome, result.drafts) == ("solved", 1)


@jail
def test_a_task_that_is_cancelled_leaves_the_calls_of_another(stage: Stage, tmp_path: Path) -> None:
    model = slow(model_of(RIGHT, RIGHT), "add1")
    with Agent(model, runs=tmp_path / "runs", parallel=2) as agent:
        other = Held(agent, model, stage.problems[1])
        first = agent.stream(stage.problems[0].text)
        for event in first:
            if isinstance(event, Tokens):
                break
        first.close()
        result = other.end()
    assert (result.outcome, result.drafts) == ("solved", 1)


# --- the command ---

ALL = "\n".join(RIGHT.format(n=n) for n in TASKS)


@jail
def test_the_command_tries_tasks_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "data")
    model = profiled(tmp_path / "r.json", *[fenced(ALL)] * 9, parameters=1.5)
    options = ("humaneval", "--data", stage.out.parent, "--model", model, "--out", "o")
    done = command(*options, "--jobs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 tasks" in done.stdout
    assert sorted(r.task for r in read_rows(tmp_path / "o")) == [f"HumanEval/{n}" for n in TASKS]
    assert json.loads((tmp_path / "o" / "bench.json").read_text())["jobs"] == 2
    again = command(*options, "--resume", cwd=tmp_path)
    assert again.returncode == 2 and "jobs was 2, is None" in again.stderr


@pytest.mark.parametrize(("jobs", "told"), [("0", "0 is not in the range"), ("33", "possible are 1 to 32")])
def test_bad_numbers_are_refused(jobs: str, told: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "data")
    done = command("humaneval", "--data", stage.out.parent, "-j", jobs, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and told in done.stderr


def test_the_time_left_counts_what_goes_on_at_once(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    now, lines = [0.0], list[str]()
    monkeypatch.setattr("agent.cli.bench.time.monotonic", lambda: now[0])
    monkeypatch.setattr("agent.cli.bench.note", lines.append)
    display = shown._Lines(total=9, done=0, jobs=3)
    for problem in stage.problems:
        display.show(Heard(problem, Started(0.0, "run", "text", "model", "jail")))
    for seconds, n in ((10.0, 1), (20.0, 2)):
        now[0] = seconds
        display.show(row(f"HumanEval/{n}", True))
    assert [line.rpartition("(")[2] for line in lines] == ["1 of 9, 0:00:27 left)", "2 of 9, 0:00:35 left)"]


@jail
def test_a_terminal_shows_how_many_go_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "data")
    model = profiled(tmp_path / "r.json", *[fenced(ALL)] * 9, parameters=1.5, pause=0.05)
    args = ("-m", "agent", "bench", "humaneval", "--data", stage.out.parent, "--model", model, "--jobs", 2)
    terminal = Terminal([*map(str, args)], tmp_path)
    try:
        terminal.wait_for("2 at once")
        assert terminal.end() == 0
    finally:
        terminal.close()
    assert "HumanEval/3: solved" in terminal.text
