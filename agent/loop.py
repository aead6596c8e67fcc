"""One task from its plan to its result: write, execute in a fresh session or in a branch of a live one, judge, decide;
the best program is kept."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial

import sandbox
from sandbox import Changes, Execution, Policy, Sandbox, Session, choose_kind
from sandbox.packages import load_set

from .asking import Asker, Listener, cancelled_after
from .comparing import Comparer, choose
from .errors import ConfigError, Fault, ModelRejected, ModelUnavailable
from .events import (
    Advised,
    Escalated,
    Event,
    Executed,
    Finished,
    Judged,
    Mended,
    ModelLoaded,
    Planned,
    Progressed,
    Started,
)
from .facts import Facts, look
from .judge import answer_of, judge
from .live import Live, describe_session
from .mend import mend_crash, mend_printed, mend_returned, mend_statically, mend_to_function, same_program
from .models.base import Completion, Message, Model, ModelProfile, Usage
from .models.lazy import LazyModel
from .models.share import Share
from .plan import make_plan
from .policy import Move, Strategy, Trial, choose_strategy, handed_over, is_agreed, next_move
from .race import Needless, Race, in_background
from .steps import Steps, ask_steps, find_steps, wants_steps
from .store import RunFolder
from .task import Agreement, Budget, Outcome, Plan, Program, RunResult, Task, Verdict
from .view import View
from .write import draft_messages

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
    """The best program so far, and of those that pass the first."""
    _kept: dict[int, Session] = field(default_factory=dict[int, Session])
    """By attempt the session of the best trial, and of each that passed: open, so that its changes can be taken."""
    _agreement: Agreement | None = None
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
                why = self._solved_or_why(box, model, plan, strategy)
                return self._conclude(self._escalate(box, plan, why))
            finally:
                self._close_kept()
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
        return Share(model.load(self._progressed)), time.monotonic() - started

    def _wait_for(self, loading: Future[tuple[Model, float]]) -> Model:
        while not wait([loading], 0.2).done:
            if self._cancelled.is_set():
                wait([loading], _GIVE_WAY)  # the next report of its progress ends it
                raise Cancelled
        model, seconds = loading.result()
        self.emit(ModelLoaded(self._at(), model.profile.name, seconds, model.profile))
        return model

    def _look(self, box: Sandbox) -> Facts:
        with self._opened(box) as session:
            facts = look(session, self.view.names, self._modules())
        self._check_cancelled()
        return facts

    def _modules(self) -> tuple[str, ...]:
        """What the packages that the user asked for are imported as."""
        path = self.setup.policy.packages
        return load_set(path).modules if path else ()

    def _plan(self, box: Sandbox, facts: Facts, strategy: Strategy, profile: ModelProfile) -> Plan:
        tokens = min(strategy.facts_tokens, profile.context_tokens // 4)
        begun = strategy.openings and profile.prefill
        facts = self.live.narrow(facts, self.task.text) if self.live else facts
        plan = make_plan(self.task, facts, tokens, hints=strategy.hints, opening=begun)
        if plan.opening and not self._may_begin(box, plan.opening):
            plan = make_plan(self.task, facts, tokens, hints=strategy.hints)
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
        with self._opened(box) as session:
            return session.execute(code, wall_seconds=_OPENING_SECONDS).ok

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
        self._spend(reply.usage)
        name = planner.name if planner else model.profile.name
        self.emit(Advised(self._at(), name, reply.text, found.steps, found.problem, reply.usage))
        note = f"no steps from {name}: {found.problem}" if found.problem else ""
        return replace(plan, steps=found.steps, notes="\n".join(filter(None, (plan.notes, note))))

    def _ask_steps(self, model: Model, plan: Plan) -> Completion:
        listener = self._listener()
        hears = (partial(listener.asked, 0), partial(listener.told, 0), self._progressed)
        with cancelled_after((self.setup.budget.seconds - self._at()) * _PLANNING, model):
            return ask_steps(model, self.setup.budget, self.task.text, plan, *hears)

    def _solved_or_why(self, box: Sandbox, model: Model, plan: Plan, strategy: Strategy) -> str:
        """What `_solve` does. A prompt that is too long for the first model is one for the bigger model."""
        try:
            return self._solve(box, model, plan, strategy)
        except ModelRejected as error:
            if self.setup.bigger is None:
                raise
            return str(error)

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
        """Draw, run and judge programs until one is taken, or nothing is left to do: returns why."""
        asker = self._asker(model, plan, strategy)
        comparer = self._comparer(box, asker, strategy)
        ahead = self.live is not None and not strategy.repair_first
        if self.live is not None:
            self.live.is_over = lambda: self._is_won() or self._cancelled.is_set()
        move, drawn = self._first_move(strategy), self._given()
        while move.kind != "stop":
            self._check_cancelled()
            drawn = drawn or self._draw(asker, move)
            if not drawn:
                break
            if ahead:
                tried, drawn = self._run_beside(box, asker, strategy, drawn)
            else:
                tried, drawn = self._run_in_turn(box, comparer, strategy, drawn), []
            self._trials += sorted(tried, key=lambda trial: trial.score)
            move = next_move(strategy, self._trials, self.setup.budget, self._at())
            if drawn and move.kind != "stop":
                move = Move("draft")
            self._tell_verdicts(tried, move)
        return move.why

    def _first_move(self, strategy: Strategy) -> Move:
        """What a model begins with: a draft, unless another one has tried before it."""
        return next_move(strategy, self._trials, self.setup.budget, self._at()) if self._trials else Move("draft")

    def _draw(self, asker: Asker, move: Move) -> list[Trial]:
        """The model's next replies; none when it fails and there is a program that passed."""
        try:
            return asker.draw(move, self._trials)
        except Fault:
            if not any(trial.passed for trial in self._trials):
                raise
            return []

    def _tell_verdicts(self, tried: Sequence[Trial], move: Move) -> None:
        for one in tried:
            if one.verdict is not None:
                again = one is not tried[-1] or move.kind == "draft"
                decision = ("compare" if one.passed else "redraw") if again else move.kind
                self.emit(Judged(self._at(), one.attempt, one.verdict, decision))

    def _asker(self, model: Model, plan: Plan, strategy: Strategy) -> Asker:
        prompt = self._prompt(plan, strategy)
        return Asker(model, self.setup.budget, prompt, plan, strategy, self._listener(), self._seen)

    def _listener(self) -> Listener:
        return Listener(
            at=self._at,
            emit=self.emit,
            progressed=self._progressed,
            heard=self._stop_needless,
            spent=self._spend,
            check_cancelled=self._check_cancelled,
            is_won=self._is_won,
        )

    def _comparer(self, box: Sandbox, asker: Asker, strategy: Strategy) -> Comparer:
        """Nothing is compared where a program was given, which is to stay what it is, nor in a live session, where
        somebody looks at what comes out and can undo it."""
        if self.task.program or self.live is not None:
            strategy = replace(strategy, agreement=0)
        return Comparer(asker, strategy, self.setup.budget, self._at, lambda: self._opened(box))

    def _prompt(self, plan: Plan, strategy: Strategy) -> tuple[Message, ...]:
        if strategy.plain:
            return (Message("user", self.task.text),)
        return draft_messages(self.task.text, plan, self.setup.policy.allow_hosts)

    def _given(self) -> list[Trial]:
        """The program that the task brings along, if it does."""
        if not self.task.program or self._trials:
            return []
        program = Program(self.task.program, "given")
        self._seen[same_program(program.code)] = 1
        return [Trial(1, "given", program)]

    def _run_in_turn(self, box: Sandbox, comparer: Comparer, strategy: Strategy, drawn: Sequence[Trial]) -> list[Trial]:
        """Run one program after the other, until one is taken or the time is over. What was not run comes first."""
        tried: list[Trial] = []
        for number, trial in enumerate(drawn, 1):
            if is_agreed(strategy, [*self._trials, *tried]) or (tried and self._at() >= self.setup.budget.seconds):
                break
            if trial.program is not None:
                trial = self._try(box, comparer.asker.plan, trial, strategy)
            if trial.passed:
                others = [*self._trials, *tried, *drawn[number:]]
                trial = comparer.looked_at(trial, self._kept[trial.attempt], others)
            tried.append(trial)
        return [*_not_run(drawn[len(tried) :]), *tried]

    def _run_beside(
        self, box: Sandbox, asker: Asker, strategy: Strategy, drawn: Sequence[Trial]
    ) -> tuple[list[Trial], list[Trial]]:
        """Run a program; where that takes long, run the next ones beside it, or have the model write another draft,
        until one passes or all that were begun have ended. Returns what came of them, and what was not begun."""
        race = Race(lambda one: self._try(box, asker.plan, one, strategy), self._stop_needless)
        self._race, known, waiting = race, [*self._trials, *drawn], [*drawn]
        race.start(waiting.pop(0))
        try:
            while race.goes_on:
                more = not waiting and self._may_draw(known, race.finished, strategy)
                race.wait(_LONG if more or (waiting and self._has_room(race)) else None)
                if more and race.goes_on:
                    waiting = self._draw_beside(race, asker, known)
                    known += waiting
                if waiting and race.goes_on and self._has_room(race) and self._may_go_on(race.finished, strategy):
                    race.start(waiting.pop(0))
        finally:
            self._stop_programs()
            race.end()
            self._race = None
        return ([*_not_run(waiting), *race.finished], []) if race.passed else (race.finished, waiting)

    def _has_room(self, race: Race) -> bool:
        """Whether one more program can run."""
        return self.live is not None and race.running < self.live.lanes

    def _may_draw(self, drawn: Sequence[Trial], finished: Sequence[Trial], strategy: Strategy) -> bool:
        """Whether the model may write one more draft meanwhile."""
        left = sum(t.kind == "draft" for t in drawn) < self.setup.budget.drafts
        return left and self._may_go_on(finished, strategy)

    def _may_go_on(self, finished: Sequence[Trial], strategy: Strategy) -> bool:
        trials = [*self._trials, *finished]
        return not finished or next_move(strategy, trials, self.setup.budget, self._at()).kind != "stop"

    def _draw_beside(self, race: Race, asker: Asker, known: Sequence[Trial]) -> list[Trial]:
        """A draft that is written while programs run, none if one of those has passed."""
        try:
            written = asker.draw(Move("draft"), known, alone=True)
        except Fault:  # of the model: a program that passes needs none
            while race.goes_on:
                race.wait()
            if not race.passed:
                raise
            return []
        return [] if race.passed else written

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
            for session in self._sessions.difference(self._kept.values()):
                session.cancel()

    def _try(self, box: Sandbox, plan: Plan, trial: Trial, strategy: Strategy) -> Trial:
        """Run a program, mended where code can mend it and the strategy lets it, and have it judged."""
        assert trial.program is not None
        if not strategy.mends:
            return self._execute(box, plan, trial)
        held = {name.name for name in self.live.names} if self.live else set[str]()
        program = mend_statically(trial.program, plan.function, held)
        if plan.faulty and plan.function:
            program = mend_to_function(program, plan.function)
        if program is not trial.program:
            self.emit(Mended(self._at(), trial.attempt, program))
        tried = self._execute(box, plan, replace(trial, program=program))
        for _ in range(_MENDS):
            mended = mend_crash(program, tried.execution, plan.function) if tried.execution else None
            if mended is None:
                break
            self.emit(Mended(self._at(), trial.attempt, mended))
            program, tried = mended, self._execute(box, plan, replace(trial, program=mended))
        return self._with_mended_result(box, plan, tried)

    def _with_mended_result(self, box: Sandbox, plan: Plan, tried: Trial) -> Trial:
        """`tried`, or what becomes of it when its results, or what it prints, are brought into the form that is wanted,
        where that makes it pass."""
        if tried.program is None or tried.verdict is None or not tried.verdict.ran:
            return tried
        program, verdict = tried.program, tried.verdict
        mended = mend_returned(program, verdict, plan.function) or mend_printed(program, verdict)
        if mended is None:
            return tried
        self.emit(Mended(self._at(), tried.attempt, mended))
        converted = self._execute(box, plan, replace(tried, program=mended))
        return converted if converted.passed else tried

    def _execute(self, box: Sandbox, plan: Plan, trial: Trial) -> Trial:
        """Run and judge in a fresh session or branch, which stays open where its changes may be taken."""
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
            self._keep(trial, session)
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

    def _keep(self, trial: Trial, session: Session) -> None:
        """Hold on to the session of the best trial, and of each that passed, and close the others. Of branches only one
        that passed is of use, as nothing but the whole of it can be taken over."""
        if self._best is None or (not self._best.passed and self._best.score < trial.score):
            self._close_kept()
            self._best = trial
        best = self._best is trial
        if (best and trial.passed) if self.live is not None else (best or trial.passed):
            self._kept[trial.attempt] = session
        else:
            self._close(session)

    def _close_kept(self) -> None:
        while self._kept:
            self._close(self._kept.popitem()[1])

    def _conclude(self, why: str) -> RunResult:
        if found := choose(self._trials):
            self._best, self._agreement = found
        best = self._best
        if best is None or best.verdict is None:
            return self._result("gave_up", why)
        session = self._kept.get(best.attempt)
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
            agreement=self._agreement,
            receipt=best.execution.receipt,
        )

    # --- small ---

    def _spend(self, usage: Usage) -> None:
        self._usage += usage

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

    def _check_needed(self) -> None:
        self._check_cancelled()
        if self._is_won():
            raise Needless

    @contextlib.contextmanager
    def _opened(self, box: Sandbox) -> Generator[Session]:
        session = self._open(box)
        try:
            yield session
        finally:
            self._close(session)

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


def _not_run(drawn: Sequence[Trial]) -> list[Trial]:
    """Those of several drafts that were written at once and were not needed."""
    return [replace(trial, problem=trial.problem or "it was not run") for trial in drawn]
