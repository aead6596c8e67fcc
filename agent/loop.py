"""One task from its plan to its result: write, execute in a fresh session, judge, decide; the best program is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

import sandbox
from sandbox import Changes, Execution, Policy, Sandbox, Session

from .errors import ConfigError
from .events import (
    Drafted,
    Event,
    Executed,
    Finished,
    Judged,
    Mended,
    ModelLoaded,
    Planned,
    Progressed,
    Prompted,
    Started,
    Tokens,
)
from .extract import extract
from .facts import Facts, look
from .feedback import explain
from .judge import answer_of, judge
from .mend import mend_crash, mend_statically, same_program
from .models.base import Message, Model, OnProgress, Usage
from .plan import make_plan
from .policy import Move, Strategy, Trial, choose_strategy, next_move
from .store import RunFolder
from .task import Budget, Outcome, Plan, Program, RunResult, Task, Verdict
from .view import View
from .write import Request, Writer, draft_messages, repair_messages

__all__ = ["Job", "Setup"]

_T = TypeVar("_T")
_GIVE_WAY = 0.5
"""Seconds that the loading of a model has to end when the task is cancelled."""
_MENDS = 4
"""Crashes of one program that are mended; each may uncover the next."""
_LEAST_WALL = 1.0
"""Seconds that an execution gets at least, however little of the budget is left."""


class Cancelled(Exception):
    """The task was cancelled."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a task is solved with."""

    load_model: Callable[[OnProgress], Model]
    model_name: str
    sandbox: str
    policy: Policy
    budget: Budget
    apply: bool


