"""What a program did, compared with what others did: where nothing checks a result, the one that most of them agree on
is taken.

Wrong programs are wrong in many ways, so that two which were written apart and do the same are more likely to be right
than one (the majority of CodeT and of self-consistency). Of a function the model writes inputs only: results that a
small model predicts are often wrong.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath

from sandbox import Change, Execution, OwnCode, SandboxUnavailable, Session

from .extract import extract
from .files import ARCHIVES, PICTURES
from .judge import answer_of

__all__ = ["Behaviour", "behaviour_of", "behaviour_on", "find_calls", "groups"]

_CALLS = 6
_CALL_CHARS = 300
_CALL_SECONDS = 2.0
_TOLERANCE = 1e-6
"""By how much numbers may differ, as a share."""
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_FAILED = "! "
"""Before the type of an error, or the limit that was hit, in the place of a result."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a program did, as far as it can be compared."""

    answer: str = ""
    files: tuple[tuple[str, str], ...] = ()
    """Paths that it changed, and the digest of what is there now."""
    results: tuple[str, ...] = ()
    """What its function returned for each call."""

    def is_like(self, other: Behaviour) -> bool:
        """Whether both did the same: the same files, the same results, and the same numbers in what they printed,
        or where there are none the same words."""
        if self.files != other.files or len(self.results) != len(other.results):
            return False
        same = all(_same_result(a, b) for a, b in zip(self.results, other.results, strict=True))
        return same and _same_answer(self.answer, other.answer)


def behaviour_of(execution: Execution, changes: Iterable[Change], *, asks: bool) -> Behaviour | None:
    """What a program printed and changed; None when nothing of it can be compared.

    `asks`: whether the task wants something told. Otherwise what is printed beside changes is only talk. The content of
    pictures and archives cannot be compared, since it differs between programs that do the same.
    """
    files = tuple(sorted((change.path, _mark(change)) for change in changes))
    answer = "" if files and not asks else answer_of(execution)
    return Behaviour(answer, files) if answer or any(mark for _, mark in files) else None


def _mark(change: Change) -> str:
    if change.kind == "deleted" or change.is_dir:
        return "deleted" if change.kind == "deleted" else "folder"
    return "" if PurePosixPath(change.path).suffix.lower() in PICTURES | ARCHIVES else change.sha256


def behaviour_on(session: Session, calls: Sequence[str]) -> Behaviour | None:
    """What the function that was defined in `session` returns for `calls`; None when it returns nothing for any.

    A call has two seconds; what comes after one that was stopped is not called any more.
    """
    results = tuple(_results(session, calls))
    return Behaviour(results=results) if any(not result.startswith(_FAILED) for result in results) else None


def _results(session: Session, calls: Sequence[str]) -> Iterator[str]:
    for call in calls:
        try:
            run = session.execute(OwnCode(_code(call)), on_error="keep", wall_seconds=_CALL_SECONDS)
        except SandboxUnavailable:  # its own doing, as os._exit
            return
        yield _told(run)
        if run.limit is not None:
            return


def _told(run: Execution) -> str:
    if not run.ok:
        return f"{_FAILED}{run.error.type if run.error else run.status}"
    try:
        return str(json.loads(ast.literal_eval(run.value or "")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return f"{_FAILED}nothing"


def _code(call: str) -> str:
    """A single expression, so that it leaves no name behind among the program's."""
    source = resources.files(__package__ or "agent").joinpath("outcome_probe.py").read_text("utf-8")
    run = f"b.exec(b.compile({source!r}, '<outcome>', 'exec'), n)"
    told = f"n['outcome']({call!r}, vars(b.__import__('__main__')))"
    return f"(lambda b, n: ({run}, {told})[1])(__import__('builtins'), {{'__name__': 'outcome'}})"


def find_calls(reply: str, function: str) -> tuple[str, ...]:
    """The calls of `function` in a model's reply, at most six different ones. Only those whose arguments are literals
    count: what a model expects to come out is left aside, and nothing else of the reply is run."""
    tree = ast.parse(extract(reply).code)
    calls = (ast.unparse(node) for line in tree.body for node in ast.walk(line) if _is_plain_call(node, function))
    return tuple(dict.fromkeys(call for call in calls if len(call) <= _CALL_CHARS))[:_CALLS]


def _is_plain_call(node: ast.AST, function: str) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != function:
        return False
    named = all(keyword.arg is not None for keyword in node.keywords)
    return named and all(map(_is_literal, [*node.args, *(keyword.value for keyword in node.keywords)]))


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


def groups(behaviours: Sequence[Behaviour]) -> list[list[int]]:
    """The numbers of those that did the same, the largest group first and between equals the earliest."""
    found: list[list[int]] = []
    for number, behaviour in enumerate(behaviours):
        home = next((group for group in found if behaviours[group[0]].is_like(behaviour)), None)
        if home is None:
            found.append([number])
        else:
            home.append(number)
    return sorted(found, key=lambda group: (-len(group), group[0]))


def _same_answer(a: str, b: str) -> bool:
    one, other = _NUMBER.findall(a), _NUMBER.findall(b)
    return a.split() == b.split() or (bool(one) and _same_numbers(one, other))


def _same_result(a: str, b: str) -> bool:
    """Both are values as Python writes them: all but the numbers has to be the same."""
    return _NUMBER.sub("0", a) == _NUMBER.sub("0", b) and _same_numbers(_NUMBER.findall(a), _NUMBER.findall(b))


def _same_numbers(a: Sequence[str], b: Sequence[str]) -> bool:
    return len(a) == len(b) and all(map(_is_close, a, b))


def _is_close(a: str, b: str) -> bool:
    one, other = float(a.replace(",", "")), float(b.replace(",", ""))
    return a == b or (math.isfinite(one) and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-12))
