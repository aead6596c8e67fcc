"""One task from its plan to its result: write, execute in a fresh session or in a branch of a live one, judge, decide;
the best program is kept."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace

import sandbox
from sandbox import Changes, Execution, Policy, Sandbox, Session, choose_kind
from sandbox.packages import load_set

from .edits import read_reply
from .errors import ConfigError, Fault, ModelRejected, ModelUnavailable
from .events import (
    Advised,
    Drafted,
    Escalated,
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
from .facts import Facts, look
from .feedback import explain
from .judge import answer_of, judge
from .live import Live, describe_session
from .mend import mend_crash, mend_statically, same_program
from .models.base import Completion, Message, Model, ModelProfile, Usage
from .models.lazy import LazyModel
from .plan import make_plan
from .policy import Move, Strategy, Trial, choose_strategy, handed_over, next_move
from .race import Needless, Race, in_background
from .rewind import rewound, without_comments
from .steps import Steps, ask_steps, find_steps, wants_steps
from .store import RunFolder
from .task import Budget, Outcome, Plan, Program, RunResult, Task, Verdict
from .view import View
from .write import Request, Writer, draft_messages, edit_messages, opening_of, repair_messages

__all__ = ["Job", "Setup"]

_GIVE_WAY = 0.5
"""Seconds that the loading of a model has to end when the task is cancelled."""
_MENDS = 4
"""Crashes of one program that are mended; each may uncover the next."""
_OPENING_SECONDS = 10.0
"""For the code that reads the files at the beginning of each draft."""
_LONG = 2.0
"""Seconds that a program runs before the next draft is written meanwhile: both want the processor."""
_LEAST_WALL = 1.0
"""Seconds that an execution gets at least, however little of the budget is left."""
_PLANNING = 1 / 3
"""Of the time for a task, what the writing of its steps may take."""
_OF_A_MODEL = (ConfigError, ModelRejected, ModelUnavailable)
"""What a second model may fail with, which the first one did well without."""


class Cancelled(Exception):
    """The task was cancelled."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a task is solved with."""

    model: LazyModel
    sandbox: str | None
    policy: Policy
    budget: Budget
    apply: bool
    strategy: Strategy | None = None
    """None: the one that fits the model."""
    planner: LazyModel | None = None
    """Writes the steps of the plan; None: the model itself, if it is a big one."""
    bigger: LazyModel | None = None
    """Goes on when the model has given up."""


