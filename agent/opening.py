"""The opening of a program: code that reads the input files, so that a small model need not get that right.

It is written from what the probe found (encoding, delimiter, the form of the numbers), put behind the opening fence of
the model's reply, and continued by the model. What stands in it is as plain as what a model would write.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .facts import FileFact

__all__ = ["takes_pandas", "task_comment", "write_opening"]

_STATISTICS = re.compile(
    r"\b(?:averages?|means?|columns?|datasets?|correlat\w*|regress\w*|standard deviations?|variances?|quartiles?"
    r"|percentiles?|medians?|skew\w*|kurtosis|outliers?|distributions?|z-?scores?|p-?values?|t-?tests?|anova|predict\w*"
    r"|train\w*|clusters?|normali\w+|pivot|missing values|null values|data ?frames?|pandas|interquartile|iqr"
    r"|significan\w+|hypothes[ei]s|feature|model)\b"
    r"|相关|回归|标准差|方差|中位数|分位数|异常值|缺失值|显著",
    re.IGNORECASE,
)
"""Work that is a line with pandas and a page without."""
_MOST_FILES = 6
_MOST_BYTES = 20_000_000
"""A program that reads more than this goes through the file instead of holding it."""
_MOST_CHARS = 2_400
_MOST_COMMENT = 600
_NO_VALUE = {"", "N/A", "NA", "n/a", "nan", "NaN", "null", "NULL", "None"}
"""What pandas takes for no value by itself."""
_LOG_LINE = (
    r"""r'(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<size>\S+)'"""
)
"""The common log format of web servers, with whatever follows."""
_MODULES = "csv json re io gzip zipfile sqlite3 openpyxl pd np datetime"
_TAKEN = {*keyword.kwlist, *dir(builtins), *_MODULES.split(), "file", "row", "key", "value", "path", "Path"}
_ONE_FILE = frozenset({"rows", "sample", "blanks", "members"})
"""What is known of a file itself, and does not matter for how it is read."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The lines that read one file or several alike, the modules they need, and what has to be defined before."""

    lines: tuple[str, ...]
    imports: frozenset[str]
    before: tuple[str, ...] = ()


def write_opening(
    text: str,
    files: Sequence[FileFact],
    folders: Sequence[str],
    packages: Sequence[str],
    imports: Sequence[str] = (),
    helpers: Sequence[str] = (),
) -> str:
    """Code that reads `files` and lists `folders` for the task `text`: `imports` and its own, `helpers`, which are
    sources of functions, then a variable for each.

    Empty when there is nothing that it would know better than a model, or too much.
    """
    pandas = takes_pandas(text, packages)
    names = _Names()
    parts: list[_Part] = []
    readable = [f for f in files if f.load and f.size <= _MOST_BYTES]
    tables = [f for f in readable if f.load["as"] == "table"]
    for group in _groups(readable):
        if len(tables) > 1 and len(group) == 1 and _is_lookup(group[0].load):
            parts.append(_lookup(group[0], names))
        else:
            parts += _read_group(group, names, pandas)
    parts += [_folder(folder, names) for folder in folders]
    if len(parts) > _MOST_FILES or len(_joined(parts, imports)) > _MOST_CHARS:
        parts = []
    code = _joined([*map(_helper, helpers), *parts], imports)
    return f"{code}\n{task_comment(text)}" if code else ""


def takes_pandas(text: str, packages: Sequence[str]) -> bool:
    """Whether tables are read with pandas for the task `text`."""
    return "pandas" in packages and bool(_STATISTICS.search(text))


def task_comment(text: str) -> str:
    """The task once more, next to where the model goes on."""
    line = " ".join(text.split())
    return f"# Task: {line}\n" if len(line) <= _MOST_COMMENT else ""


def _joined(parts: Sequence[_Part], imports: Sequence[str]) -> str:
    modules = sorted({*imports, *(line for part in parts for line in part.imports)}, key=lambda m: (m[:4] == "from", m))
    before = list(dict.fromkeys(part.before for part in parts))
    lines = [*(line for block in before for line in block), *(line for part in parts for line in part.lines)]
    return "".join(f"{line}\n" for line in [*modules, *([""] if modules and lines else []), *lines])


