"""What a container says of an execution, checked as what a program says: hostile, once the wall in it is broken."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, TypeVar, cast, get_args

from .. import claims
from ..execution import Execution, Limit, Receipt, Status
from ..jail.figures import Figures
from ..policy import Policy
from ..text import decode
from ..tiers import TIERS, Tier
from ..worker.wire import ProtocolError

__all__ = ["Outputs", "execution", "lines", "number", "tier"]

_NOTES, _NOTE_CHARS = 40, 500
_MOST = 1 << 48
_T = TypeVar("_T")


class Outputs:
    """Takes the parts of an execution: what was printed, and figures, within a policy's caps."""

    def __init__(self, policy: Policy) -> None:
        self._texts = {"stdout": bytearray(), "stderr": bytearray()}
        # What is no UTF-8, or a control character, has been written out as several characters in there.
        self._room = 16 * policy.output_bytes + (1 << 16)
        self._limit = policy.output_bytes
        self._figures_room = 2 * policy.displays + 64
        self.figures = Figures(policy)

    def take(self, part: dict[str, Any]) -> None:
        """One part. Raises `ProtocolError` for what no honest server sends."""
        name, text = part.get("name"), part.get("data")
        if name == "display":
            self._figures_room -= 1
            _require(self._figures_room >= 0, "too many figures")
            self.figures.take(part)
            return
        if type(name) is not str or name not in self._texts or type(text) is not str:
            raise ProtocolError("not a part of an execution")
        try:
            data = b64decode(text, validate=True)
        except ValueError:
            raise ProtocolError("output that is not base64") from None
        self._room -= len(data)
        _require(self._room >= 0, "more output than a session may print")
        self._texts[name] += data

    def text(self, name: str) -> str:
        """What was printed, made harmless."""
        return decode(bytes(self._texts[name]), self._limit)


def execution(answer: dict[str, Any], outputs: Outputs, policy: Policy, receipt: Receipt, seconds: float) -> Execution:
    """The outcome of an execution that has taken `seconds` as seen from here. Raises `ProtocolError`."""
    chars = policy.value_chars
    signal = answer.get("signal")
    return Execution(
        status=_one_of(get_args(Status), answer.get("status")),
        stdout=outputs.text("stdout"),
        stderr=outputs.text("stderr"),
        value=claims.text(answer.get("value"), chars),
        error=claims.problem(answer.get("error"), chars),
        displays=tuple(outputs.figures.kept),
        seconds=min(number(answer.get("seconds")), seconds),
        cpu_seconds=number(answer.get("cpu_seconds")),
        peak_memory=int(number(answer.get("peak_memory"))),
        exit_code=claims.exit_code(answer.get("exit_code")),
        signal=signal if type(signal) is int and 0 < signal < 65 else None,
        limit=_one_of((*get_args(Limit), None), answer.get("limit")),
        truncated=answer.get("truncated") is True,
        notes=(*outputs.figures.notes, *lines(answer.get("notes"))),
        receipt=receipt,
    )


def tier(claim: Any) -> Tier:
    """The tier that a jail was built with. Raises `ProtocolError`."""
    return _one_of(TIERS, claim)


def lines(claim: Any) -> tuple[str, ...]:
    """Lines of text, a few, and harmless."""
    given = cast("list[Any]", claim)[:_NOTES] if isinstance(claim, list) else []
    return tuple(" ".join(text.split()) for one in given if (text := claims.text(one, _NOTE_CHARS)))


def number(claim: Any) -> float:
    """A number that measures something. Raises `ProtocolError`."""
    _require(type(claim) in (int, float) and 0 <= claim < _MOST, "not a number")
    return claim


def _one_of(choices: tuple[_T, ...], claim: Any) -> _T:
    for choice in choices:
        if type(claim) is type(choice) and claim == choice:
            return choice
    raise ProtocolError(f"{str(claim)[:50]!r} is none of {choices}")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError(what)
