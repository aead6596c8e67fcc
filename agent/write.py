"""Asks the model for a program: prompts, prefill, temperatures, and the continuation of a reply that was cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from prompts import render

from .errors import ModelRejected
from .facts import count_tokens
from .models.base import Completion, Message, Model, OnProgress, OnToken
from .task import Budget, Plan

__all__ = ["FENCE", "Request", "Writer", "draft_messages", "repair_messages"]

FENCE = "```python\n"
_STOP = "\n```"
_WARM = 0.8
_REPAIR = 0.7
"""At 0 a small model copies the program that failed, to the letter."""
_TOP_P = 0.95
_LEAST_REPLY = 256
"""Tokens that must be left for a reply."""
_TESTS_TOKENS = 600


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the model."""

    kind: str
    """`draft`, `repair` or `continue`."""
    messages: tuple[Message, ...]
    temperature: float
    seed: int
    prefill: str = ""


OnRequest = Callable[[Request], None]
"""Called with each request before it is sent."""


def draft_messages(text: str, plan: Plan) -> tuple[Message, ...]:
    """The prompt of a draft: the rules (the same for every task, so that a model's cache keeps them), then the task."""
    return (Message("system", render("system", packages=_packages(plan))), Message("user", _task(text, plan)))


def repair_messages(draft: tuple[Message, ...], code: str, feedback: str) -> tuple[Message, ...]:
    """The prompt of a repair: the draft's, the program that failed, and why."""
    answer = Message("assistant", f"{FENCE}{code.rstrip()}\n```")
    return (*draft, answer, Message("user", render("repair", feedback=feedback)))


def _packages(plan: Plan) -> str:
    if not plan.packages:
        return "Import only what you use; only the standard library is installed."
    return f"Import only what you use; apart from the standard library there are {', '.join(plan.packages)}."


def _task(text: str, plan: Plan) -> str:
    if plan.function:
        body = render("function", task=text.strip(), function=plan.function)
        return "\n\n".join([*([plan.facts] if plan.facts else []), body, *_stated(plan)])
    rules = "\n".join(_rules(text, plan)).strip()
    if plan.facts:
        return render("task", facts=plan.facts, task=text.strip(), rules=rules).rstrip()
    return render("task_without_files", task=text.strip(), rules=rules).rstrip()


def _rules(text: str, plan: Plan) -> list[str]:
    chinese = ["请用中文打印结果。"] if re.search(r"[\u4e00-\u9fff]", text) else []
    return [*chinese, *_stated(plan)]


def _stated(plan: Plan) -> list[str]:
    """The user's checks, which the task's text does not hold."""
    mine = [c for c in plan.checks if c.author == "user"]
    expressions = [c.text for c in mine if c.kind == "expression"]
    tests = [c.text.strip()[: _TESTS_TOKENS * 4] for c in mine if c.kind == "tests"]
    said = [render("checks", checks="\n".join(expressions))] if expressions else []
    return said + ([render("tests", tests="\n\n".join(tests))] if tests else [])


class Writer:
    """Asks one model within one budget."""

    def __init__(self, model: Model, budget: Budget) -> None:
        self._model, self._budget = model, budget

    def draft(self, messages: tuple[Message, ...], number: int, attempt: int) -> Request:
        """The request for draft `number` (from 0): the first as sure as the model can be, the next ones warmer."""
        warm = self._budget.temperature
        temperature = (_WARM if number else 0.0) if warm is None else warm
        return self._request("draft", messages, temperature, attempt)

    def repair(self, messages: tuple[Message, ...], attempt: int) -> Request:
        """The request for a repair."""
        given = self._budget.temperature
        return self._request("repair", messages, _REPAIR if given is None else given, attempt)

    def ask(self, request: Request, on_request: OnRequest, on_token: OnToken, on_progress: OnProgress) -> Completion:
        """The model's reply, continued once when its length was cut.

        Raises `ModelUnavailable`, and `ModelRejected` when the prompt leaves no room for a reply.
        """
        first = self._complete(request, on_request, on_token, on_progress)
        if first.finish_reason != "length":
            return first
        rest = self._complete(self._continued(request, first.text), on_request, on_token, on_progress)
        text = rest.text if request.prefill else _joined(first.text, rest.text)
        return Completion(text, rest.finish_reason, first.usage + rest.usage)

    def _request(self, kind: str, messages: tuple[Message, ...], temperature: float, attempt: int) -> Request:
        prefill = FENCE if self._model.profile.prefill else ""
        return Request(kind, messages, temperature, self._budget.seed + attempt, prefill)

    def _continued(self, request: Request, text: str) -> Request:
        messages = request.messages
        if not request.prefill:
            messages = (*messages, Message("assistant", text), Message("user", render("continue")))
        prefill = text if request.prefill else ""
        return Request("continue", messages, request.temperature, request.seed, prefill)

    def _complete(
        self, request: Request, on_request: OnRequest, on_token: OnToken, on_progress: OnProgress
    ) -> Completion:
        on_request(request)
        return self._model.complete(
            request.messages,
            temperature=request.temperature,
            top_p=_TOP_P if request.temperature else 1.0,
            max_tokens=self._room(request),
            stop=(_STOP,) if request.prefill else (),
            seed=request.seed,
            prefill=request.prefill,
            on_token=on_token,
            on_progress=on_progress,
        )[0]

    def _room(self, request: Request) -> int:
        """Tokens that a reply may have. A prompt that leaves too few would be cut silently, so it is refused."""
        profile = self._model.profile
        used = self._model.count_tokens(request.messages) + count_tokens(request.prefill)
        left = profile.context_tokens - used
        if left < _LEAST_REPLY:
            raise ModelRejected(
                f"the prompt has {used} tokens, and {profile.name} holds {profile.context_tokens}",
                hint="shorten the task, or use a model with a longer context",
            )
        return min(left, self._budget.max_tokens)


def _joined(text: str, rest: str) -> str:
    """Chat models like to open a fence anew, or to begin the cut line again."""
    rest = re.sub(r"\A\s*```\w*\n", "", rest)
    last = text.rpartition("\n")[2]
    return text + (rest[len(last) :] if last.strip() and rest.startswith(last) else rest)