def _helper(source: str) -> _Part:
    """A function that the program may use: what it imports goes to the other imports."""
    imports, _, code = source.partition("\n\n\n")
    return _Part((), frozenset(imports.splitlines()), (*code.splitlines(), ""))


class _Names:
    """A variable for each file, after its name."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, path: str, otherwise: str) -> str:
        stem = re.sub(r"(?<=.)\.[a-z]\w*\b", "", PurePosixPath(path).name, flags=re.IGNORECASE)
        name = re.sub(r"\W+", "_", stem).strip("_").lower()
        if not (name.isascii() and name.isidentifier() and len(name) <= 24) or name in _TAKEN:
            name = otherwise
        free = next(n for n in (name, *(f"{name}_{i}" for i in range(2, 99))) if n not in self._used)
        self._used.add(free)
        return free


def _groups(files: Sequence[FileFact]) -> list[list[FileFact]]:
    """Files that are read in the same way and named alike up to a number, together; the others alone."""
    groups: dict[tuple[str, ...], list[FileFact]] = {}
    for fact in files:
        load = {key: value for key, value in fact.load.items() if key not in _ONE_FILE}
        groups.setdefault((fact.folder, re.sub(r"\d+", "0", fact.name), repr(load)), []).append(fact)
    return list(groups.values())


def _read_group(group: Sequence[FileFact], names: _Names, pandas: bool) -> Iterator[_Part]:
    together = _TOGETHER.get(group[0].load["as"]) if len(group) > 1 and not pandas else None
    if together is not None:
        yield together(group, names)
        return
    for fact in group:
        reader = _READERS.get(fact.load["as"])
        if reader is not None:
            yield _with_pandas(fact, names) if pandas and fact.load["as"] == "table" else reader(fact, names)


def _part(lines: Sequence[str], *imports: str) -> _Part:
    return _Part(tuple(lines), frozenset(imports))


# --- tables ---


def _table(fact: FileFact, names: _Names) -> _Part:
    load, name = fact.load, names.of(fact.path, "rows")
    opened = f'with open({_quoted(fact.path)}, encoding="{load["encoding"]}", newline="") as file:'
    about = f"# {load['rows']} rows such as {_sample(load)}"
    return _table_part([about, opened, f"    {name} = {_rows(load, 'file')}", *_conversions(load, name)], load)


def _tables(group: Sequence[FileFact], names: _Names) -> _Part:
    """Tables that are alike, as a dict of lists of rows."""
    load, name = group[0].load, names.of(_without_number(group[0].name), "tables")
    lines = [
        f"# A list of rows for each file, such as {_sample(load)}",
        f"{name} = {{}}",
        f"for path in {_glob(group)}:",
        f'    with path.open(encoding="{load["encoding"]}", newline="") as file:',
        f"        {name}[path.name] = {_rows(load, 'file')}",
    ]
    conversions = _conversions(load, "table", "    ")
    lines += [f"for table in {name}.values():", *conversions] if conversions else []
    return _table_part(lines, load, "from pathlib import Path")


def _is_lookup(load: Mapping[str, Any]) -> bool:
    """Whether a table gives a number for each of its keys."""
    return (
        load["as"] == "table"
        and bool(load["header"])
        and load["forms"][0] == "text"
        and load["unique"][0]
        and (
            len(load["forms"]) == 2
            and load["forms"][1] in ("int", "float", "thousands", "comma")
            and not load["blanks"][1]
        )
    )


def _lookup(fact: FileFact, names: _Names) -> _Part:
    """A table that gives a number for each of its keys, as a dict."""
    load, name = fact.load, names.of(fact.path, "number_of")
    key, number = (f"row[{key}]" for key in _keys(load))
    pair = f"{key}: {_converted(load['forms'][1], number, ())}"
    return _table_part(
        [
            f"# {load['rows']} values such as {{{_quoted(load['sample'][0])}: {load['sample'][1]}}}",
            f'with open({_quoted(fact.path)}, encoding="{load["encoding"]}", newline="") as file:',
            f"    {name} = {{{pair} for row in {_rows(load, 'file')}}}",
        ],
        load,
    )


def _rows(load: Mapping[str, Any], source: str) -> str:
    """The expression that reads a table: a list of dicts, of lists when there is no header line."""
    option = "" if load["delimiter"] == "," else f", delimiter={load['delimiter']!r}"
    if not load["header"]:
        return f"[[cell.strip() for cell in row] for row in csv.reader({source}{option}) if row]"
    if load["ragged"]:
        cleaned = '{key.strip(): (value or "").strip() for key, value in row.items() if key}'
    elif load["spaced"]:
        cleaned = "{key.strip(): value.strip() for key, value in row.items()}"
    else:
        return f"list(csv.DictReader({source}{option}))"
    return f"[{cleaned} for row in csv.DictReader({source}{option})]"


def _conversions(load: Mapping[str, Any], name: str, indent: str = "") -> list[str]:
    """A loop that turns texts into numbers, and dates of several formats into one."""
    if load["ragged"] and not load["header"]:
        return []
    keys = _keys(load)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for key, form, blanks in zip(keys, load["forms"], load["blanks"], strict=True):
        if form != "text":
            alike.setdefault((form, tuple(blanks)), []).append(key)
    if not alike:
        return []
    lines = [f"for row in {name}:"]
    for (form, blanks), same in alike.items():
        if len(same) > 2:
            lines.append(f"    for key in ({', '.join(same)}):")
            lines.append(f"        row[key] = {_converted(form, 'row[key]', blanks)}")
        else:
            lines += [f"    row[{key}] = {_converted(form, f'row[{key}]', blanks)}" for key in same]
    return [indent + line for line in lines]


def _converted(form: str, cell: str, blanks: Sequence[str]) -> str:
    if form in ("int", "float"):
        value = f"{form}({cell})"
    elif form == "thousands":
        value = f'float({cell}.replace(",", ""))'
    elif form == "comma":
        value = f'float({cell}.replace(".", "").replace(",", "."))'
    elif form == "money":
        value = f'float(re.sub(r"[^\\d.-]", "", {cell}))'
    else:
        return f"iso_date({cell})"
    if not blanks:
        return value
    missing = cell if list(blanks) == [""] else f"{cell} not in ({', '.join(map(_quoted, blanks))},)"
    return f"{value} if {missing} else None"


def _date_reader(formats: Sequence[str]) -> tuple[str, ...]:
    return (
        "def iso_date(text):",
        f"    for form in ({', '.join(map(_quoted, formats))}):",
        "        try:",
        "            return datetime.strptime(text, form).date().isoformat()",
        "        except ValueError:",
        "            pass",
        "    return text",
        "",
    )


def _keys(load: Mapping[str, Any]) -> list[str]:
    """The columns as they stand between the brackets of `row[...]`."""
    if not load["header"]:
        return [str(i) for i in range(len(load["forms"]))]
    return [_quoted(name.strip() if load["spaced"] or load["ragged"] else name) for name in load["header"]]


def _sample(load: Mapping[str, Any]) -> str:
    """The first row as the program has it."""
    values = [_value(cell, form) for cell, form in zip(load["sample"], load["forms"], strict=True)]
    if not load["header"]:
        return _cut("[" + ", ".join(values) + "]")
    return _cut("{" + ", ".join(f"{key}: {value}" for key, value in zip(_keys(load), values, strict=True)) + "}")


def _value(cell: str, form: str) -> str:
    if form in ("int", "float") and cell:
        return cell
    number = re.sub(r"[^\d.-]", "", cell) if form in ("thousands", "money") else ""
    return number or ("None" if form in ("int", "float", "thousands", "money", "comma") and not cell else _quoted(cell))


def _with_pandas(fact: FileFact, names: _Names) -> _Part:
    load, name = fact.load, names.of(fact.path, "data")
    options = [_quoted(fact.path)]
    options += [f"sep={load['delimiter']!r}"] if load["delimiter"] != "," else []
    options += [f'encoding="{load["encoding"]}"'] if load["encoding"] != "utf-8" else []
    options += ["header=None"] if not load["header"] else []
    options += ["index_col=0"] if _is_numbered(load) else []
    options += ['thousands=","'] if "thousands" in load["forms"] else []
    options += ['decimal=","'] if "comma" in load["forms"] else []
    options += [f"na_values=[{', '.join(map(_quoted, blanks))}]"] if (blanks := _blanks(load)) else []
    lines = [f"{name} = pd.read_csv({', '.join(options)})"]
    if any(column != column.strip() for column in load["header"]):
        lines.append(f"{name}.columns = {name}.columns.str.strip()")
    return _part([*lines, *_coercions(load, name)], "import pandas as pd")


def _blanks(load: Mapping[str, Any]) -> list[str]:
    """What stands for no value among numbers, and would make texts of them all."""
    numbers = [blanks for form, blanks in zip(load["forms"], load["blanks"], strict=True) if form != "text"]
    return sorted(set[str]().union(*numbers) - _NO_VALUE)


def _coercions(load: Mapping[str, Any], name: str) -> Iterator[str]:
    """Lines that make numbers of the columns that pandas would take for text."""
    header = [column.strip() for column in load["header"]]
    for place, (form, loose) in enumerate(zip(load["forms"], load["loose"], strict=True)):
        if form != "money" and not loose:
            continue
        column = f"{name}[{_quoted(header[place]) if header else place}]"
        cleaned = rf'{column}.astype(str).str.replace(r"[^\d.eE+-]", "", regex=True)' if form == "money" else column
        yield f'{column} = pd.to_numeric({cleaned}, errors="coerce")'


def _is_numbered(load: Mapping[str, Any]) -> bool:
    """Whether the rows of a table begin with a number each that has no name, as pandas saves them."""
    return bool(load["header"]) and not load["header"][0].strip() and load["forms"][0] == "int" and load["unique"][0]


def _zip(fact: FileFact, names: _Names) -> _Part:
    """The tables of an archive as a dict of lists of rows, when all are alike but for encoding and numbers."""
    members = [m for m in fact.load["members"] if m["as"] == "table"]
    if not members or len({(tuple(m["header"]), m["delimiter"]) for m in members}) != 1 or not members[0]["header"]:
        return _part([])
    name = names.of(fact.path, "tables")
    forms = [_common_form(column) for column in zip(*(m["forms"] for m in members), strict=True)]
    blanks = [sorted(set[str]().union(*column)) for column in zip(*(m["blanks"] for m in members), strict=True)]
    flags = {flag: any(m[flag] for m in members) for flag in ("ragged", "spaced")}
    load: dict[str, Any] = {**members[0], **flags, "forms": forms, "blanks": blanks}
    lines = [
        f"# A list of rows for each member, such as {_sample(load)}",
        "encodings = {" + ", ".join(f'{_quoted(m["name"])}: "{m["encoding"]}"' for m in members) + "}",
        f"{name} = {{}}",
        f"with zipfile.ZipFile({_quoted(fact.path)}) as archive:",
        "    for member, encoding in encodings.items():",
        "        lines = archive.read(member).decode(encoding).splitlines()",
        f"        {name}[member] = {_rows(load, 'lines')}",
    ]
    conversions = _conversions(load, "table", "    ")
    lines += [f"for table in {name}.values():", *conversions] if conversions else []
    return _table_part(lines, load, "import zipfile")


def _table_part(lines: Sequence[str], load: Mapping[str, Any], *imports: str) -> _Part:
    """With the modules and functions that the conversions use."""
    formats = sorted({f for form in load["forms"] if "%" in form for f in form.split("|")})
    needed = {"import csv", *imports, *(["import re"] if any("re.sub(" in line for line in lines) else [])}
    if not formats:
        return _Part(tuple(lines), frozenset(needed))
    return _Part(tuple(lines), frozenset({*needed, "from datetime import datetime"}), _date_reader(formats))


def _common_form(forms: Sequence[str]) -> str:
    """The form that fits the columns of all tables."""
    if len(set(forms)) == 1:
        return forms[0]
    return "money" if set(forms) <= {"int", "float", "thousands", "money"} else "text"


def _excel(fact: FileFact, names: _Names) -> _Part:
    lines = [f"book = openpyxl.load_workbook({_quoted(fact.path)}, data_only=True)"]
    for sheet in fact.load["sheets"]:
        name = names.of(f"{sheet}.xlsx", "rows")
        lines.append(f"values = list(book[{_quoted(sheet)}].iter_rows(values_only=True))")
        lines.append(f"{name} = [dict(zip(values[0], row)) for row in values[1:]]")
    return _part(lines, "import openpyxl")


# --- other kinds ---


def _text(fact: FileFact, names: _Names) -> _Part:
    load = fact.load
    if fact.kind in ("INI", "YAML"):
        name = names.of(fact.path, "lines")
        opened = f'with open({_quoted(fact.path)}, encoding="{load["encoding"]}", newline="") as file:'
        return _part([opened, f"    {name}_lines = file.readlines()"])
    return _part([_opened(fact), f"    {names.of(fact.path, 'text')} = file.read()"], *_modules(fact))


def _values(fact: FileFact, names: _Names) -> _Part:
    name = names.of(fact.path, "values")
    read = f'    {name} = [float(line) for line in file if line.strip() and not line.startswith("#")]'
    return _part([_opened(fact), read], *_modules(fact))


def _web_log(fact: FileFact, names: _Names) -> _Part:
    name = names.of(fact.path, "requests")
    lines = [
        f"# Lines as dicts, such as {_cut(str(fact.load['sample']))}",
        _opened(fact),
        f"    {name} = [match.groupdict() for line in file if (match := log_line.match(line))]",
    ]
    return _Part(tuple(lines), frozenset({"import re", *_modules(fact)}), (f"log_line = re.compile({_LOG_LINE})",))


def _json(fact: FileFact, names: _Names) -> _Part:
    return _part([_opened(fact), f"    {names.of(fact.path, 'data')} = json.load(file)"], "import json")


def _pages(group: Sequence[FileFact], names: _Names) -> _Part:
    """JSON files that are alike, as one list."""
    name = names.of(_without_number(group[0].name) + "s", "pages")
    read = f'json.loads(path.read_text(encoding="{group[0].load["encoding"]}"))'
    return _part([f"{name} = [{read} for path in {_glob(group)}]"], "import json", "from pathlib import Path")


def _glob(group: Sequence[FileFact]) -> str:
    """The expression for the paths of files that are named alike up to numbers."""
    pattern = re.sub(r"\d+", "[0-9]*", group[0].name)
    return f"sorted(Path({_quoted(group[0].folder)}).glob({_quoted(pattern)}))"


def _without_number(name: str) -> str:
    return re.sub(r"[\W\d_]*\d[\W\d_]*", "", name.rpartition(".")[0])


def _jsonl(fact: FileFact, names: _Names) -> _Part:
    name = names.of(fact.path, "records")
    return _part([_opened(fact), f"    {name} = [json.loads(line) for line in file if line.strip()]"], "import json")


def _sqlite(fact: FileFact, names: _Names) -> _Part:
    return _part([f"{names.of(fact.path, 'connection')} = sqlite3.connect({_quoted(fact.path)})"], "import sqlite3")


_READERS: dict[str, Callable[[FileFact, _Names], _Part]] = {
    "table": _table,
    "zip": _zip,
    "excel": _excel,
    "text": _text,
    "values": _values,
    "web log": _web_log,
    "json": _json,
    "jsonl": _jsonl,
    "sqlite": _sqlite,
}


def _folder(path: str, names: _Names) -> _Part:
    name = names.of(f"{path}_files.", "files")
    found = f'sorted(path for path in Path({_quoted(path)}).rglob("*") if path.is_file())'
    return _part([f"{name} = {found}"], "from pathlib import Path")


_TOGETHER: dict[str, Callable[[Sequence[FileFact], _Names], _Part]] = {"table": _tables, "json": _pages}


# --- small ---


def _opened(fact: FileFact) -> str:
    encoding = f'encoding="{fact.load["encoding"]}"'
    if fact.load.get("gzip"):
        return f'with gzip.open({_quoted(fact.path)}, "rt", {encoding}) as file:'
    return f"with open({_quoted(fact.path)}, {encoding}) as file:"


def _modules(fact: FileFact) -> tuple[str, ...]:
    return ("import gzip",) if fact.load.get("gzip") else ()


def _quoted(text: str) -> str:
    """A literal in double quotes where that is as plain."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal and "\\'" not in literal else literal


def _cut(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[:most] + " ..."
