"""Repairs that name only what changes: search/replace blocks, as aider has them.

    <<<<<<< SEARCH
    lines of the program
    =======
    what takes their place
    >>>>>>> REPLACE

A large model writes them well, and a long program is not written all over again. See
https://aider.chat/docs/more/edit-formats.html.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .extract import Extract, extract, find_error, plain_reply

__all__ = ["UNAPPLIED", "Edit", "Unfit", "apply_edits", "parse_edits", "read_reply"]

UNAPPLIED = "the edits could not be made: "
"""What the problem of a reply begins with whose edits do not fit the program."""
_SEARCH, _MIDDLE, _REPLACE = (
    re.compile(rf"[ \t]*{mark}[ \t]*$") for mark in (r"<{5,9} ?SEARCH:?", r"={5,9}", r">{5,9}(?: ?REPLACE)?")
)
_CLOSE = 0.5
"""How much alike two lines are at least, of 1, for the one to be told as close to the other."""
_CHARS = 160
"""Of a line that is told."""
_PLACES = 5


@dataclass(frozen=True, slots=True)
class Edit:
    """One block: `search` gives way to `replace`, both as lines."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


class Unfit(ValueError):
    """Edits cannot be made; says why, for the model."""


def read_reply(reply: str, base: str, function: str | None = None) -> Extract:
    """The program in `reply`: `base`, if there is one, with the blocks of the reply applied; without any a whole one.

    All blocks are applied or none. The problem of one that does not fit begins with `UNAPPLIED`.
    """
    try:
        edits = parse_edits(reply) if base else ()
        if not edits:
            return extract(reply, function)
        code = apply_edits(base, edits)
    except Unfit as why:
        return Extract("", f"{UNAPPLIED}{why}")
    wrong = find_error(code)
    return Extract("", f"{UNAPPLIED}with them the program is no Python, {wrong}") if wrong else Extract(code)


def parse_edits(reply: str) -> tuple[Edit, ...]:
    """The blocks in `reply`, in their order; what stands around them is of no matter. Raises `Unfit`
    for one that is not whole."""
    edits: list[Edit] = []
    lines = iter(plain_reply(reply).split("\n"))
    for line in lines:
        if _SEARCH.match(line):
            search = _until(_MIDDLE, lines, "=======")
            edits.append(Edit(search, _until(_REPLACE, lines, ">>>>>>> REPLACE")))
    return tuple(edits)


def _until(mark: re.Pattern[str], lines: Iterator[str], name: str) -> tuple[str, ...]:
    """The lines before the next `mark`, which is taken as well."""
    taken: list[str] = []
    for line in lines:
        if mark.match(line):
            return tuple(taken)
        if _SEARCH.match(line):
            break
        taken.append(line)
    raise Unfit(f"a block has no line {name}")


def apply_edits(code: str, edits: Sequence[Edit]) -> str:
    """`code` after `edits`, one after the other. Raises `Unfit` for lines that are nowhere in it, or in several
    places."""
    lines = code.split("\n")
    for number, edit in enumerate(edits, 1):
        lines = _applied(lines, edit, f"block {number}" if len(edits) > 1 else "the block")
    return "\n".join(lines).strip("\n") + "\n"


def _applied(lines: list[str], edit: Edit, name: str) -> list[str]:
    if not "".join(edit.search).strip():  # nothing to look for: what is new comes last, as with aider
        return [*lines, *edit.replace]
    places = _exact(lines, edit.search)
    if not places:
        places = _tolerant(lines, edit.search)
    if not places:
        raise Unfit(_nowhere(lines, edit.search, name))
    if len(places) > 1:
        raise Unfit(_several(places, name))
    start, end = places[0]
    first = next(line for line in edit.search if line.strip())
    old = next(line for line in lines[start:end] if line.strip())
    return [*lines[:start], *_indented(edit.replace, _indent(first), _indent(old)), *lines[end:]]


def _exact(lines: Sequence[str], search: Sequence[str]) -> list[tuple[int, int]]:
    """Where `search` stands as it is."""
    size = len(search)
    return [(i, i + size) for i in range(len(lines) - size + 1) if tuple(lines[i : i + size]) == tuple(search)]


def _tolerant(lines: Sequence[str], search: Sequence[str]) -> list[tuple[int, int]]:
    """Where it stands but for white space: blank lines, indentation, blanks within a line."""
    wanted = [key for line in search if (key := _key(line))]
    there = [(i, key) for i, line in enumerate(lines) if (key := _key(line))]
    size = len(wanted)
    found = range(len(there) - size + 1)
    return [
        (there[k][0], there[k + size - 1][0] + 1) for k in found if [key for _, key in there[k : k + size]] == wanted
    ]


def _key(line: str) -> str:
    return "".join(line.split())


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indented(lines: Sequence[str], said: str, real: str) -> list[str]:
    """`lines`, in which what is indented by `said` is indented by `real`."""
    if said == real:
        return list(lines)
    return [real + line[len(said) :] if line.startswith(said) and line.strip() else line.strip() for line in lines]


def _nowhere(lines: Sequence[str], search: Sequence[str], name: str) -> str:
    """What of `search` is not in the program, and what there is instead."""
    keys = {_key(line) for line in lines}
    strange = next((line.strip() for line in search if _key(line) and _key(line) not in keys), None)
    if strange is None:
        return f"the SEARCH lines of {name} are in the program, but do not follow one another"
    told = f"{name} has a SEARCH line that is not in the program:\n    {strange[:_CHARS]}"
    close = difflib.get_close_matches(strange, [line.strip() for line in lines if line.strip()], 3, _CLOSE)
    if not close:
        return told
    closest = [f"    {n}: {line.strip()[:_CHARS]}" for n, line in enumerate(lines, 1) if line.strip() in close]
    return "\n".join([told, "The closest lines of the program:", *closest[:_PLACES]])


def _several(places: Sequence[tuple[int, int]], name: str) -> str:
    at = ", ".join(str(start + 1) for start, _ in places[:_PLACES])
    return f"the SEARCH lines of {name} stand in {len(places)} places (lines {at}): add the lines around the one meant"
