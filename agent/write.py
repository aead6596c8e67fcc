"""Asks the model for a program: prompts, prefill, temperatures, and the continuation of a reply that was cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prompts import render

from .errors import ModelRejected
from .facts import count_tokens
from .models.base import Completion, Message, Model, OnProgress, OnToken
from .task import Budget, Plan

__all__ = [
    "FENCE",
    "OnRequest",
    "Request",
    "Writer",
    "calls_messages",
    "draft_messages",
    "edit_messages",
    "fresh_messages",
    "opening_of",
    "plan_messages",
    "repair_messages",
]

FENCE = "```python\n"
_STOP = "\n```"
_STOP_PLAN = "```python"
"""Small models like to write the program at once, in spite of all."""
_WARM = 0.8
_REPAIR = 0.7
"""At 0 a small model copies what failed, to the letter."""
_EDIT = 0.2
"""What is to be replaced has to be copied to the letter."""
_TOP_P = 0.95
_LEAST_AT_ONCE = 512
"""Tokens that a reply may have when others are written at the same time."""
_LEAST_REPLY = 256
"""Tokens that must be left for a reply."""
_TESTS_TOKENS = 600
_CALLS_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the model."""

    kind: str
    """`plan`, `draft`, `repair`, `continue` or `calls`."""
    messages: tuple[Message, ...]
    temperature: float
    seed: int
    prefill: str = ""
    n: int = 1
    """Replies to write at once."""
    max_tokens: int | None = None
    """Tokens of a reply at most, which is not continued when it is cut; None: as the budget says."""
    edited: str = ""
    """The program that the reply may edit by search/replace blocks."""


OnRequest = Callable[[Request], None]
"""Called with each request before it is sent."""


def draft_messages(text: str, plan: Plan, hosts: Sequence[str] = ()) -> tuple[Message, ...]:
    """The prompt of a draft: the rules (the same for every task of a kind, so that a model's cache keeps them), then
    the task.

    `hosts` is what the program can reach.
    """
    if plan.function:
        rules = render("system_function", packages=_packages(plan))
    else:
        rules = render("system", network=_network(hosts), packages=_packages(plan))
    return (Message("system", rules), Message("user", _task(text, plan)))


def fresh_messages(plan: Plan) -> tuple[Message, ...]:
    """The prompt of a draft that does not see the function to be mended, which a small model likes to copy.

    Empty where there is none, or where the task does not say what it is for.
    """
    fresh = plan.faulty.fresh if plan.faulty else ""
    return draft_messages(fresh, replace(plan, faulty=None)) if fresh else ()


def plan_messages(text: str, plan: Plan) -> tuple[Message, ...]:
    """The prompt for the steps of a plan: what a draft is told of the task."""
    return (Message("user", render("plan", task=_task(text, plan))),)


def repair_messages(
    draft: tuple[Message, ...], code: str, feedback: str, prompt: str = "repair"
) -> tuple[Message, ...]:
    """The prompt of a repair: the draft's, the program that failed, and why."""
    answer = Message("assistant", f"{FENCE}{code.rstrip()}\n```")
    return (*draft, answer, Message("user", render(prompt, feedback=feedback)))


def edit_messages(draft: tuple[Message, ...], code: str, feedback: str) -> tuple[Message, ...]:
    """The prompt of a repair by search/replace blocks."""
    return repair_messages(draft, code, feedback, "repair_edits")


def calls_messages(draft: tuple[Message, ...], code: str, function: str) -> tuple[Message, ...]:
    """The prompt for calls of `function`: the draft's, and the program that came of it, both of which were read."""
    answer = Message("assistant", f"{FENCE}{code.rstrip()}\n```")
    return (*draft, answer, Message("user", render("calls", function=function)))


def opening_of(code: str, opening: str) -> str:
    """The part of `code` down to the end of `opening`, with what was mended before it; empty without the opening."""
    end = code.find(opening) + len(opening)
    return code[:end] if opening and opening in code else ""


def _network(hosts: Sequence[str]) -> str:
    if not hosts:
        return "no network"
    return f"no network but {', '.join(hosts)} (urllib, requests and httpx find the proxy by themselves)"


def _packages(plan: Plan) -> str:
    if not plan.packages:
        return "Use only the standard library, and import what you use."
    return f"Import only what you use; apart from the standard library there are {', '.join(plan.packages)}."


def _task(text: str, plan: Plan) -> str:
    known = [part for part in (plan.facts, plan.session, _steps(plan)) if part]
    if plan.function:
        body = render("function_mend" if plan.faulty else "function", task=text.strip(), function=plan.function)
        return "\n\n".join([*known, body, *_stated(plan)])
    before = [*known, *([_hints(plan)] if plan.hints else [])]
    stated = f"Task: {text.strip()}" if before else text.strip()
    return "\n\n".join([*before, "\n".join([stated, *_rules(text, plan)])])


def _steps(plan: Plan) -> str:
    lines = [f"{number}. {step}" for number, step in enumerate(plan.steps, 1)]
    return render("steps", steps="\n".join(lines)) if lines else ""


def _hints(plan: Plan) -> str:
    return "\n".join(["Hints:", *(f"- {hint}" for hint in plan.hints)])


