"""The form that a task wants its answer in: places such as `@mean_fare[value]`, each to be printed with its value.

InfiAgent-DABench (https://github.com/InfiAgent/InfiAgent) asks in this form; people who read an answer by a script do.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Place", "find_form", "unformed", "write_ending"]

_PLACE = re.compile(r"(?<![\w.@])@([A-Za-z_][\w-]*)\[([^\[\]\n]*)(?:\]|$)", re.M)
_DIGITS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_ROUNDED = re.compile(rf"\b(\d|{'|'.join(_DIGITS)})[- ]decimal", re.IGNORECASE)
_NO_FRACTION = re.compile(r"\b(?:strings?|integers?|lists?|names?|boolean|yes|no)\b", re.IGNORECASE)
"""What stands for something else than a number with a fraction."""
_CONDITION = re.compile(r"\bif\b[^.;\n@]*$", re.IGNORECASE)
"""What stands before a place that is printed in some cases only."""
_CHOICE = re.compile(r"[,{/]")
_NO_VALUE = re.compile(r"nan|none|nat|<.* at 0x[0-9a-f]+>", re.IGNORECASE)
_LONG = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """One value of the answer."""

    name: str
    digits: int | None = None
    """Digits after the point that it is rounded to, None where the task does not say."""


def find_form(text: str) -> tuple[Place, ...]:
    """The places that the answer of the task `text` has, each once; empty where it asks for no such form."""
    found: dict[str, str] = {}
    for match in _PLACE.finditer(text):
        if not _CONDITION.search(text, 0, match.start()):
            found.setdefault(match[1], match[2])
    return tuple(Place(name, _digits(text, stands_for)) for name, stands_for in found.items())


def write_ending(form: Sequence[Place]) -> str:
    """The lines of a program that print each place with the variable of its name."""
    return "\n".join(_line(place) for place in form)


def unformed(answer: str, place: str) -> str:
    """What is wrong with `place` (`@mean`) in `answer`; empty where it has a value there."""
    found = re.search(rf"{re.escape(place)}\[(.*)\]", answer)
    if found is None:
        return f"{place}[...] was not printed: print it with its value between the brackets"
    value = found[1].strip()
    return f"{place}[{value[:_LONG]}] holds no value" if _NO_VALUE.fullmatch(value) else ""


def _line(place: Place) -> str:
    name = re.sub(r"\W", "_", place.name)
    name = f"{name}_value" if keyword.iskeyword(name) else name
    rounded = "" if place.digits is None else f":.{place.digits}f"
    return f'print(f"@{place.name}[{{{name}{rounded}}}]")'


def _digits(text: str, stands_for: str) -> int | None:
    """As the sentences about what stands between the brackets say, else as all of them, where they agree."""
    rest = _PLACE.sub(" ", text)
    sentences = re.split(r"(?<=[.;])\s|\n", rest)
    about = [one for one in sentences if stands_for.strip() and re.search(rf"\b{re.escape(stands_for)}\b", one)]
    own = set[int]().union(*map(_rounding, [stands_for, *about]))
    if not own and (_CHOICE.search(stands_for) or any(map(_NO_FRACTION.search, [stands_for, *about]))):
        return None
    found = own or _rounding(rest)
    return found.pop() if len(found) == 1 else None


def _rounding(text: str) -> set[int]:
    """The numbers of digits that a text speaks of."""
    words: list[str] = _ROUNDED.findall(text)
    return {_DIGITS.get(word.lower()) or int(word) for word in words}