@dataclass(slots=True)
class Job:
    """Solves one task. `emit` gets every event; `cancel` may be called from any thread."""

    setup: Setup
    task: Task
    view: View
    folder: RunFolder
    emit: Callable[[Event], None]
    live: Live | None = None
    """The session that the task goes on in; None: each program runs in a fresh one."""
    _started: float = field(default_factory=time.monotonic)
    _trials: list[Trial] = field(default_factory=list[Trial])
    _earlier: list[Trial] = field(default_factory=list[Trial])
    """Those of the model that gave up before the one at work."""
    _seen: dict[str, int] = field(default_factory=dict[str, int])
    _usage: Usage = field(default_factory=Usage)
    _best: Trial | None = None
    _best_session: Session | None = None
    """The session of the best trial, open so that its changes can be taken."""
    _model: Model | None = None
    """The one at work."""
    _sessions: set[Session] = field(default_factory=set[Session])
    """Those that are open."""
    _race: Race | None = None
    """Programs that run while the model writes."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _keeping: threading.Lock = field(default_factory=threading.Lock)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    # --- from outside ---

    def cancel(self) -> None:
        """Stop the model and the program that runs. Calling it again does no harm."""
        self._cancelled.set()
        if self._model is not None:
            self._model.cancel()
        with self._lock:  # a session that is closed must not be touched any more
            for session in self._sessions:
                session.cancel()

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
        self.emit(Started(self._at(), self.folder.id, self.task.text, setup.model.name, choose_kind(setup.sandbox)))
        loading = in_background(lambda: self._load(setup.model))
        with self.live or self._sandbox() as box:
            facts = self._look(box)
            self._model = model = self._wait_for(loading)
            strategy = setup.strategy or choose_strategy(model.profile)
            plan = self._plan(box, facts, strategy, model.profile)
            plan = self._with_steps(plan, strategy, model)
            self.emit(Planned(self._at(), plan))
            try:
                why = self._solve(box, model, plan, strategy)
                return self._conclude(self._escalate(box, plan, why))
            finally:
                self._close_best()
                self.folder.drop_changes()

    def _sandbox(self) -> Sandbox:
        return sandbox.open_sandbox(
            self.setup.sandbox,
            workspace=self.view.folder,
            policy=replace(self.setup.policy, history=0),  # each attempt has a session of its own
            inputs=self.view.inputs,
            store=self.folder.collected,
        )

    def _load(self, model: LazyModel) -> tuple[Model, float]:
        started = time.monotonic()
        return model.load(self._progressed), time.monotonic() - started

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
            facts = look(session, self.view.names, self._modules())
        finally:
            self._close(session)
        self._check_cancelled()
        return facts

    def _modules(self) -> tuple[str, ...]:
        """What the packages that the user asked for are imported as."""
        path = self.setup.policy.packages
        return load_set(path).modules if path else ()

    def _plan(self, box: Sandbox, facts: Facts, strategy: Strategy, profile: ModelProfile) -> Plan:
        tokens = min(strategy.facts_tokens, profile.context_tokens // 4)
        guided, begun = strategy.guided, strategy.guided and profile.prefill
        facts = self.live.narrow(facts, self.task.text) if self.live else facts
        plan = make_plan(self.task, facts, tokens, guided=guided, opening=begun)
        if plan.opening and not self._may_begin(box, plan.opening):
            plan = make_plan(self.task, facts, tokens, guided=guided)
        plan = replace(plan, notes="\n".join(filter(None, (self.view.note, facts.problem))))
        return self._in_session(self.live, plan, tokens // 2, begun=begun) if self.live else plan

    def _in_session(self, live: Live, plan: Plan, tokens: int, *, begun: bool) -> Plan:
        """The plan of a task that goes on in a live session."""
        opening = plan.opening or (live.opening(self.task.text) if begun and not plan.function else "")
        return replace(plan, session=describe_session(live, self.task.text, tokens), opening=opening)

    def _may_begin(self, box: Sandbox, opening: str) -> bool:
        """Whether every draft may begin with `opening`."""
        if self.live is not None and not self.live.takes(opening):
            return False
        return self._runs(box, opening)

    def _runs(self, box: Sandbox, code: str) -> bool:
        """Whether `code` comes to its end: the probe saw only the head of a large file."""
        session = self._open(box)
        try:
            return session.execute(code, wall_seconds=_OPENING_SECONDS).ok
        finally:
            self._close(session)

    # --- a second model ---

    def _with_steps(self, plan: Plan, strategy: Strategy, model: Model) -> Plan:
        """`plan` with steps, where a model should write some. One that fails costs a note and nothing else."""
        planner = self.setup.planner
        if not wants_steps(strategy, self.task, plan, planner=planner is not None):
            return plan
        reply = Completion("")
        try:
            if planner not in (None, self.setup.model):
                self._model = self._wait_for(in_background(lambda: self._load(planner)))
            reply = self._ask_steps(self._model or model, plan)
            found = find_steps(reply.text, cut=reply.finish_reason != "stop")
        except _OF_A_MODEL as error:
            found = Steps(problem=str(error))
        finally:
            self._model = model
        self._check_cancelled()
        if reply.finish_reason == "cancelled" and not found.steps:
            found = Steps(problem="its time was over")
        self._usage += reply.usage
        name = planner.name if planner else model.profile.name
        self.emit(Advised(self._at(), name, reply.text, found.steps, found.problem, reply.usage))
        note = f"no steps from {name}: {found.problem}" if found.problem else ""
        return replace(plan, steps=found.steps, notes="\n".join(filter(None, (plan.notes, note))))

    def _ask_steps(self, model: Model, plan: Plan) -> Completion:
        with self._deadline(_PLANNING):
            return ask_steps(
                model,
                self.setup.budget,
                self.task.text,
                plan,
                lambda sent: self._prompted(0, sent),
                lambda text: self._hear(0, text),
                self._progressed,
            )

    def _escalate(self, box: Sandbox, plan: Plan, why: str) -> str:
        """Have the bigger model go on from the best program, if the first one has given up, which `why` says, and time
        is left. Returns why no program passed."""
        bigger, passed = self.setup.bigger, self._best is not None and self._best.passed
        if bigger is None or passed or self._at() >= self.setup.budget.seconds:
            return why
        self.emit(Escalated(self._at(), bigger.name, why))
        self._earlier, self._trials = self._trials, handed_over(self._trials, self._best)
        try:
            self._model = self._wait_for(in_background(lambda: self._load(bigger)))
            failed = self._solve(box, self._model, plan, choose_strategy(self._model.profile))
        except _OF_A_MODEL as error:
            return f"{why}; {bigger.name} was of no help: {error}"
        return f"{bigger.name} gave up, too: {failed}"

    # --- drafts and repairs ---

    def _solve(self, box: Sandbox, model: Model, plan: Plan, strategy: Strategy) -> str:
        """Draw, run and judge programs until one passes, or nothing is left to do: returns why."""
        writer = Writer(model, self.setup.budget, rewinds=strategy.rewinds, edits=strategy.edits)
        prompt = self._prompt(plan, strategy)
        ahead = self.live is not None and not strategy.repair_first
        if self.live is not None:
            self.live.is_over = lambda: self._is_won() or self._cancelled.is_set()
        move, written = self._first_move(strategy), self._given()
        while move.kind != "stop":
            self._check_cancelled()
            trial = written or self._draw(writer, prompt, plan, move, self._trials)
            tried, written = [trial], None
            if trial.program is not None and ahead:
                tried, written = self._run_beside(box, writer, prompt, plan, strategy, trial)
            elif trial.program is not None:
                tried = [self._try(box, plan, trial, strategy)]
            self._trials += tried
            move = next_move(strategy, self._trials, self.setup.budget, self._at())
            if written is not None and move.kind != "stop":
                move = Move("draft")
            for one in tried:
                if one.verdict is not None:
                    decision = "redraw" if one is not tried[-1] or move.kind == "draft" else move.kind
                    self.emit(Judged(self._at(), one.attempt, one.verdict, decision))
        return move.why

    def _first_move(self, strategy: Strategy) -> Move:
        """What a model begins with: a draft, unless another one has tried before it."""
        return next_move(strategy, self._trials, self.setup.budget, self._at()) if self._trials else Move("draft")

    def _prompt(self, plan: Plan, strategy: Strategy) -> tuple[Message, ...]:
        if strategy.plain:
            return (Message("user", self.task.text),)
        return draft_messages(self.task.text, plan, self.setup.policy.allow_hosts)

    def _given(self) -> Trial | None:
        """The program that the task brings along, if it does."""
        if not self.task.program or self._trials:
            return None
        program = Program(self.task.program, "given")
        self._seen[same_program(program.code)] = 1
        return Trial(1, "given", program)

    def _draw(
        self, writer: Writer, prompt: tuple[Message, ...], plan: Plan, move: Move, before: Sequence[Trial]
    ) -> Trial:
        """One reply of the model after the trials `before`: a trial that was not run yet."""
        attempt = len(before) + 1
        request = self._request(writer, prompt, plan, move, before)
        trial = Trial(attempt, "repair" if move.base else "draft", base=move.base.attempt if move.base else None)
        program, problem = self._write(writer, request, trial, plan)
        return replace(trial, program=program, problem=problem)

    def _run_beside(
        self, box: Sandbox, writer: Writer, prompt: tuple[Message, ...], plan: Plan, strategy: Strategy, trial: Trial
    ) -> tuple[list[Trial], Trial | None]:
        """Run a program; where that takes long, have the model write further drafts, and run them beside it, until one
        passes or all have ended. Returns what was run, and a draft that was written and not run."""
        race = Race(lambda one: self._try(box, plan, one, strategy), self._stop_needless)
        self._race, drawn, waiting = race, [*self._trials, trial], None
        race.start(trial)
        try:
            while race.goes_on:
                more = waiting is None and self._may_draw(drawn, race.finished, strategy)
                race.wait(_LONG if more else None)
                if more and race.goes_on:
                    waiting = self._draw_beside(race, writer, prompt, plan, drawn)
                    drawn += [waiting] if waiting else []
                room = self.live is not None and race.running < self.live.lanes
                if waiting and race.goes_on and room and self._may_go_on(race.finished, strategy):
                    race.start(waiting)
                    waiting = None
        finally:
            self._stop_programs()
            race.end()
            self._race = None
        return race.finished, None if race.passed else waiting

    def _may_draw(self, drawn: Sequence[Trial], finished: Sequence[Trial], strategy: Strategy) -> bool:
        """Whether the model may write one more draft meanwhile."""
        left = sum(t.kind == "draft" for t in drawn) < self.setup.budget.drafts
        return left and self._may_go_on(finished, strategy)

    def _may_go_on(self, finished: Sequence[Trial], strategy: Strategy) -> bool:
        trials = [*self._trials, *finished]
        return not finished or next_move(strategy, trials, self.setup.budget, self._at()).kind != "stop"

    def _draw_beside(
        self, race: Race, writer: Writer, prompt: tuple[Message, ...], plan: Plan, drawn: Sequence[Trial]
    ) -> Trial | None:
        """A draft that is written while programs run, None if one of those has passed."""
        try:
            written = self._draw(writer, prompt, plan, Move("draft"), drawn)
        except Fault:  # of the model: a program that passes needs none
            while race.goes_on:
                race.wait()
            if not race.passed:
                raise
            return None
        return None if race.passed else written

    def _stop_needless(self) -> None:
        """One program has passed: stop the model and the others."""
        if self._is_won():
            if self._model is not None:
                self._model.cancel()
            self._stop_programs()

    def _is_won(self) -> bool:
        return self._race is not None and self._race.passed

    def _stop_programs(self) -> None:
        """Stop every program that runs."""
        with self._lock:
            for session in self._sessions - {self._best_session}:
                session.cancel()

    def _request(
        self, writer: Writer, prompt: tuple[Message, ...], plan: Plan, move: Move, before: Sequence[Trial]
    ) -> Request:
        base, attempt = move.base, len(before) + 1
        if base is None or base.program is None:
            return writer.draft(prompt, sum(t.kind == "draft" for t in before), attempt, plan.opening)
        begun = rewound(base.program, base.execution) if writer.rewinds and base.execution else ""
        if begun:
            return writer.repair(prompt, attempt, begun)
        feedback = explain(base.problem, base.execution, base.verdict)
        if writer.edits:
            told = "\n\n".join(filter(None, (feedback, move.problem)))
            return writer.edit(edit_messages(prompt, base.program.code, told), attempt, base.program.code)
        messages = repair_messages(prompt, base.program.code, feedback)
        return writer.repair(messages, attempt, opening_of(base.program.code, plan.opening))

    def _write(self, writer: Writer, request: Request, trial: Trial, plan: Plan) -> tuple[Program | None, str]:
        """The program in the model's reply; None for a reply without one, or with one that was tried before."""
        attempt = trial.attempt
        with self._deadline():
            reply = writer.ask(
                request,
                lambda sent: self._prompted(attempt, sent),
                lambda text: self._hear(attempt, text),
                self._progressed,
            )
        self._usage += reply.usage
        self._check_cancelled()
        found = read_reply(without_comments(reply.text), request.edited, plan.function)
        by = self._model.profile.name if self._model else ""
        program, problem = (Program(found.code, trial.kind, model=by), "") if found.code else (None, found.problem)
        if reply.finish_reason == "cancelled":
            program, problem = None, "it is not needed any more" if self._is_won() else "its time was over"
        if program is not None and (before := self._seen.setdefault(same_program(found.code), attempt)) != attempt:
            program, problem = None, f"the same program as in attempt {before}"
        self.emit(Drafted(self._at(), attempt, reply.text, reply.finish_reason, program, problem, reply.usage))
        return program, problem

    def _prompted(self, attempt: int, sent: Request) -> None:
        how = (sent.kind, sent.messages, sent.temperature, sent.seed, sent.prefill)
        self.emit(Prompted(self._at(), attempt, *how))

    def _hear(self, attempt: int, text: str) -> None:
        self.emit(Tokens(self._at(), attempt, text))
        self._stop_needless()

    def _try(self, box: Sandbox, plan: Plan, trial: Trial, strategy: Strategy) -> Trial:
        """Run a program, mended where code can mend it and the strategy lets it, and have it judged."""
        assert trial.program is not None
        if strategy.plain:
            return self._execute(box, plan, trial)
        held = {name.name for name in self.live.names} if self.live else set[str]()
        program = mend_statically(trial.program, plan.function, held)
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
        """Run and judge in a fresh session or branch, which stays open while its trial is the best."""
        assert trial.program is not None
        session = self._open(box)
        try:
            execution = session.execute(trial.program.code, on_error="keep", wall_seconds=self._wall())
            self._check_needed()
            self.emit(Executed(self._at(), trial.attempt, trial.program, execution))
            verdict = self._judge(session, execution, plan)
            self._check_needed()
        except BaseException:
            self._close(session)
            raise
        trial = replace(trial, execution=execution, verdict=verdict)
        with self._keeping:
            self._keep_best(trial, session)
        return trial

    def _judge(self, session: Session, execution: Execution, plan: Plan) -> Verdict:
        def changed() -> bool:
            return session.changes().items != (self.live.files if self.live else ())

        def bound() -> bool:
            return self.live is not None and session.names() != self.live.names

        here = session.checkpoint() if self.live and execution.ok else None
        verdict = judge(session, execution, plan.checks, changed=changed, bound=bound, wall_seconds=self._wall())
        if here is not None and verdict.passed:  # what the checks did is no part of the conversation
            session.rollback(here)
        return verdict

    # --- the best program and its session ---

    def _keep_best(self, trial: Trial, session: Session) -> None:
        """Hold on to the session when its trial beats the best one, and close the other. A branch that did not pass is
        of no use: nothing but the whole of it can be taken over."""
        better = self._best is None or self._best.score < trial.score
        if better:
            self._close_best()
            self._best = trial
        if better and (trial.passed or self.live is None):
            self._best_session = session
        else:
            self._close(session)

    def _close_best(self) -> None:
        if self._best_session is not None:
            self._close(self._best_session)
            self._best_session = None

    def _conclude(self, why: str) -> RunResult:
        best, session = self._best, self._best_session
        if best is None or best.verdict is None:
            return self._result("gave_up", why)
        if self.live is not None:
            if best.passed and session is not None:
                self.live.adopt(session)
            return self._result(best.verdict.outcome, "" if best.passed else why)
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
        best, trials = self._best, [*self._earlier, *self._trials]
        result = RunResult(
            outcome,
            drafts=sum(t.kind == "draft" for t in trials),
            repairs=sum(t.kind == "repair" for t in trials),
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

    @contextlib.contextmanager
    def _deadline(self, share: float = 1.0) -> Generator[None]:
        """Cancel the model when the task's time is over, or this share of what is left of it."""
        assert self._model is not None
        timer = threading.Timer(max(0.0, self.setup.budget.seconds - self._at()) * share, self._model.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _at(self) -> float:
        return time.monotonic() - self._started

    def _wall(self) -> float:
        left = self.setup.budget.seconds - self._at()
        return min(self.setup.policy.wall_seconds, max(left, _LEAST_WALL))

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _check_needed(self) -> None:
        self._check_cancelled()
        if self._is_won():
            raise Needless

    def _open(self, box: Sandbox) -> Session:
        self._check_cancelled()
        session = box.open()
        with self._lock:
            self._sessions.add(session)
        return session

    def _close(self, session: Session) -> None:
        with self._lock:
            self._sessions.discard(session)
        if self.live is not None:
            self.live.leave(session)
        else:
            session.close()