def _rules(text: str, plan: Plan) -> list[str]:
    chinese = ["请用中文打印结果。"] if re.search(r"[\u4e00-\u9fff]", text) else []
    ending = [render("ending", lines=plan.ending)] if plan.ending else []
    return [*chinese, *_stated(plan), *ending]


def _stated(plan: Plan) -> list[str]:
    """The user's checks, which the task's text does not hold."""
    mine = [c for c in plan.checks if c.author == "user"]
    expressions = [c.text for c in mine if c.kind == "expression"]
    tests = [c.text.strip()[: _TESTS_TOKENS * 4] for c in mine if c.kind == "tests"]
    said = [render("checks", checks="\n".join(expressions))] if expressions else []
    return said + ([render("tests", tests="\n\n".join(tests))] if tests else [])


class Writer:
    """Asks one model within one budget."""

    def __init__(self, model: Model, budget: Budget, *, rewinds: bool = False, edits: bool = False) -> None:
        self._model, self._budget, self.edits = model, budget, edits
        self.rewinds = rewinds and model.profile.prefill
        """Whether a repair may go on from the statement that failed."""

    def draft(
        self, messages: tuple[Message, ...], number: int, attempt: int, opening: str = "", *, another: bool = False
    ) -> Request:
        """The request for draft `number` (from 0) of a program that begins with `opening`.

        The first draft is as sure as the model can be, and so is the second where `messages` or leaving out the
        opening make it `another` one; the next are warmer.
        """
        warm = self._budget.temperature
        sure = number == 0 or (number == 1 and another)
        temperature = (0.0 if sure else _WARM) if warm is None else warm
        return self._request("draft", messages, temperature, attempt, "" if number == 1 else opening)

    def at_once(self, request: Request, n: int, longest: int) -> Request:
        """`request` for `n` replies at once; for one where they would all be the same, as at temperature 0.

        They are waited for until the last one is complete, so none may have more than twice the tokens of the
        `longest` reply to this task so far.
        """
        if n < 2 or request.temperature == 0:
            return request
        return replace(request, n=n, max_tokens=max(2 * longest, _LEAST_AT_ONCE))

    def repair(self, messages: tuple[Message, ...], attempt: int, opening: str = "") -> Request:
        """The request for a repair that leaves `opening` as it is and goes on after it."""
        given = self._budget.temperature
        return self._request("repair", messages, _REPAIR if given is None else given, attempt, opening)

    def calls(self, messages: tuple[Message, ...], function: str) -> Request:
        """The request for calls of `function`."""
        return replace(self._request("calls", messages, 0.0, 0, f"{function}("), max_tokens=_CALLS_TOKENS)

    def edit(self, messages: tuple[Message, ...], attempt: int, code: str) -> Request:
        """The request for a repair of `code` by search/replace blocks."""
        given = self._budget.temperature
        seed = self._budget.seed + attempt
        return Request("repair", messages, _EDIT if given is None else given, seed, edited=code)

    def ask(self, request: Request, on_request: OnRequest, on_token: OnToken, on_progress: OnProgress) -> Completion:
        """The model's reply, continued once when its length was cut, unless it is a plan.

        Raises `ModelUnavailable`, and `ModelRejected` when the prompt leaves no room for a reply.
        """
        first = self.ask_at_once(request, on_request, on_token, on_progress)[0]
        if first.finish_reason != "length" or request.kind == "plan":
            return first
        rest = self.ask_at_once(self._continued(request, first.text), on_request, on_token, on_progress)[0]
        text = rest.text if request.prefill else _joined(first.text, rest.text)
        return Completion(text, rest.finish_reason, first.usage + rest.usage)

    def ask_at_once(
        self, request: Request, on_request: OnRequest, on_token: OnToken, on_progress: OnProgress
    ) -> list[Completion]:
        """As many replies as `request` asks for (fewer when the model was stopped). One that was cut stays so.

        Raises as `ask`.
        """
        on_request(request)
        return self._model.complete(
            request.messages,
            n=request.n,
            temperature=request.temperature,
            top_p=_TOP_P if request.temperature else 1.0,
            max_tokens=self._room(request),
            stop=(_STOP_PLAN,) if request.kind == "plan" else (_STOP,) if request.prefill else (),
            seed=request.seed,
            prefill=request.prefill,
            on_token=on_token,
            on_progress=on_progress,
        )

    def _request(
        self, kind: str, messages: tuple[Message, ...], temperature: float, attempt: int, opening: str
    ) -> Request:
        prefill = FENCE + opening if self._model.profile.prefill else ""
        return Request(kind, messages, temperature, self._budget.seed + attempt, prefill)

    def _continued(self, request: Request, text: str) -> Request:
        messages = request.messages
        if not request.prefill:
            messages = (*messages, Message("assistant", text), Message("user", render("continue")))
        prefill = text if request.prefill else ""
        return Request("continue", messages, request.temperature, request.seed, prefill)

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
        return min(left, self._budget.max_tokens, request.max_tokens or left)


def _joined(text: str, rest: str) -> str:
    """Chat models like to open a fence anew, or to begin the cut line again."""
    rest = re.sub(r"\A\s*```\w*\n", "", rest)
    last = text.rpartition("\n")[2]
    return text + (rest[len(last) :] if last.strip() and rest.startswith(last) else rest)
