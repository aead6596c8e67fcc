"""Has a model write the programs of one task: what it is asked for after what was tried, and what is in its reply."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .edits import read_reply
from .errors import Fault
from .events import Drafted, Event, Prompted, Sampled, Tokens
from .feedback import explain
from .mend import same_program
from .models.base import Completion, Message, Model, OnProgress, Usage
from .outcome import find_calls
from .policy import Move, Strategy, Trial
from .rewind import rewound, without_comments
from .task import Budget, Plan, Program
from .write import Request, Writer, calls_messages, edit_messages, fresh_messages, opening_of, repair_messages

__all__ = ["Asker", "Listener", "cancelled_after"]

_BY_TURNS = 2
"""Drafts at once at most from each of two prompts."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The task that goes on, as far as the one who asks has to tell it something or to heed it."""

    at: Callable[[], float]
    """Seconds since the task began."""
    emit: Callable[[Event], None]
    progressed: OnProgress
    heard: Callable[[], None]
    """Called with each piece of a reply; it may stop the model."""
    spent: Callable[[Usage], None]
    """Called with what a reply has cost."""
    check_cancelled: Callable[[], None]
    """Raises when the task was cancelled."""
    is_won: Callable[[], bool]
    """Whether a program has passed already."""

    def asked(self, attempt: int, request: Request) -> None:
        """A request for the reply number `attempt` is sent."""
        how = (request.kind, request.messages, request.temperature, request.seed, request.prefill, request.n)
        self.emit(Prompted(self.at(), attempt, *how))

    def told(self, attempt: int, text: str) -> None:
        """A piece of a reply came."""
        self.emit(Tokens(self.at(), attempt, text))
        self.heard()


