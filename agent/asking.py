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
        self.plan = plan

    def draw(self, move: Move, before: Sequence[Trial]) -> Trial:
        """One reply of the model after the trials `before`: a trial that was not run yet.

        Raises `ModelUnavailable`, and `ModelRejected` when the prompt leaves no room for a reply.
        """
        attempt = len(before) + 1
        trial = Trial(attempt, "repair" if move.base else "draft", base=move.base.attempt if move.base else None)
        reply = self._ask(self._request(move, before), attempt)
        program, problem = self._read(reply, trial)
        usage = reply.usage
        self._tell(Drafted(self._at(), attempt, reply.text, reply.finish_reason, program, problem, usage))
        return replace(trial, program=program, problem=problem)

    def _request(self, move: Move, before: Sequence[Trial]) -> Request:
        base, attempt, writer = move.base, len(before) + 1, self._writer
        if base is None or base.program is None:
            return writer.draft(self._prompt, sum(t.kind == "draft" for t in before), attempt, self.plan.opening)
        begun = rewound(base.program, base.execution) if writer.rewinds and base.execution else ""
        if begun:
            return writer.repair(self._prompt, attempt, begun)
        feedback = explain(base.problem, base.execution, base.verdict)
        messages = repair_messages(self._prompt, base.program.code, feedback)
        return writer.repair(messages, attempt, opening_of(base.program.code, self.plan.opening))

    def _ask(self, request: Request, attempt: int) -> Completion:
        with self._deadline():
            reply = self._writer.ask(
                request,
                lambda r: self._tell(
                    Prompted(self._at(), attempt, r.kind, r.messages, r.temperature, r.seed, r.prefill)
                ),
                lambda text: self._hear(attempt, text),
                self._listener.progressed,
            )
        self._listener.spent(reply.usage)
        self._listener.check_cancelled()
        return reply

    def _read(self, reply: Completion, trial: Trial) -> tuple[Program | None, str]:
        """The program in a reply; None for a reply without one, or with one that was tried before."""
        if reply.finish_reason == "cancelled":
            return None, "it is not needed any more" if self._listener.is_won() else "its time was over"
        found = extract(without_comments(reply.text), self.plan.function)
        if not found.code:
            return None, found.problem
        if (before := self._seen.setdefault(same_program(found.code), trial.attempt)) != trial.attempt:
            return None, f"the same program as in attempt {before}"
        return Program(found.code, "repair" if trial.kind == "repair" else "draft"), ""

    def _hear(self, attempt: int, text: str) -> None:
        self._tell(Tokens(self._at(), attempt, text))
        self._listener.heard()

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
