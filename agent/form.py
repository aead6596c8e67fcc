"""The form that a task wants its answer in: places such as `@mean_fare[value]`, each to be printed with its value.

InfiAgent-DABench (https://github.com/InfiAgent/InfiAgent) asks in this form; people who read an answer by a script do.
"""

from __future__ import annotations

import keyword
import math
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
_WORD = r"""["'“‘`]([^"'“”‘’`\n]{1,40})["'”’`]"""
_CHOICES = re.compile(rf"{_WORD}(?:(?:\s*,\s*(?:or\s+)?|\s+or\s+|\s*/\s*){_WORD})+")
_PAIR = re.compile(r"\s*(\w+)\s*/\s*(\w+)\s*")
_LITERAL_PAIRS = ({"yes", "no"}, {"true", "false"})
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_IS_NUMBER = re.compile(r"\b(?:an?|the)\s+(?:[\w-]+\s+){0,2}?(?:number|float|integer|percentage)\b", re.IGNORECASE)
_BETWEEN = re.compile(rf"\b(?:between|from)\s+({_NUMBER})\s+(?:and|to)\s+({_NUMBER})(?![\w%])")
_ITEMS = re.compile(r"\w[\w ]*(,\s*)\w[\w ]*(?:,.*)?")
_AND_SO_ON = re.compile(r"\.\.\.|…|\betc\b")
_KIND = re.compile(rf"an? (?:number|integer)(?: from ({_NUMBER}))?(?: to ({_NUMBER}))?")
_LONG = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """One value of the answer."""

    name: str
    digits: int | None = None
    """Digits after the point that it is rounded to, None where the task does not say."""
    wants: str = ""
    """What the value has to be: `a number`, `a number from 0 to 1`, `an integer from 0`, `"yes" or "no"`, `items`
    (separated by commas); empty where the task does not say."""
    separator: str = ""
    """What stands between the items of a list that the task shows as `a, b, ...`."""

    @property
    def check(self) -> str:
        """The text of the check that it is filled as the task wants it."""
        return f"@{self.name}: {self.wants}" if self.wants else f"@{self.name}"


def find_form(text: str) -> tuple[Place, ...]:
    """The places that the answer of the task `text` has, each once; empty where it asks for no such form."""
    found: dict[str, str] = {}
    for match in _PLACE.finditer(text):
        if not _CONDITION.search(text, 0, match.start()):
            found.setdefault(match[1], match[2])
    return tuple(_place(text, name, stands_for) for name, stands_for in found.items())


def write_ending(form: Sequence[Place]) -> str:
    """The lines of a program that print each place with the variable of its name."""
    return "\n".join(_line(place) for place in form)


def unformed(answer: str, check: str) -> str:
    """What is wrong with the place of `check` (`@mean`, `@mean: a number`) in `answer`; empty where it has a value
    there as it is wanted."""
    place, _, wants = check.partition(": ")
    found = re.search(rf"{re.escape(place)}\[(.*)\]", answer)
    if found is None:
        return f"{place}[...] was not printed: print it with its value between the brackets"
    value = found[1].strip()
    wrong = _unwanted(value, wants)
    return f"{place}[{value[:_LONG]}] {wrong}" if wrong else ""


def _unwanted(value: str, wants: str) -> str:
    """Why `value` is not what the task `wants`; `none` may be one of the words that it names."""
    if words := re.findall(r'"([^"]*)"', wants):
        return "" if value in words else f"is not {wants}"
    if _NO_VALUE.fullmatch(value):
        return "holds no value"
    if wants == "items" and value.startswith(("[", "(")):
        return "is a list as Python writes it: print its items, separated by commas"
    if kind := _KIND.fullmatch(wants):
        return _no_number(value, wants, *(float(bound) if bound else None for bound in kind.groups()))
    return ""


