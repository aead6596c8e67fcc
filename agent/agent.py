"""The `Agent`: one task in, events out."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from sandbox import Policy, Session, choose_kind
from sandbox.packages import load_set
from sandbox.scratch import Scratch

from .errors import ConfigError, RunFailed
from .events import Event, Finished
from .live import Live, live_in
from .loop import Job, Setup
from .models import Model
from .models.lazy import LazyModel
from .policy import find_strategy
from .settings import load_settings
from .store import RunFolder, create_run
from .task import Budget, Check, RunResult, Task
from .trace import Trace
from .view import View, make_view

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["MOST_PARALLEL", "Agent"]

MOST_PARALLEL = 32
"""Tasks that may be solved at once."""
_LONGEST_TASK = 64 * 1024
"""Bytes."""
_LARGEST_INPUT = 16 * 1024 * 1024
"""Bytes of a file from elsewhere that is kept with the run, so that it can be replayed."""
_PATIENCE = 10.0
"""Seconds that a cancelled task gets to end by itself."""
_TICK = 0.2


@dataclass(frozen=True, slots=True)
class _End:
    """The job's thread is through."""

    error: BaseException | None


class Agent:
    """Turns tasks into programs that were run and checked.

    `model` is what `agent.models.open_model` takes: a name (None: the default model), or a model of the caller's own,
    which the agent does not close.
    `sandbox` is one of `sandbox.KINDS` (None: as in `open_sandbox`).
    `runs` says where runs are kept: True for the user's data folder, a path, or False for a temporary folder that
    goes with the agent (and with it the changes of its results). With `apply`, the changes of a program that passed
    are written to the folder at once. `strategy` is one of `agent.policy.STRATEGIES` (None: by the model's size).
    `planner_model` and `escalate_model` are models like `model`, opened when they are needed and closed with the agent:
    the first writes the steps of a plan before the first draft; the second goes on, as its own size demands, when
    `model` has given up. `stream` and `run` may be called from several threads; an embedded model then works on
    `parallel` tasks at once (1 to 32, each with a context of its own). Raises `ConfigError` for arguments that cannot
    be.
    """

    def __init__(
        self,
        model: Model | BaseChatModel | str | None = None,
        *,
        sandbox: str | None = None,
        policy: Policy | None = None,
        budget: Budget | None = None,
        apply: bool = False,
        runs: bool | Path = True,
        strategy: str | None = None,
        planner_model: Model | BaseChatModel | str | None = None,
        escalate_model: Model | BaseChatModel | str | None = None,
        parallel: int = 1,
    ) -> None:
        _check_parallel(parallel)
        self._model = LazyModel(model, parallel=parallel)
        self._planner = _second(planner_model, parallel, self._model)
        self._bigger = _second(escalate_model, parallel, self._model, self._planner)
        self._sandbox, self._budget = sandbox and choose_kind(sandbox), budget or Budget()
        self._policy = policy or Policy(minimum_tier=load_settings().minimum_tier)
        self._apply, self._strategy = apply, find_strategy(strategy) if strategy else None
        if self._strategy and self._strategy.plain and (self._planner or self._bigger):
            raise ConfigError("the policy `plain` is one draft of one model", hint="leave out the second model")
        self._runs = self._runs_folder(runs)
        self._jobs: set[_Running] = set()

    def stream(
        self,
        task: Task | str,
        files: Sequence[str | Path] = (),
        folder: str | Path | None = None,
        checks: Sequence[Check | str] = (),
        *,
        session: Session | None = None,
        recap: str = "",
    ) -> Generator[Event]:
        """The events of solving `task`, the last one `Finished`. A check given as text is an expression.

        Without a `folder` the program sees the folder of the `files`, or an empty one. With a `session` the task goes
        on in that: programs are tried in branches of it and the first that passes is adopted, as one step; otherwise
        the session stays as it is. `recap` tells the model what was done in it before. Closing the iterator ends the
        task. Raises `ConfigError` at once for a task that cannot be taken; `ModelUnavailable`, `ModelRejected` and
        `SandboxUnavailable` come while it goes on.
        """
        whole = _task(task, files, folder, checks)
        if session is None:
            return self._events(whole, make_view(whole))
        if whole.folder is not None:
            raise ConfigError("a task in a session has the folder of that session", hint="leave out the folder")
        return self._events(whole, View(names=tuple(map(str, whole.files))), live_in(session, recap))

    def run(
        self,
        task: Task | str,
        files: Sequence[str | Path] = (),
        folder: str | Path | None = None,
        checks: Sequence[Check | str] = (),
    ) -> RunResult:
        """Solve `task` and return what came out; arguments and errors as in `stream`."""
        result: RunResult | None = None
        with contextlib.closing(self.stream(task, files, folder, checks)) as events:
            for event in events:
                if isinstance(event, Finished):
                    result = event.result
        if result is None:
            raise RunFailed("the task ended without a result")
        return result

    def cancel(self) -> None:
        """Stop the model and the program of every task in progress, from any thread; they finish as `interrupted`."""
        for running in tuple(self._jobs):
            running.job.cancel()

    def close(self) -> None:
        """End the tasks in progress and free the models that this agent opened."""
        self.cancel()
        for model in (self._model, self._planner, self._bigger):
            if model is not None:
                model.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _runs_folder(self, runs: bool | Path) -> Path | None:
        if runs is True:
            return None
        if runs:
            return Path(runs)
        scratch = Scratch()
        weakref.finalize(self, scratch.close)
        return scratch.path

    def _events(self, task: Task, view: View, live: Live | None = None) -> Generator[Event]:
        running = _Running(self._setup(), task, view, create_run(self._runs), live)
        self._jobs.add(running)
        try:
            yield from running.events()
        finally:
            running.stop()
            self._jobs.discard(running)

    def _setup(self) -> Setup:
        limits = (self._policy, self._budget)
        return Setup(
            self._model, self._sandbox, *limits, self._apply, self._strategy, planner=self._planner, bigger=self._bigger
        )


