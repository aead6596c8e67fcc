"""The steps of a plan: a few numbered lines that a model writes before the first draft.

A small model's own plan hurts it, a big one's helps both (Qwen2.5-Coder-3B with a plan from elsewhere: 72 to 93 % of
MBPP). So a big model plans for itself where there is something to plan, and a second one for whichever model drafts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .extract import plain_reply
from .facts import count_tokens
from .models.base import Completion, Model, OnProgress, OnToken
from .policy import Strategy
from .task import Budget, Plan, Task
from .write import OnRequest, Request, Writer, plan_messages

__all__ = ["Steps", "ask_steps", "find_steps", "wants_steps"]

_MOST = 8
_CHARS = 300
"""Of one step."""
_REPLY_TOKENS = 1024
_LONG_TASK = 120
"""Tokens of a task that is worth a plan without any file."""
_FENCE = re.compile(r"^[ \t]*```[ \t]*\w.*?(?:^[ \t]*```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_NUMBERED = re.compile(r"[ \t]*(?:\*\*)?(?:step )?\d{1,2}[.):](?:\*\*)?[ \t]+(?=\S)", re.IGNORECASE)
_BULLET = re.compile(r"[ \t]*[-*•][ \t]+(?=\S)")


@dataclass(frozen=True, slots=True)
class Steps:
    """What came of asking for a plan: its steps, or why there are none."""

    steps: tuple[str, ...] = ()
    problem: str = ""


def wants_steps(strategy: Strategy, task: Task, plan: Plan, *, planner: bool) -> bool:
    """Whether a model should write steps first: always with a `planner`, else where a big one has files or a long text
    to think about. A function with examples needs none, nor does a program that is to be mended."""
    if strategy.plain or planner:
        return not strategy.plain
    exemplified = plan.function is not None and any(check.kind == "expression" for check in plan.checks)
    if not strategy.plans or exemplified or task.program:
        return False
    return bool(plan.facts) or count_tokens(task.text) > _LONG_TASK


def ask_steps(
    model: Model,
    budget: Budget,
    text: str,
    plan: Plan,
    on_request: OnRequest,
    on_token: OnToken,
    on_progress: OnProgress,
) -> Completion:
    """The reply of `model`, asked for the steps of the task `text`. Raises `ModelUnavailable` and `ModelRejected`."""
    least = replace(budget, max_tokens=min(budget.max_tokens, _REPLY_TOKENS))
    request = Request("plan", plan_messages(text, plan), 0.0, budget.seed)
    return Writer(model, least).ask(request, on_request, on_token, on_progress)


def find_steps(reply: str, *, cut: bool = False) -> Steps:
    """The steps in a reply: its numbered lines with what belongs to each, else its bullets; code is left out, and of a
    reply that was `cut` the last line."""
    text = plain_reply(reply)
    text = text.rpartition("\n")[0] if cut else text
    lines = _FENCE.sub("", text).splitlines()
    for mark in (_NUMBERED, _BULLET):
        if found := _marked(lines, mark):
            return Steps(tuple(found[:_MOST]))
    return Steps(problem="the reply holds no numbered steps" if reply.strip() else "the reply is empty")


def _marked(lines: list[str], mark: re.Pattern[str]) -> list[str]:
    """The lines that begin with `mark`, without it; lines that are indented go on with the one before."""
    found: list[str] = []
    for line in lines:
        if begun := mark.match(line):
            found.append(line[begun.end() :])
        elif found and line.strip() and line[0].isspace():
            found[-1] += f" {line.strip()}"
    return [" ".join(step.split())[:_CHARS] for step in found]
