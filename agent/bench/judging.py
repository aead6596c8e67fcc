"""What the hidden tests say of what a run handed over: in a sandbox of its own, after the loop has ended.

Covered: programs that end their process, run for ever, or print what tests print. Not covered: a program written to
fool these very tests, which run in one process with it, as in every benchmark of this kind.
"""

from __future__ import annotations

import re
import shutil
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import Execution, Policy, Sandbox, open_sandbox, open_session

from ..judge import answer_of, judge
from ..settings import load_settings
from ..task import Check
from .problems import Job, Problem, Tests, Values

__all__ = ["Judge", "Made", "lay_out"]

_SECONDS = 30.0
"""Wall-clock seconds that a program may take, and then its tests."""
_CHECK_SECONDS = 120.0
"""Wall-clock seconds of a job's `check.py`."""
_WHY = 300
"""Characters of the reason that are kept."""
_VALUE = re.compile(r"@(\w+)\[(.*?)\]")
_CLOSE = 1e-6
_RUN_CHECK = """
import runpy, sys
sys.argv, said = ["check.py", "work", "stdout.txt"], None
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    said = end.code
said or 0
"""


@dataclass(frozen=True, slots=True)
class Made:
    """What a run handed over."""

    program: str
    answer: str = ""
    """What it printed, if it ran to its end."""
    folder: Path | None = None
    """The working folder, with what was written to it; None for a task without one."""


def lay_out(problem: Problem, scratch: Path) -> Path | None:
    """The working folder: `work` in the empty folder `scratch`, with copies of the inputs; None for a task without."""
    if not problem.inputs and not isinstance(problem.hidden, Job):
        return None
    work = scratch / "work"
    work.mkdir()
    for path in problem.inputs:
        if path.is_dir():
            shutil.copytree(path, work / path.name, symlinks=True)
        else:
            shutil.copy2(path, work / path.name)
    return work


class Judge(AbstractContextManager["Judge"]):
    """Judges in fresh sessions of a warm sandbox. Its methods raise `SandboxUnavailable` where there is none."""

    def __init__(self) -> None:
        self._policy = Policy(history=0, wall_seconds=_SECONDS, minimum_tier=load_settings().minimum_tier)
        self._box: Sandbox | None = None

    def __exit__(self, *exc: object) -> None:
        if self._box is not None:
            self._box.close()

    def run(self, problem: Problem, program: str, scratch: Path) -> Made:
        """What `program` hands over when it is run afresh, in the empty folder `scratch`."""
        if isinstance(problem.hidden, Tests):
            return Made(program)
        work = lay_out(problem, scratch)
        with open_session(workspace=work, policy=self._policy) as session:
            execution = session.execute(program)
            if execution.ok and isinstance(problem.hidden, Job):
                session.changes().apply()
        return Made(program, answer_of(execution) if execution.ok else "", work)

    def what_is_wrong(self, problem: Problem, made: Made) -> str:
        """Why the hidden tests refuse it; empty when they hold."""
        match problem.hidden:
            case Tests() as tests:
                wrong = self._tests(tests, made.program)
            case Values(pairs):
                wrong = _values(pairs, made.answer)
            case Job(folder):
                wrong = self._job(folder, made)
        return wrong[:_WHY]

    def _tests(self, tests: Tests, program: str) -> str:
        if self._box is None:
            self._box = open_sandbox(policy=self._policy)
        with closing(self._box.open()) as session:
            if tests.before:
                session.execute(tests.before, on_error="keep")
            execution = session.execute(program, on_error="keep")
            if not execution.ok:
                return f"it did not run to its end: {_end(execution)}"
            verdict = judge(session, execution, [Check("tests", tests.source)], changed=lambda: False)
        return "" if verdict.passed else verdict.results[0].detail

    def _job(self, job: Path, made: Made) -> str:
        """What `check.py` says, run beside a copy of the job: what it reads was written by the program."""
        assert made.folder is not None
        scratch, copy = made.folder.parent, made.folder.parent / "jobs" / job.name
        shutil.copytree(job, copy, symlinks=True)
        for module in job.parent.glob("*.py"):
            shutil.copy(module, copy.parent)
        (scratch / "stdout.txt").write_text(made.answer, "utf-8", "replace")
        policy = replace(self._policy, wall_seconds=_CHECK_SECONDS)
        with open_session(workspace=scratch, policy=policy) as session:
            execution = session.execute(_RUN_CHECK.format(path=f"jobs/{job.name}/check.py"))
        if execution.ok and execution.value == "0":
            return ""
        return answer_of(execution).strip() or f"check.py: {_end(execution)}"


def _end(execution: Execution) -> str:
    error = execution.error
    return f"{error.type}: {error.message}" if error else execution.status


def _values(pairs: tuple[tuple[str, str], ...], answer: str) -> str:
    """Which value of the answer is wrong or not there; empty when every one is right."""
    given = dict(_VALUE.findall(answer))
    for name, want in pairs:
        if name not in given:
            return f"@{name}: not in the answer"
        if not _equal(given[name], want):
            return f"@{name}: got {given[name]!r}, want {want!r}"
    return ""


def _equal(given: str, want: str) -> bool:
    if given == want:
        return True
    try:
        return abs(float(given) - float(want)) < _CLOSE
    except ValueError:
        return False