class _Running:
    """A job in a thread of its own, so that events come while the model writes and a cancelled task can be left."""

    def __init__(self, setup: Setup, task: Task, view: View, folder: RunFolder, live: Live | None) -> None:
        self._queue: queue.SimpleQueue[Event | _End] = queue.SimpleQueue()
        self._folder = folder
        self.job = Job(setup, task, view, folder, self._emit, live)
        _keep_inputs(view, folder)
        packages = load_set(setup.policy.packages) if setup.policy.packages else None
        used = {"model": setup.model.name, "sandbox": setup.sandbox, "budget": setup.budget, "packages": packages}
        used |= {"planner_model": setup.planner and setup.planner.name}
        used |= {"escalate_model": setup.bigger and setup.bigger.name}
        strategy = setup.strategy and setup.strategy.name
        folder.save_task(task, **used, strategy=strategy, live=live is not None)
        self._trace = Trace(folder.trace)
        self._thread = threading.Thread(target=self._work, name=f"sandsmith-{folder.id}", daemon=True)

    def events(self) -> Generator[Event]:
        """Every event of the job. Raises what ended it."""
        self._thread.start()
        while not isinstance(event := self._next(), _End):
            yield event
        if event.error is not None:
            raise event.error

    def stop(self) -> None:
        """Cancel the job unless it is through, and wait for its thread, but not for ever: a model may be deaf."""
        for _ in range(int(_PATIENCE / _TICK)):
            if not self._thread.is_alive():
                return
            self.job.cancel()
            self._thread.join(_TICK)

    def _next(self) -> Event | _End:
        while True:
            try:
                return self._queue.get(timeout=_TICK)
            except queue.Empty:
                self.job.renew_cancel()

    def _emit(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._folder.save_result(event.result)
        self._trace.write(event)
        self._queue.put(event)

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            self.job.run()
        except BaseException as caught:  # handed to the reader's thread, where it is raised
            error = caught
            result = self.job.broken(caught)
            self._folder.save_result(result.result)
            self._trace.write(result)
        finally:
            self._trace.close()
            self._queue.put(_End(error))


def _check_parallel(parallel: int) -> None:
    if not 1 <= parallel <= MOST_PARALLEL:
        raise ConfigError(f"{parallel} tasks cannot be solved at once", hint=f"possible are 1 to {MOST_PARALLEL}")


def _second(model: Model | BaseChatModel | str | None, parallel: int, *others: LazyModel | None) -> LazyModel | None:
    """A second model: one of the others where it has the same name, so that nothing is loaded twice."""
    if model is None:
        return None
    lazy = LazyModel(model, checked=True, parallel=parallel)
    return next((one for one in others if one is not None and lazy.spec and one.spec == lazy.spec), lazy)


def _task(
    task: Task | str, files: Sequence[str | Path], folder: str | Path | None, checks: Sequence[Check | str]
) -> Task:
    """The whole task, its text and checks found acceptable."""
    base = Task(task) if isinstance(task, str) else task
    _check_text(base.text)
    given = tuple(Check("expression", c) if isinstance(c, str) else c for c in checks)
    whole = Task(
        base.text,
        Path(folder).absolute() if folder is not None else base.folder,
        (*base.files, *map(Path, files)),
        (*base.checks, *given),
        base.program,
    )
    for check in whole.checks:
        _check_source(check)
    return whole


def _check_text(text: str) -> None:
    if not text.strip():
        raise ConfigError("the task is empty", hint="say in a sentence what is to be done")
    if "\0" in text:
        raise ConfigError("the task holds a NUL byte")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ConfigError("the task holds characters that are no valid Unicode") from None
    if size > _LONGEST_TASK:
        raise ConfigError(f"the task has {size} bytes, more than {_LONGEST_TASK}", hint="put the data into a file")


def _check_source(check: Check) -> None:
    """A check that does not parse would fail every program."""
    if check.kind not in ("expression", "tests"):
        return
    try:
        compile(check.text.strip(), "<check>", "eval" if check.kind == "expression" else "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        what = "a Python expression, such as `total == 42`" if check.kind == "expression" else "Python"
        raise ConfigError(f"the check {check.text[:80]!r} is not {what}: {error}") from None


def _keep_inputs(view: View, folder: RunFolder) -> None:
    """Files from elsewhere may be gone when the run is replayed."""
    for path in view.inputs:
        with contextlib.suppress(OSError):
            if path.stat().st_size <= _LARGEST_INPUT:
                folder.inputs.mkdir(mode=0o700, exist_ok=True)
                shutil.copyfile(path, folder.inputs / path.name)
