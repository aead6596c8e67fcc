"""Tries the tasks of a benchmark as `sandsmith run` would, some side by side, and judges what came out."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sandbox import Execution
from sandbox.scratch import Scratch

from ..agent import Agent
from ..errors import ConfigError, ModelRejected
from ..events import Drafted, Escalated, Event, Executed, Finished, Judged, Mended, ModelLoaded
from ..task import RunResult, Task, Verdict
from .judging import Judge, Made, lay_out
from .problems import Problem, Tests
from .results import Results, Row

__all__ = ["Bench", "Heard"]

_RAISED = re.compile(r": (?:(?P<type>[A-Z]\w{1,30}(?:Error|Exception|Exit))(?::|\Z)|stopped \((?P<limit>\w+)\))")
"""The type of an error, or the limit, as the judge tells it."""
_PATIENCE = 10.0
"""Seconds that cancelled tasks get to end by themselves: a model may be deaf."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something happened while a task was tried."""

    problem: Problem
    event: Event


@dataclass(frozen=True, slots=True)
class _End:
    """A worker is through; `error` is what ended it early."""

    error: BaseException | None = None


class Bench:
    """Tries those of `problems` that `results` does not hold yet, `parallel` at once.

    `agent` applies the changes of what passes; its own `parallel` says how many of its calls a model answers at once.
    """

    def __init__(self, problems: Sequence[Problem], agent: Agent, results: Results, *, parallel: int = 1) -> None:
        self._agent, self._results, self._parallel = agent, results, parallel
        done = {row.task for row in results.rows}
        self.left = [problem for problem in problems if problem.id not in done]
        self._todo = iter(self.left)
        self._next = threading.Lock()
        self._steps: queue.SimpleQueue[Heard | Row | _End] = queue.SimpleQueue()
        self._cancelled = threading.Event()

    def run(self) -> Generator[Heard | Row]:
        """What happens, and a row for each task that was tried, which is on the disk by then. Use it once.

        Raises `ModelUnavailable` and `SandboxUnavailable`, and `ConfigError` for a model that does not exist, once the
        other tasks in progress have been stopped.
        """
        workers = [threading.Thread(target=self._work, name="sandsmith-bench", daemon=True) for _ in range(self._most)]
        for worker in workers:
            worker.start()
        try:
            yield from self._follow(len(workers))
        finally:
            self.cancel()
            for worker in workers:
                worker.join(_PATIENCE)

    def cancel(self) -> None:
        """Stop, from any thread. The tasks in progress are not recorded."""
        self._cancelled.set()
        self._agent.cancel()

    @property
    def _most(self) -> int:
        """Tasks that are tried at once."""
        return min(self._parallel, len(self.left))

    def _follow(self, working: int) -> Generator[Heard | Row]:
        """What the workers tell, until all are through. Raises what ended the first of them."""
        error: BaseException | None = None
        while working:
            step = self._steps.get()
            if isinstance(step, _End):
                working -= 1
                if step.error is not None and error is None:
                    error = step.error
                    self.cancel()
            elif error is not None or not self._cancelled.is_set():
                if isinstance(step, Row):
                    self._results.add(step)
                yield step
        if error is not None:
            raise error

    def _work(self) -> None:
        """Try one task after the other, until none is left or they are cancelled."""
        try:
            with Judge() as judge:
                while (problem := self._take()) is not None:
                    if row := self._try(problem, judge):
                        self._steps.put(row)
        except BaseException as error:  # raised where the steps are read
            self._steps.put(_End(error))
        else:
            self._steps.put(_End())

    def _take(self) -> Problem | None:
        with self._next:
            return None if self._cancelled.is_set() else next(self._todo, None)

    def _try(self, problem: Problem, judge: Judge) -> Row | None:
        """The row of one task, None when it was cancelled."""
        story = _Story()
        with Scratch() as scratch:
            work = lay_out(problem, scratch)
            try:
                with closing(self._begin(problem, work)) as events:
                    for event in events:
                        story.take(event)
                        self._steps.put(Heard(problem, event))
                        if self._cancelled.is_set():  # maybe before the agent knew of this task
                            break
            except ModelRejected as error:
                story.result = RunResult("gave_up", reason=str(error))
            if self._cancelled.is_set() or story.result is None:
                return None
            return _row(problem, story, judge, work)

    def _begin(self, problem: Problem, work: Path | None) -> Generator[Event]:
        files = tuple(work / name for name in problem.files) if work else ()
        try:
            return self._agent.stream(Task(problem.text, work, files))
        except ConfigError as error:  # of the task: it is too long, say
            raise ConfigError(f"{problem.id}: {error}", hint=error.hint) from None


