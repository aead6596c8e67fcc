"""What a model is told about a program that failed: the place, the error, and what would have been possible."""

from __future__ import annotations

from sandbox import Execution

from .task import CheckResult, Verdict

__all__ = ["describe_failure", "explain"]

_CHARS = 480
"""About 120 tokens: a small model does not make use of more."""
_LIMITS = {
    "timeout": "It ran longer than allowed and was stopped. Find a much faster way, and never wait for input.",
    "memory": "It used too much memory and was stopped. Read and keep less at once.",
    "output": "It printed too much and was stopped. Print the answer only.",
    "killed": "It was killed.",
}


def explain(problem: str, execution: Execution | None, verdict: Verdict | None) -> str:
    """The feedback for a repair, in at most about 120 tokens."""
    if execution is None:
        return f"Your reply was no valid Python: {problem}"[:_CHARS]
    if not execution.ok:
        return "The program failed.\n" + _crash(execution)
    failed = [r for r in verdict.results if not r.passed] if verdict else []
    told = "\n".join(f"- {r.detail or r.check.text}" for r in failed[:3])
    return f"The program ran, but its result is wrong:\n{told}"[:_CHARS]


def describe_failure(execution: Execution | None, verdict: Verdict | None, problem: str = "") -> str:
    """Why a program did not pass, in one sentence for a person."""
    if execution is None:
        return problem or "no program came out"
    if not execution.ok:
        return _crash_in_a_line(execution)
    failed = [r for r in verdict.results if not r.passed] if verdict else []
    return _failed_checks(failed, len(verdict.results) if verdict else 0) if failed else problem


def _crash(execution: Execution) -> str:
    error = execution.error
    if error is None or execution.status != "error":
        return _LIMITS.get(execution.status, "It ended early.")
    where = [f"Line {error.line}: {error.source}"] if error.line and error.source else []
    text = "\n".join([*where, f"{error.type}: {error.message}"[:240]])
    for note in error.notes:
        room = _CHARS - len(text)
        if room > 20:
            text += "\n" + note[:room]
    return text


def _crash_in_a_line(execution: Execution) -> str:
    error = execution.error
    if error is not None and execution.status == "error":
        place = f" in line {error.line}" if error.line else ""
        return f"the program failed{place} with {error.type}: {error.message}"[:300]
    if execution.limit is not None:
        return f"the program was stopped: {execution.status} ({execution.limit} limit)"
    return f"the program was stopped: {execution.status}"


def _failed_checks(failed: list[CheckResult], total: int) -> str:
    detail = failed[0].detail or failed[0].check.text
    if total == 1:
        return detail[:300]
    return f"{len(failed)} of {total} checks fail: {detail}"[:300]