class Asker:
    """Asks `model` within one budget. `seen` holds every program of the task that was written, with its attempt."""

    def __init__(
        self,
        model: Model,
        budget: Budget,
        prompt: tuple[Message, ...],
        plan: Plan,
        strategy: Strategy,
        listener: Listener,
        seen: dict[str, int],
    ) -> None:
        self._model, self._budget, self._seen = model, budget, seen
        self._writer = Writer(model, budget, rewinds=strategy.rewinds, edits=strategy.edits)
        self._prompt, self._listener = prompt, listener
        self._longest = 0
        """Tokens of the longest reply."""
        self._sampled = False
        self._other = fresh_messages(plan)
        """The prompt of every second request for drafts, where that is another one."""
        self._turns = 0
        """Requests for drafts so far."""
        self._has_another = bool(self._other or plan.opening)
        """Whether the second draft is written in another way than the first."""
        self.plan = plan

    def draw(self, move: Move, before: Sequence[Trial], *, alone: bool = False) -> list[Trial]:
        """What the model writes after the trials `before`: one trial that was not run yet, or several where it writes
        drafts at once and one need not be `alone`.

        Raises `ModelUnavailable`, and `ModelRejected` when the prompt leaves no room for a reply.
        """
        request = self._request(move, before)
        if move.base is None and not alone:
            request = self._at_once(request, before, move.most or self._model.profile.lanes)
        replies = self._ask(request, len(before) + 1)
        self._longest = max(self._longest, *(reply.usage.completion_tokens for reply in replies))
        kind, base = ("repair", move.base.attempt) if move.base else ("draft", None)
        trials = [Trial(attempt, kind, base=base) for attempt, _ in enumerate(replies, len(before) + 1)]
        return [self._read(trial, reply, request) for trial, reply in zip(trials, replies, strict=True)]

    def _request(self, move: Move, before: Sequence[Trial]) -> Request:
        base, attempt, writer = move.base, len(before) + 1, self._writer
        if base is None or base.program is None:
            return self._draft(_drafts(before), attempt)
        begun = rewound(base.program, base.execution) if writer.rewinds and base.execution else ""
        if begun:
            return writer.repair(self._prompt, attempt, begun)
        feedback = explain(base.problem, base.execution, base.verdict)
        if writer.edits:
            told = "\n\n".join(filter(None, (feedback, move.problem)))
            return writer.edit(edit_messages(self._prompt, base.program.code, told), attempt, base.program.code)
        messages = repair_messages(self._prompt, base.program.code, feedback)
        return writer.repair(messages, attempt, opening_of(base.program.code, self.plan.opening))

    def _draft(self, number: int, attempt: int) -> Request:
        """The request for draft `number` (from 0)."""
        prompt = self._other if self._other and self._turns % 2 else self._prompt
        self._turns += 1
        return self._writer.draft(prompt, number, attempt, self.plan.opening, another=self._has_another)

    def calls(self, program: Program) -> tuple[str, ...]:
        """Calls of the function asked for, written by the model when it is asked first, with `program` before it.

        Empty when the reply holds none, or when the model fails: then there is `program` all the same.
        """
        function = self.plan.function
        if self._sampled or not function:
            return self.plan.calls
        self._sampled = True
        request = self._writer.calls(calls_messages(self._prompt, program.code, function), function)
        with contextlib.suppress(Fault):
            reply = self._ask(request, 0)[0]
            self.plan = replace(self.plan, calls=find_calls(reply.text, function))
            self._tell(Sampled(self._at(), reply.text, self.plan.calls, reply.usage))
        return self.plan.calls

    def _at_once(self, request: Request, before: Sequence[Trial], most: int) -> Request:
        """The request for as many drafts as the model writes at once, and `most`. The first one is written alone, since
        it often passes, and so is the only one from another prompt or without an opening."""
        drafts = _drafts(before)
        if drafts == 0 or (drafts == 1 and self._has_another):
            return request
        most = min(most, _BY_TURNS) if self._other else most
        n = min(self._model.profile.lanes, self._budget.drafts - drafts, most)
        return self._writer.at_once(request, n, self._longest)

    def _ask(self, request: Request, attempt: int) -> list[Completion]:
        """The replies to a request whose first one is number `attempt`."""
        listener = self._listener
        how = (request, partial(listener.asked, attempt), partial(listener.told, attempt), listener.progressed)
        with cancelled_after(self._budget.seconds - self._at(), self._model):
            replies = [self._writer.ask(*how)] if request.max_tokens is None else self._writer.ask_at_once(*how)
        self._listener.spent(_cost(replies))
        self._listener.check_cancelled()
        return replies

    def _read(self, trial: Trial, reply: Completion, request: Request) -> Trial:
        """`trial` with the program in the reply to `request`, or why there is none."""
        if reply.finish_reason == "length" and request.max_tokens is not None:
            read = replace(trial, problem=f"it was cut after {reply.usage.completion_tokens} tokens")
        elif reply.finish_reason == "cancelled":
            why = "it is not needed any more" if self._listener.is_won() else "its time was over"
            read = replace(trial, problem=why)
        else:
            read = self._with_program(trial, reply.text, request.edited)
        said = (reply.text, reply.finish_reason, read.program, read.problem, reply.usage)
        self._tell(Drafted(self._at(), trial.attempt, *said))
        return read

    def _with_program(self, trial: Trial, reply: str, edited: str) -> Trial:
        """`trial` with the program in a reply, which may hold edits of the program `edited`; without one where it was
        tried before."""
        found = read_reply(without_comments(reply), edited, self.plan.function)
        if not found.code:
            return replace(trial, problem=found.problem)
        if self.plan.faulty and self.plan.faulty.is_same(found.code):
            return replace(trial, problem=f"it is {self.plan.function} as it was")
        before = self._seen.setdefault(same_program(found.code), trial.attempt)
        if before != trial.attempt:
            return replace(trial, problem=f"the same program as in attempt {before}", repeats=before)
        return replace(trial, program=Program(found.code, trial.kind, model=self._model.profile.name))

    def _at(self) -> float:
        return self._listener.at()

    def _tell(self, event: Event) -> None:
        self._listener.emit(event)


@contextlib.contextmanager
def cancelled_after(seconds: float, model: Model) -> Generator[None]:
    """Cancels the calls of `model` when they go on for longer."""
    timer = threading.Timer(max(0.0, seconds), model.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _drafts(trials: Sequence[Trial]) -> int:
    return sum(t.kind == "draft" for t in trials)


def _cost(replies: Sequence[Completion]) -> Usage:
    """What replies that were written at once have cost: one prompt, and the time of the slowest."""
    first, *others = [reply.usage for reply in replies]
    written = sum(usage.completion_tokens for usage in others)
    seconds = max(0.0, *(usage.seconds - first.seconds for usage in others)) if others else 0.0
    return first + Usage(completion_tokens=written, seconds=seconds)