class _Story:
    """What has to be remembered of the events of one task."""

    def __init__(self) -> None:
        self.result: RunResult | None = None
        self.loading = 0.0
        self.escalated = False
        self.mends = 0
        self.first = ""
        """The first draft, as the model wrote it."""
        self.first_execution: Execution | None = None
        self.first_verdict: Verdict | None = None

    def take(self, event: Event) -> None:
        match event:
            case Finished(result=result):
                self.result = result
            case ModelLoaded(seconds=seconds):
                self.loading += seconds
            case Escalated():
                self.escalated = True
            case Mended():
                self.mends += 1
            case Drafted(attempt=1, program=program) if program is not None:
                self.first = program.code
            case Executed(attempt=1, execution=execution):
                self.first_execution = execution
            case Judged(attempt=1, verdict=verdict):
                self.first_verdict = verdict
            case _:
                pass


def _row(problem: Problem, story: _Story, judge: Judge, work: Path | None) -> Row:
    result = story.result
    assert result is not None
    wrong = _judged(problem, result, judge, work)
    first_wrong = wrong if _is_first(result, story) else _first_judged(problem, story.first, judge)
    error = _failure(result.execution, result.verdict) or _refused("hidden tests", wrong)
    return Row(
        task=problem.id,
        solved=not wrong,
        outcome=result.outcome,
        author=result.verdict.author if result.verdict else "none",
        drafts=result.drafts,
        repairs=result.repairs,
        mends=story.mends,
        prompt_tokens=result.usage.prompt_tokens,
        completion_tokens=result.usage.completion_tokens,
        seconds=round(max(0.0, result.seconds - story.loading), 3),
        first_passed=not first_wrong,
        first_error=_failure(story.first_execution, story.first_verdict),
        error=error if wrong else "",
        why=wrong,
        run=result.run_id,
        compared=result.agreement.compared if result.agreement else 0,
        agreed=result.agreement.agreed if result.agreement else 0,
        rechosen=result.agreement is not None and result.agreement.changed,
        escalated=story.escalated,
    )


def _judged(problem: Problem, result: RunResult, judge: Judge, work: Path | None) -> str:
    """What is wrong with what was handed over. A function is judged whatever the loop says of it; where an answer or
    files were asked for, a program that did not pass has handed over nothing, as with `sandsmith run --apply`."""
    if result.program is None:
        return result.reason or "there is no program"
    if not isinstance(problem.hidden, Tests) and not result.ok:
        return result.reason or "no program passed"
    return judge.what_is_wrong(problem, Made(result.program.code, result.answer, work))


def _first_judged(problem: Problem, program: str, judge: Judge) -> str:
    if not program:
        return "there is no program"
    with Scratch() as scratch:
        return judge.what_is_wrong(problem, judge.run(problem, program, scratch))


def _is_first(result: RunResult, story: _Story) -> bool:
    """Whether what was judged is the first draft."""
    return result.ok and result.program is not None and result.program.code == story.first


def _failure(execution: Execution | None, verdict: Verdict | None) -> str:
    """The class of what the loop saw go wrong with a program; empty when it saw nothing."""
    if execution is None:
        return "no program"
    if not execution.ok:
        return execution.error.type[:40] if execution.error and execution.status == "error" else execution.status
    failed = [r.detail for r in verdict.results if not r.passed] if verdict is not None else [""]
    return _refused("visible check", failed[0]) if failed else ""


def _refused(by: str, detail: str) -> str:
    """What refused a program, with the type of the error or the limit if it was not a wrong value."""
    raised = _RAISED.search(detail)
    return f"{by}, {raised['type'] or raised['limit']}" if raised else by
