"""Has a model write the programs of one task: what it is asked for after what was tried, and what is in its reply."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from .events import Drafted, Event, Prompted, Tokens
from .extract import extract
from .feedback import explain
from .mend import same_program
from .models.base import Completion, Message, Model, OnProgress, Usage
from .policy import Move, Trial
from .rewind import rewound, without_comments
from .task import Budget, Plan, Program
from .write import Request, Writer, opening_of, repair_messages

__all__ = ["Asker", "Listener"]


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


class Asker:
    """Asks `model` within one budget. `seen` holds every program of the task that was written, with its attempt."""

    def __init__(
        self,
        model: Model,
        budget: Budget,
        prompt: tuple[Message, ...],
        plan: Plan,
        listener: Listener,
        seen: dict[str, int],
        *,
        rewinds: bool = False,
    ) -> None:
        self._model, self._budget, self._seen = model, budget, seen
        self._writer = Writer(model, budget, rewinds=rewinds)
        self._prompt, self._listener = prompt, listener
        self._longest = 0
        """Tokens of the longest reply."""
        self.plan = plan

    def draw(self, move: Move, before: Sequence[Trial], *, alone: bool = False) -> list[Trial]:
        """What the model writes after the trials `before`: one trial that was not run yet, or several where it writes
        drafts at once and one need not be `alone`.

        Raises `ModelUnavailable`, and `ModelRejected` when the prompt leaves no room for a reply.
        """
        request = self._request(move, before)
        if move.base is None and not alone:
            request = self._at_once(request, before)
        replies = self._ask(request, len(before) + 1)
        self._longest = max(self._longest, *(reply.usage.completion_tokens for reply in replies))
        kind, base = ("repair", move.base.attempt) if move.base else ("draft", None)
        trials = [Trial(attempt, kind, base=base) for attempt, _ in enumerate(replies, len(before) + 1)]
        return [self._read(trial, reply, request) for trial, reply in zip(trials, replies, strict=True)]

    def _request(self, move: Move, before: Sequence[Trial]) -> Request:
        base, attempt, writer = move.base, len(before) + 1, self._writer
        if base is None or base.program is None:
            return writer.draft(self._prompt, _drafts(before), attempt, self.plan.opening)
        begun = rewound(base.program, base.execution) if writer.rewinds and base.execution else ""
        if begun:
            return writer.repair(self._prompt, attempt, begun)
        feedback = explain(base.problem, base.execution, base.verdict)
        messages = repair_messages(self._prompt, base.program.code, feedback)
        return writer.repair(messages, attempt, opening_of(base.program.code, self.plan.opening))

    def _at_once(self, request: Request, before: Sequence[Trial]) -> Request:
        """The request for as many drafts as the model writes at once. The first one is written alone, since it often
        passes, and so is the only one that has no opening."""
        drafts = _drafts(before)
        if drafts == 0 or (drafts == 1 and self.plan.opening):
            return request
        return self._writer.at_once(
            request, min(self._model.profile.lanes, self._budget.drafts - drafts), self._longest
        )

    def _ask(self, request: Request, attempt: int) -> list[Completion]:
        """The replies to a request whose first one is number `attempt`. A single one is continued when it is cut."""

        def told(r: Request) -> None:
            asked = (r.kind, r.messages, r.temperature, r.seed, r.prefill, r.n)
            self._tell(Prompted(self._at(), attempt, *asked))

        def heard(text: str) -> None:
            self._tell(Tokens(self._at(), attempt, text))
            self._listener.heard()

        how = (request, told, heard, self._listener.progressed)
        with self._deadline():
            replies = self._writer.ask_at_once(*how) if request.n > 1 else [self._writer.ask(*how)]
        self._listener.spent(_cost(replies))
        self._listener.check_cancelled()
        return replies

    def _read(self, trial: Trial, reply: Completion, request: Request) -> Trial:
        """`trial` with the program in the reply to `request`."""
        if reply.finish_reason == "length" and request.n > 1:
            program, problem = None, f"it was cut after {reply.usage.completion_tokens} tokens"
        else:
            program, problem = self._program(trial, reply)
        said = (reply.text, reply.finish_reason, program, problem, reply.usage)
        self._tell(Drafted(self._at(), trial.attempt, *said))
        return replace(trial, program=program, problem=problem)

    def _program(self, trial: Trial, reply: Completion) -> tuple[Program | None, str]:
        """The program in a reply; None for a reply without one, or with one that was tried before."""
        if reply.finish_reason == "cancelled":
            return None, "it is not needed any more" if self._listener.is_won() else "its time was over"
        found = extract(without_comments(reply.text), self.plan.function)
        if not found.code:
            return None, found.problem
        if (before := self._seen.setdefault(same_program(found.code), trial.attempt)) != trial.attempt:
            return None, f"the same program as in attempt {before}"
        return Program(found.code, "repair" if trial.kind == "repair" else "draft"), ""

    @contextlib.contextmanager
    def _deadline(self) -> Generator[None]:
        """Cancel the model when the task's time is over."""
        timer = threading.Timer(max(0.0, self._budget.seconds - self._at()), self._model.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _at(self) -> float:
        return self._listener.at()

    def _tell(self, event: Event) -> None:
        self._listener.emit(event)


def _drafts(trials: Sequence[Trial]) -> int:
    return sum(t.kind == "draft" for t in trials)


def _cost(replies: Sequence[Completion]) -> Usage:
    """What replies that were written at once have cost: one prompt, and the time of the slowest."""
    first, *others = [reply.usage for reply in replies]
    written = sum(usage.completion_tokens for usage in others)
    seconds = max(0.0, *(usage.seconds - first.seconds for usage in others)) if others else 0.0
    return first + Usage(completion_tokens=written, seconds=seconds)