@dataclass(slots=True)
class Job:
    """Solves one task. `emit` gets every event; `cancel` may be called from any thread."""

    setup: Setup
    task: Task
    view: View
    folder: RunFolder
    emit: Callable[[Event], None]
    _started: float = field(default_factory=time.monotonic)
    _trials: list[Trial] = field(default_factory=list[Trial])
    _seen: dict[str, int] = field(default_factory=dict[str, int])
    _usage: Usage = field(default_factory=Usage)
    _best: Trial | None = None
    _best_session: Session | None = None
    """The session of the best trial, open so that its changes can be taken."""
    _model: Model | None = None
    _session: Session | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    # --- from outside ---

    def cancel(self) -> None:
        """Stop the model and the program that runs. Calling it again does no harm."""
        self._cancelled.set()
        if self._model is not None:
            self._model.cancel()
        with self._lock:  # a session that is closed must not be touched any more
            if self._session is not None:
                self._session.cancel()

    def renew_cancel(self) -> None:
        """Cancel again what a first `cancel` may have come too early for."""
        if self._cancelled.is_set():
            self.cancel()

    def broken(self, error: BaseException) -> Finished:
        """The last event of a task that an error ended."""
        return Finished(self._at(), self._result("gave_up", f"{type(error).__name__}: {error}"))

    def run(self) -> RunResult:
        """Solve the task; the last event holds the result. Raises the errors of the model and of the sandbox."""
        try:
            result = self._run()
        except Cancelled:
            result = self._result("interrupted", "interrupted")
        self.emit(Finished(self._at(), result))
        return result

    # --- the walk ---

    def _run(self) -> RunResult:
        setup = self.setup
        self.emit(Started(self._at(), self.folder.id, self.task.text, setup.model_name, setup.sandbox))
        loading = _in_background(self._load)
        with sandbox.open_sandbox(
            setup.sandbox,
            workspace=self.view.folder,
            policy=setup.policy,
            inputs=self.view.inputs,
            store=self.folder.collected,
        ) as box:
            facts = self._look(box)
            self._model = self._wait_for(loading)
            strategy = choose_strategy(self._model.profile)
            plan = self._plan(facts, strategy, self._model.profile.context_tokens)
            self.emit(Planned(self._at(), plan))
            try:
                return self._solve(box, self._model, plan, strategy)
            finally:
                self._close_best()
                self.folder.drop_changes()

    def _load(self) -> tuple[Model, float]:
        started = time.monotonic()
        return self.setup.load_model(self._progressed), time.monotonic() - started

    def _wait_for(self, loading: Future[tuple[Model, float]]) -> Model:
        while not wait([loading], 0.2).done:
            if self._cancelled.is_set():
                wait([loading], _GIVE_WAY)  # the next report of its progress ends it
                raise Cancelled
        model, seconds = loading.result()
        self.emit(ModelLoaded(self._at(), model.profile.name, seconds, model.profile))
        return model

    def _look(self, box: Sandbox) -> Facts:
        session = self._open(box)
        try:
            facts = look(session, self.view.names)
        finally:
            self._close(session)
        self._check_cancelled()
        return facts

    def _plan(self, facts: Facts, strategy: Strategy, context: int) -> Plan:
        plan = make_plan(self.task, facts, min(strategy.facts_tokens, context // 4))
        notes = "\n".join(filter(None, (self.view.note, facts.problem)))
        return replace(plan, notes=notes)

    def _solve(self, box: Sandbox, model: Model, plan: Plan, strategy: Strategy) -> RunResult:
        writer = Writer(model, self.setup.budget)
        prompt = draft_messages(self.task.text, plan)
        move = Move("draft")
        while move.kind != "stop":
            self._check_cancelled()
            trial = self._attempt(box, writer, prompt, plan, move)
            self._trials.append(trial)
            move = next_move(strategy, self._trials, self.setup.budget, self._at())
            if trial.verdict is not None:
                decision = {"draft": "redraw"}.get(move.kind, move.kind)
                self.emit(Judged(self._at(), trial.attempt, trial.verdict, decision))
        return self._conclude(move.why)

    def _attempt(self, box: Sandbox, writer: Writer, prompt: tuple[Message, ...], plan: Plan, move: Move) -> Trial:
        """One reply of the model, and what becomes of the program in it."""
        attempt = len(self._trials) + 1
        request = self._request(writer, prompt, move, attempt)
        trial = Trial(attempt, "repair" if move.base else "draft", base=move.base.attempt if move.base else None)
        program, problem = self._write(writer, request, trial, plan)
        if program is None:
            return replace(trial, problem=problem)
        return self._try(box, plan, replace(trial, program=program))

    def _request(self, writer: Writer, prompt: tuple[Message, ...], move: Move, attempt: int) -> Request:
        base = move.base
        if base is None or base.program is None:
            drafts = sum(t.kind == "draft" for t in self._trials)
            return writer.draft(prompt, drafts, attempt)
        feedback = explain(base.problem, base.execution, base.verdict)
        return writer.repair(repair_messages(prompt, base.program.code, feedback), attempt)

    def _write(self, writer: Writer, request: Request, trial: Trial, plan: Plan) -> tuple[Program | None, str]:
        """The program in the model's reply; None for a reply without one, or with one that was tried before."""
        attempt = trial.attempt
        reply = writer.ask(
            request,
            lambda r: self.emit(Prompted(self._at(), attempt, r.kind, r.messages, r.temperature, r.seed, r.prefill)),
            lambda text: self.emit(Tokens(self._at(), attempt, text)),
            self._progressed,
        )
        self._usage += reply.usage
        self._check_cancelled()
        found = extract(reply.text, plan.function)
        program, problem = (Program(found.code, trial.kind), "") if found.code else (None, found.problem)
        if program is not None and (before := self._seen.setdefault(same_program(found.code), attempt)) != attempt:
            program, problem = None, f"the same program as in attempt {before}"
        self.emit(Drafted(self._at(), attempt, reply.text, reply.finish_reason, program, problem, reply.usage))
        return program, problem

    def _try(self, box: Sandbox, plan: Plan, trial: Trial) -> Trial:
        """Run a program, mended where code can mend it, and have it judged."""
        assert trial.program is not None
        program = mend_statically(trial.program, plan.function)
        if program is not trial.program:
            self.emit(Mended(self._at(), trial.attempt, program))
        tried = self._execute(box, plan, replace(trial, program=program))
        for _ in range(_MENDS):
            mended = mend_crash(program, tried.execution, plan.function) if tried.execution else None
            if mended is None:
                break
            self.emit(Mended(self._at(), trial.attempt, mended))
            program, tried = mended, self._execute(box, plan, replace(trial, program=mended))
        return tried

    def _execute(self, box: Sandbox, plan: Plan, trial: Trial) -> Trial:
        """Run and judge in a fresh session, which stays open while its trial is the best."""
        assert trial.program is not None
        session = self._open(box)
        try:
            execution = session.execute(trial.program.code, on_error="keep", wall_seconds=self._wall())
            self._check_cancelled()
            self.emit(Executed(self._at(), trial.attempt, trial.program, execution))
            verdict = self._judge(session, execution, plan)
            self._check_cancelled()
        except BaseException:
            self._close(session)
            raise
        trial = replace(trial, execution=execution, verdict=verdict)
        self._keep_best(trial, session)
        return trial

    def _judge(self, session: Session, execution: Execution, plan: Plan) -> Verdict:
        def changed() -> bool:
            return bool(session.changes().items)

        return judge(session, execution, plan.checks, changed=changed, wall_seconds=self._wall())

    # --- the best program and its session ---

    def _keep_best(self, trial: Trial, session: Session) -> None:
        """Hold on to the session when its trial beats the best one, and close the other."""
        if self._best is not None and self._best.score >= trial.score:
            self._close(session)
            return
        self._close_best()
        self._best, self._best_session = trial, session

    def _close_best(self) -> None:
        if self._best_session is not None:
            self._close(self._best_session)
            self._best_session = None

    def _conclude(self, why: str) -> RunResult:
        best, session = self._best, self._best_session
        if best is None or best.verdict is None:
            return self._result("gave_up", why)
        changes = self.folder.keep_changes(session.changes()) if session is not None and best.verdict.ran else None
        result = self._result(best.verdict.outcome, "" if best.passed else why, changes)
        return self._applied(result) if self.setup.apply else result

    def _applied(self, result: RunResult) -> RunResult:
        """Apply the changes of a program that passed. A folder that changed meanwhile is left alone, and said so."""
        if not result.ok or not result.changes or result.changes.folder is None:
            return result
        try:
            result.changes.apply()
        except ConfigError as error:
            return replace(result, reason=f"the changes were not applied: {error}")
        return result

    def _result(self, outcome: Outcome, reason: str, changes: Changes | None = None) -> RunResult:
        best = self._best
        result = RunResult(
            outcome,
            drafts=sum(t.kind == "draft" for t in self._trials),
            repairs=sum(t.kind == "repair" for t in self._trials),
            usage=self._usage,
            seconds=self._at(),
            reason=reason,
            run_id=self.folder.id,
        )
        if best is None or best.execution is None:
            return result
        return replace(
            result,
            answer=answer_of(best.execution),
            program=best.program,
            execution=best.execution,
            verdict=best.verdict,
            changes=changes,
            receipt=best.execution.receipt,
        )

    # --- small ---

    def _progressed(self, what: str, share: float) -> None:
        self._check_cancelled()
        self.emit(Progressed(self._at(), what, share))

    def _at(self) -> float:
        return time.monotonic() - self._started

    def _wall(self) -> float:
        left = self.setup.budget.seconds - self._at()
        return min(self.setup.policy.wall_seconds, max(left, _LEAST_WALL))

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _open(self, box: Sandbox) -> Session:
        self._check_cancelled()
        self._session = session = box.open()
        return session

    def _close(self, session: Session) -> None:
        with self._lock:
            if self._session is session:
                self._session = None
        session.close()


def _in_background(call: Callable[[], _T]) -> Future[_T]:
    """The result of `call`, made in a thread that does not keep the process alive."""
    future: Future[_T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="sandsmith-model", daemon=True).start()
    return future
