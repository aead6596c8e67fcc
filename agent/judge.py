"""Says what the checks make of a program, in the session in which it ran."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from sandbox import Execution, OwnCode, SandboxUnavailable, Session

from .form import unformed
from .task import Check, CheckResult, Verdict

__all__ = ["answer_of", "judge"]

_NO_ANSWER = re.compile(
    r"<[\w.]+ (?:object |[\w.<>]+ )?at 0x[0-9a-f]+>"  # repr of a function, generator or object
    r"|\bLength: \d+, dtype: \w+"  # a whole column, cut for display
    r"|\[\d+ rows x \d+ columns\]"
    r"|(?:[:=]|\bis)\s*nan\b"
)
_EXAMPLE_SECONDS = 10.0
"""What an example of the task takes longer than goes on for ever; checks of the user have the whole time."""
_NOT_RUN = "not checked: the program did not run to its end"


def judge(
    session: Session,
    execution: Execution,
    checks: Sequence[Check],
    *,
    changed: Callable[[], bool],
    bound: Callable[[], bool] = lambda: False,
    wall_seconds: float | None = None,
) -> Verdict:
    """The verdict about the program that `execution` came from. `changed`: whether it changed any file; `bound`:
    whether it changed a name that is of use to somebody, which is as good as printing.

    `wall_seconds` bounds each check, and ten seconds one that is an example of the task. A program whose process is
    gone by then has failed the check.
    """
    if not execution.ok:
        return Verdict(False, tuple(CheckResult(check, False, _NOT_RUN) for check in checks))
    effects = _Effects(changed, bound)
    return Verdict(True, tuple(_result(session, execution, check, effects, wall_seconds) for check in checks))


def answer_of(execution: Execution | None) -> str:
    """What the program printed, else the value of its last expression."""
    if execution is None:
        return ""
    printed = execution.stdout.strip()
    if printed or execution.value in (None, "None"):
        return printed
    value = _literal(execution.value or "")
    return value if isinstance(value, str) else execution.value or ""


@dataclass(frozen=True, slots=True)
class _Effects:
    changed: Callable[[], bool]
    bound: Callable[[], bool]


def _result(session: Session, execution: Execution, check: Check, effects: _Effects, wall: float | None) -> CheckResult:
    if check.kind == "answer":
        wrong = _unanswered(execution)
        return CheckResult(check, not wrong, wrong)
    if check.kind == "form":
        wrong = unformed(answer_of(execution), check.text)
        return CheckResult(check, not wrong, wrong)
    if check.kind == "effect":
        return _effect(execution, check, effects)
    if check.author == "task":
        wall = min(wall or _EXAMPLE_SECONDS, _EXAMPLE_SECONDS)
    try:
        run = session.execute(OwnCode(_code(check)), on_error="keep", wall_seconds=wall)
    except SandboxUnavailable:  # its own doing (os._exit): a wall that broke shows when the next session opens
        gone = f"{_label(check)}: the program had ended its process, so nothing could be checked"
        return CheckResult(check, False, gone)
    wrong = _wrong(run, check)
    return CheckResult(check, not wrong, wrong, run.requests)


def _unanswered(execution: Execution) -> str:
    """Why what was printed cannot be an answer: there is nothing, or an object instead of what it holds."""
    answer = answer_of(execution)
    if not answer and not execution.displays:
        return "nothing was printed: print the answer"
    if found := _NO_ANSWER.search(answer):
        return f"the output shows {found[0].strip()!r} instead of an answer"
    return ""


def _effect(execution: Execution, check: Check, effects: _Effects) -> CheckResult:
    """Printing is enough, unless the task cannot be done without a change."""
    may_print = "printed" in check.text
    if may_print and (answer_of(execution) or execution.displays or effects.bound()):
        return CheckResult(check, True)
    done = effects.changed()
    failure = "nothing was printed and no file was changed" if may_print else "no file was changed"
    return CheckResult(check, done, "" if done else failure)


def _code(check: Check) -> str:
    """A single expression, so that the check leaves no name behind among the program's, and needs none of them."""
    source = resources.files(__package__ or "agent").joinpath("judge_probe.py").read_text("utf-8")
    run = f"b.exec(b.compile({source!r}, '<judge>', 'exec'), n)"
    call = f"n['check']({check.kind!r}, {check.text!r}, vars(b.__import__('__main__')))"
    return f"(lambda b, n: ({run}, {call})[1])(__import__('builtins'), {{'__name__': 'judge'}})"


def _wrong(run: Execution, check: Check) -> str:
    """What is wrong, empty when the check holds. A check that was stopped does not hold."""
    if not run.ok:
        why = f"{run.error.type}: {run.error.message}" if run.error else f"stopped ({run.status})"
        return f"{_label(check)}: {why}"
    try:
        return str(json.loads(str(_literal(run.value or ""))))
    except ValueError:
        return f"{_label(check)}: the check was prevented from reporting"


def _label(check: Check) -> str:
    return check.text[:200] if check.kind in ("expression", "file", "columns") else check.kind


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
