"""Events as lines for a reader: one function, used by the plain display, the live one and `sandsmith replay`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agent.events import (
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
    Prompted,
    Sampled,
    Started,
)
from agent.task import Agreement, CheckResult, Plan, RunResult
from sandbox import Execution, Receipt

__all__ = ["Line", "Style", "describe", "network_hint", "outcome_line", "problem_line", "requests_line", "weak_wall"]

Style = Literal["plain", "dim", "good", "bad", "warn"]


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: Style = "plain"


def describe(event: Event, *, verbose: bool = False) -> Iterator[Line]:
    """The lines that stay on the screen for `event`; with `verbose` also prompts, replies and tracebacks."""
    match event:
        case Started():
            yield Line(f"run {event.run_id}: {event.model}, in the {event.sandbox}", "dim")
        case ModelLoaded():
            yield Line(f"model loaded in {event.seconds:.1f} s", "dim")
        case Advised():
            yield from _advice(event, verbose)
        case Planned():
            yield from _plan(event.plan, verbose)
        case Prompted() if verbose:
            yield from _prompt(event)
        case Drafted():
            yield from _draft(event, verbose)
        case Sampled():
            yield from _samples(event, verbose)
        case Mended():
            yield Line(f"{event.attempt}: mended {'; '.join(event.program.mends) or 'the program'}")
        case Executed():
            yield from _execution(event.attempt, event.execution, verbose)
        case Judged():
            yield from _verdict(event)
        case Escalated():
            yield Line(f"{event.why}; {event.model} goes on", "warn")
        case Finished():
            yield outcome_line(event.result)
        case _:
            pass


def weak_wall(receipt: Receipt) -> str:
    """What to say, once, of a wall of the weakest tier, or of none; nothing of a stronger one."""
    if receipt.kind == "restricted" and receipt.tier is None:
        return "warning: no wall: on this system only the language policy and the limits of a process hold"
    if receipt.tier != "landlock":
        return ""
    return (
        "warning: a weaker wall: there are no namespaces here, and programs run behind Landlock and seccomp alone; "
        "`sandsmith doctor` tells more, --min-tier namespaces refuses"
    )


def outcome_line(result: RunResult) -> Line:
    """How the task ended, in one line."""
    cost = (
        f"{_count(result.drafts, 'draft')}, {_count(result.repairs, 'repair')}, "
        f"{result.usage.completion_tokens} tokens, {_money(result.usage.cost)}{result.seconds:.1f} s"
    )
    match result.outcome:
        case "solved":
            author = result.verdict.author if result.verdict else "none"
            return Line(f"solved: {_AUTHORS[author]} ({cost})", "good")
        case "unverified":
            return Line(f"unverified: nothing checked this answer{_agreed(result.agreement)} ({cost})", "warn")
        case "interrupted":
            return Line(f"interrupted ({cost})", "warn")
        case "failed":
            return Line(f"not solved: {result.reason or 'no program passed'} ({cost})", "bad")
        case "gave_up":
            return Line(f"gave up: {result.reason or 'no program came out'} ({cost})", "bad")


def _money(dollars: float | None) -> str:
    """The cost as a part of a list; nothing where it is not known."""
    if dollars is None:
        return ""
    return f"${dollars:.4f}, " if dollars >= 0.0001 or not dollars else "under $0.0001, "


def _agreed(agreement: Agreement | None) -> str:
    """How many programs did the same."""
    if agreement is None:
        return ""
    if agreement.agreed < 2:
        return f"; no two of {agreement.compared} programs agree"
    return f"; {agreement.agreed} of {agreement.compared} programs agree"


_AUTHORS = {
    "user": "your checks hold",
    "task": "the examples in the task hold",
    "model": "the model's own checks hold",
    "none": "nothing contradicts it",
}


def _advice(event: Advised, verbose: bool) -> Iterator[Line]:
    if verbose and event.reply:
        yield from _block("reply", event.reply)
    if event.steps:
        speed = f"{event.usage.completion_tokens} tokens in {event.usage.seconds:.1f} s"
        yield Line(f"{_count(len(event.steps), 'step')} by {event.model} ({speed})")
        yield from (Line(f"  {n}. {_one_line(step)}", "dim") for n, step in enumerate(event.steps, 1))


def _plan(plan: Plan, verbose: bool) -> Iterator[Line]:
    wanted = f"function {plan.function}" if plan.function else "a program"
    yield Line(f"plan: {wanted}, {_count(len(plan.checks), 'check')}")
    for check in plan.checks:
        yield Line(f"  {check.author} {check.kind}: {_one_line(check.text)}", "dim")
    yield from (Line(text, "warn") for text in plan.notes.splitlines())
    if verbose and plan.facts:
        yield from _block("facts", plan.facts)


def _prompt(event: Prompted) -> Iterator[Line]:
    more = f", {event.n} at once" if event.n > 1 else ""
    which = f"{event.attempt}: {event.kind}" if event.attempt else event.kind
    yield Line(f"{which} at temperature {event.temperature:g}, seed {event.seed}{more}", "dim")
    for message in event.messages:
        yield from _block(message.role, message.content)


def _draft(event: Drafted, verbose: bool) -> Iterator[Line]:
    if verbose:
        yield from _block("reply", event.reply)
    tokens, seconds = event.usage.completion_tokens, event.usage.seconds
    speed = f"{tokens} tokens in {seconds:.1f} s"
    if event.program is None:
        yield Line(f"{event.attempt}: no program: {event.problem or event.finish_reason} ({speed})", "bad")
    else:
        size = _count(len(event.program.code.splitlines()), "line")
        yield Line(f"{event.attempt}: {event.program.origin} of {size} ({speed})")


def _samples(event: Sampled, verbose: bool) -> Iterator[Line]:
    if verbose:
        yield from _block("reply", event.reply)
    calls = _one_line(", ".join(event.calls)) or "none"
    yield Line(f"calls to compare programs by: {calls} ({event.usage.completion_tokens} tokens)", "dim")


def _execution(attempt: int, execution: Execution, verbose: bool) -> Iterator[Line]:
    if asked := requests_line(execution):
        yield Line(f"{attempt}: {asked}", "dim")
    yield from (Line(f"{attempt}: {text}", "warn") for text in execution.notes)
    if execution.ok:
        yield Line(f"{attempt}: ran in {execution.seconds:.2f} s")
        return
    yield Line(f"{attempt}: {problem_line(execution)}", "bad")
    if verbose and execution.error:
        yield from _block("traceback", execution.error.traceback)


def requests_line(execution: Execution) -> str:
    """Which hosts were asked for, in one line; empty when none was."""
    asked = Counter((f"{r.host}:{r.port}", r.outcome) for r in execution.requests)
    told = [f"{host} {outcome}{f' {n} times' if n > 1 else ''}" for (host, outcome), n in asked.most_common(5)]
    more = [f"{len(asked) - 5} more"] if len(asked) > 5 else []
    return f"network: {', '.join(told + more)}" if told else ""


def network_hint(execution: Execution) -> str:
    """What to do about a program that failed for want of network; empty for others."""
    notes = execution.error.notes if execution.error else ()
    return next((f"hint: {_one_line(text, 400)}" for text in notes if "--allow-host" in text), "")


def problem_line(execution: Execution) -> str:
    """Why an execution failed, in one line."""
    error = execution.error
    if execution.status == "error" and error:
        where = f"line {error.line}: " if error.line else ""
        return f"{where}{error.type}: {_one_line(error.message)}"
    limit = f" (limit: {execution.limit})" if execution.limit else ""
    return f"{_STATUS.get(execution.status, execution.status)}{limit} after {execution.seconds:.1f} s"


_STATUS = {
    "error": "ended with an error",
    "timeout": "killed: out of time",
    "memory": "killed: out of memory",
    "output": "killed: too much output",
    "killed": "killed",
}


def _verdict(event: Judged) -> Iterator[Line]:
    verdict = event.verdict
    then = f"; {event.decision}" if event.decision != "stop" else ""
    if verdict.results and verdict.ran:
        held = sum(r.passed for r in verdict.results)
        style: Style = "good" if verdict.passed else "bad"
        yield Line(f"{event.attempt}: {held} of {_count(len(verdict.results), 'check')} held{then}", style)
        yield from (_failed_check(r) for r in verdict.results if not r.passed)
    elif then:
        yield Line(f"{event.attempt}: next is {event.decision}", "dim")


def _failed_check(result: CheckResult) -> Line:
    detail = f": {_one_line(result.detail)}" if result.detail else ""
    return Line(f"  fails ({result.check.author}) {_one_line(result.check.text)}{detail}", "bad")


def _block(title: str, text: str) -> Iterator[Line]:
    yield Line(f"--- {title}", "dim")
    yield from (Line(f"  {line}", "dim") for line in text.splitlines())


def _one_line(text: str, width: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