def _no_number(value: str, wants: str, low: float | None, high: float | None) -> str:
    try:
        number = float(value.replace(",", "").strip("$€£% "))
    except ValueError:
        return f"is not {wants}"
    whole = "integer" not in wants or number.is_integer()
    inside = (low is None or number >= low) and (high is None or number <= high)
    return "" if math.isfinite(number) and whole and inside else f"is not {wants}"


def _line(place: Place) -> str:
    name = re.sub(r"\W", "_", place.name)
    name = f"{name}_value" if keyword.iskeyword(name) else name
    if place.separator:
        return f'print(f"@{place.name}[{{{place.separator!r}.join(map(str, {name}))}}]")'
    rounded = "" if place.digits is None else f":.{place.digits}f"
    return f'print(f"@{place.name}[{{{name}{rounded}}}]")'


def _place(text: str, name: str, stands_for: str) -> Place:
    wants = _wants(text, stands_for)
    listed = _ITEMS.fullmatch(stands_for.strip()) if wants == "items" and _AND_SO_ON.search(stands_for) else None
    return Place(name, _digits(text, stands_for), wants, listed[1] if listed else "")


def _wants(text: str, stands_for: str) -> str:
    """What the task says about the value that `stands_for` stands for."""
    sentences = " ".join(_about(text, stands_for)) or stands_for
    if words := _choices(text, stands_for) or _named_words(sentences):
        return " or ".join(f'"{word}"' for word in words)
    if _ITEMS.fullmatch(stands_for.strip()):
        return "items"
    number = _IS_NUMBER.search(sentences)
    if number is None or re.search(r"\b(?:list|string|or)\b", sentences):
        return ""
    kind = "an integer" if "integer" in number[0].lower() else "a number"
    if between := _BETWEEN.search(sentences, number.end()):
        return f"{kind} from {between[1]} to {between[2]}"
    return f"{kind} from 0" if "non-negative" in number[0].lower() else kind


def _choices(text: str, stands_for: str) -> list[str]:
    """The words of `positive/negative`, where the task speaks of them so."""
    pair = _PAIR.fullmatch(stands_for)
    if pair is None:
        return []
    one, other = pair.groups()
    told = re.search(rf"\b{re.escape(one)}\W{{1,3}}or\W{{1,3}}{re.escape(other)}\b", text)
    return [one, other] if told or {one.lower(), other.lower()} in _LITERAL_PAIRS else []


def _named_words(sentences: str) -> list[str]:
    """The words in quotes of which a value is to be one: `either "linear", "nonlinear", or "none"`."""
    found = next((m for m in _CHOICES.finditer(sentences) if re.search(r"\bor\b|/", m[0])), None)
    return re.findall(_WORD, found[0]) if found else []


def _about(text: str, stands_for: str) -> list[str]:
    """The sentences that say what `stands_for` is, in quotes or at their beginning, up to what the next one is."""
    if not stands_for.strip():
        return []
    named = re.compile(rf"(?:[\"'“‘`]|^\W*(?:where(?:by)?\s+)?){re.escape(stands_for.strip())}(?![\w])")
    return [one for one in _sentences(text) if named.search(one)]


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.;])\s|\n", _PLACE.sub(" ", text))


def _digits(text: str, stands_for: str) -> int | None:
    """As the sentences about what stands between the brackets say, else as all of them, where they agree."""
    sentences = _sentences(text)
    about = [one for one in sentences if stands_for.strip() and re.search(rf"\b{re.escape(stands_for)}\b", one)]
    own = set[int]().union(*map(_rounding, [stands_for, *about]))
    if not own and (_CHOICE.search(stands_for) or any(map(_NO_FRACTION.search, [stands_for, *about]))):
        return None
    found = own or _rounding(" ".join(sentences))
    return found.pop() if len(found) == 1 else None


def _rounding(text: str) -> set[int]:
    """The numbers of digits that a text speaks of."""
    words: list[str] = _ROUNDED.findall(text)
    return {_DIGITS.get(word.lower()) or int(word) for word in words}
