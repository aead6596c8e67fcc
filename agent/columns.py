"""The columns that a task wants in a table it asks for: `pay.csv with employee, hours and pay`.

Only what can be nothing else counts: words in a row after the name of the file, at least one of them such as
`order_id`, or three, or said to be columns. A list of other things ends or is none.
"""

from __future__ import annotations

import re

__all__ = ["find_columns"]

_REACH = 400
"""Characters after the name of a file."""
_TABLES = (".csv", ".tsv")
_SAID = r"(?:the\s+)?(?:columns?|fields?|header)(?:\s+(?:are|is))?\s*:?\s+"
_LISTS = (
    re.compile(rf",?\s*\(\s*(?P<said>{_SAID})?(?P<list>(?:[^()]|\([^()]*\))*)\)", re.IGNORECASE),
    re.compile(rf",?\s*(?:with|having)\s+(?P<said>{_SAID})?(?P<list>.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rf",?\s*(?P<said>{_SAID})(?P<list>.+)", re.IGNORECASE | re.DOTALL),
    re.compile(
        r"(?:文件)?[，,（(]?\s*(?P<said>(?:列名?|字段|表头)(?:依次)?(?:为|是|有)?[：:]?)\s*(?P<list>.+)", re.DOTALL
    ),
)
_ASIDE = re.compile(r"\s*(?:\([^()]*\)|（[^（）]*）)")
_END = re.compile(r"[;；。:：\n]|\.(?:\s|$)")
_SEPARATOR = re.compile(r"\s*[,，、]\s*(?:and\s+)?|\s+(?:and|&)\s+|\s*和\s*")
_COLUMN = re.compile(r"[\"'`“]?([^\W\d][\w%-]*)[\"'`”]?(?:\s+(?:as|from|in|rounded|sorted|for|per|of)\b.*)?", re.DOTALL)
_NO_COLUMN = frozenset(
    "a an the each all every both header headers heading headings row rows column columns line lines quotes tabs commas"
    " semicolons sorted ordered rounded no one its their names totals tell print show then only also".split()
)


def find_columns(text: str, name: str) -> tuple[str, ...]:
    """The columns that the table `name` is to have, in order; empty where `text` does not say so beyond doubt."""
    if not name.lower().endswith(_TABLES):
        return ()
    for place in re.finditer(rf"{re.escape(name)}[\"'`”]?", text):
        after = text[place.end() : place.end() + _REACH]
        found = next((match for pattern in _LISTS if (match := pattern.match(after))), None)
        columns = _columns(found["list"]) if found else ()
        if found and _is_sure(columns, said=bool(found["said"])):
            return columns
    return ()


def _columns(listed: str) -> tuple[str, ...]:
    """The words that `listed` begins with."""
    columns: list[str] = []
    words = _END.split(_ASIDE.sub("", listed))[0]
    words = words.partition("，")[0] if "、" in words.partition("，")[0] else words  # which then ends a clause
    for part in _SEPARATOR.split(words):
        column = _COLUMN.fullmatch(part.strip())
        if column is None or column[1].lower() in _NO_COLUMN:
            break
        columns.append(column[1])
    return tuple(columns)


def _is_sure(columns: tuple[str, ...], *, said: bool) -> bool:
    """Whether these are the names of columns rather than words about what the table holds."""
    if len(columns) < 2 or len({*columns}) < len(columns):
        return False
    return said or len(columns) > 2 or any("_" in column for column in columns)
