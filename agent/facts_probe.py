"""Looks at the files of a folder and says what a program has to know about them.

The text of this file is sent into the sandbox and run there: the files may be hostile, and so may be what a parser
makes of them. It needs the standard library alone (openpyxl where it is there), reads a bounded part of each file,
and lets no file end it: one that cannot be read is listed with the reason.
"""

# Paths may be hostile: they stay plain strings here.
# ruff: noqa: PTH112, PTH116, PTH122, PTH123

from __future__ import annotations

import contextlib
import csv
import datetime
import gzip
import importlib.util
import io
import json
import os
import re
import sqlite3
import stat
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

FILES = 40
"""Files looked into; the others are only counted."""
DEPTH = 4
HEAD = 256 * 1024
"""Bytes read to learn about a text."""
SCAN = 32 * 1024 * 1024
"""Bytes read to count lines."""
CELL, LINE = 60, 160
"""Characters of one cell and of one line of a sample."""
SAMPLE = 3
SECONDS = 6.0
"""For all files together."""
JUNK = {"__pycache__", "node_modules", "venv", "site-packages", "dist-info", "__MACOSX", "lost+found"}
PACKAGES = (
    *(
        "numpy",
        "pandas",
        "matplotlib",
        "scipy",
        "sklearn",
        "openpyxl",
        "PIL",
        "requests",
        "seaborn",
        "sympy",
        "networkx",
    ),
    *("yaml", "bs4", "lxml", "docx", "pypdf", "statsmodels", "tabulate"),
)
DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2} \w{3,9} \d{4}|\w{3} \d{1,2}, \d{4}"
)
DATE_FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%Y%m%d", "%d-%m-%Y", "%d-%b-%Y", "%d/%m/%Y", "%m/%d/%Y"),
)
PLAIN = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
WEB_LOG = re.compile(r'(\S+) \S+ (\S+) \[([^\]]+)\] "([^"]*)" (\d{3}) (\S+)')
TIME = re.compile(r"\d{1,2}:\d\d(:\d\d)?")
BLANK = {"", "na", "n/a", "nan", "null", "none", "-", "--", "?"}


def survey(names: list[str], modules: Sequence[str] = ()) -> dict[str, Any]:
    """What is known about the files `names` and those in the working directory, and which packages there are."""
    started = time.monotonic()
    paths, more = collect(names)
    files = [look(path, started) for path in paths]
    version = ".".join(map(str, sys.version_info[:3]))
    packages = [p for p in dict.fromkeys((*modules, *PACKAGES)) if is_there(p)]
    return {"files": files, "more": more, "python": version, "packages": packages}


def is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def collect(names: list[str]) -> tuple[list[str], int]:
    """The named files first, then what lies in the working directory, in a fixed order; and how many more there are."""
    found = dict.fromkeys(os.path.normpath(n) for n in names if os.path.lexists(n) and not os.path.isdir(n))
    for path in walk("."):
        found.setdefault(path)
        if len(found) > 5000:
            break
    paths = list(found)
    return paths[:FILES], max(0, len(paths) - FILES)


def walk(top: str, depth: int = DEPTH) -> Iterator[str]:
    """Files below `top`, nearest first."""
    try:
        entries = sorted(os.scandir(top), key=lambda e: e.name)
    except OSError:
        return
    folders: list[str] = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name in JUNK or entry.name.endswith((".pyc", "~")):
            continue
        path = os.path.normpath(entry.path)
        if entry.is_dir(follow_symlinks=False):
            folders.append(path)
        else:
            yield path
    for folder in folders if depth > 1 else ():
        yield from walk(folder, depth - 1)


def look(path: str, started: float) -> dict[str, Any]:
    """One file: its path, size, kind, a summary in one line and details in some."""
    fact: dict[str, Any] = {"path": path, "size": 0, "kind": "file", "summary": "", "details": []}
    try:
        status = os.stat(path)
        fact["size"] = status.st_size
        if not stat.S_ISREG(status.st_mode):
            return {**fact, "kind": "special", "summary": "not a regular file"}
        if status.st_size == 0:
            return {**fact, "kind": "empty", "summary": "empty"}
        if time.monotonic() - started > SECONDS:
            return fact
        return {**fact, **describe(path, status.st_size)}
    except Exception as error:  # whatever a parser makes of a hostile file
        return {**fact, "kind": "unreadable", "summary": f"unreadable: {type(error).__name__}: {error}"[:LINE]}


def describe(path: str, size: int) -> dict[str, Any]:
    with open(path, "rb") as file:
        head = file.read(HEAD)
    for fits, describer in MAGIC:
        if fits(head):
            return describer(path, head)
    encoding = guess_encoding(head, size > len(head))
    if encoding is None:
        return fact("binary", f"binary, begins with {head[:8].hex(' ')}")
    suffix = os.path.splitext(path)[1].lower()
    text = head.decode(encoding, "replace")
    if size > len(head):
        text = text[: text.rfind("\n") + 1] or text
    return describe_text(path, suffix, text, encoding, size)


def fact(kind: str, summary: str, details: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "summary": summary, "details": [line[:LINE] for line in details or []], **more}


# --- text ---


def guess_encoding(head: bytes, cut: bool) -> str | None:
    """The first encoding that fits, or None for bytes that are no text."""
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head or sum(byte < 9 or 13 < byte < 27 for byte in head[:4096]) > len(head[:4096]) // 50:
        return None
    for encoding in ("utf-8", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            text = (head[: head.rfind(b"\n") + 1] or head[:-4] if cut else head).decode(encoding)
            if encoding == "utf-8" or looks_chinese(text):
                return encoding
    return "latin-1"


def looks_chinese(text: str) -> bool:
    """GB 18030 decodes almost anything; a text in it is mostly made of common characters."""
    other = [c for c in text if ord(c) > 127]
    return sum("\u4e00" <= c <= "\u9fff" or c in "，。、；：？！“”（）《》￥·—…％　" for c in other) > 0.9 * len(other)


def describe_text(path: str, suffix: str, text: str, encoding: str, size: int) -> dict[str, Any]:
    named = named_encoding(encoding)
    total = count_lines(path, size, text)
    if suffix == ".json":
        with contextlib.suppress(ValueError):
            return describe_json(path, text, size, encoding)
    if suffix in (".jsonl", ".ndjson"):
        with contextlib.suppress(ValueError, IndexError):
            return describe_jsonl(text, total, encoding)
    if suffix in (".csv", ".tsv", ".tab") or (suffix in ("", ".txt", ".dat") and is_table(text)):
        with contextlib.suppress(csv.Error, IndexError):
            return describe_csv(text, total, encoding)
    lines = text.splitlines()
    kind = {".py": "Python", ".ini": "INI", ".cfg": "INI", ".yaml": "YAML", ".yml": "YAML", ".log": "log"}.get(
        suffix, "text"
    )
    shown = 40 if suffix in (".py", ".ini", ".cfg", ".yaml", ".yml", ".toml") else 5
    widest = max((len(line) for line in lines[:1000]), default=0)
    details = [*lines[:shown], *(["..."] if total > shown else [])]
    wide = f", lines up to {widest} characters" if widest > LINE else ""
    return fact(kind, f"{kind}, {total} lines{named}{wide}", details, load=text_load(lines, encoding))


def named_encoding(encoding: str) -> str:
    return "" if encoding == "utf-8" else f", encoding {encoding}"


def text_load(lines: list[str], encoding: str) -> dict[str, Any]:
    """How a program reads a text: whether it is a web server's log, and what marks its lines of comment."""
    filled = [line for line in lines[:1000] if line.strip()]
    logged = sum(WEB_LOG.match(line) is not None for line in filled)
    if filled and logged > 0.9 * len(filled):
        names = ("ip", "user", "time", "request", "status", "size")
        first = next(match for line in filled if (match := WEB_LOG.match(line)))
        return {"as": "web log", "encoding": encoding, "sample": dict(zip(names, first.groups(), strict=True))}
    comments = [line for line in filled if line.startswith("#")]
    values = [line for line in filled if not line.startswith("#")]
    listed = 0 < len(comments) < 3 and len(values) > 2 and all(is_number(line) for line in values)
    return {"as": "values" if listed else "text", "encoding": encoding}


def count_lines(path: str, size: int, text: str) -> int:
    """All lines where that is cheap, estimated from the head of a larger file."""
    if size > SCAN:
        return int(size / max(1, len(text.encode())) * text.count("\n"))
    if size <= HEAD:
        return len(text.splitlines())
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def is_table(text: str) -> bool:
    """Whether a text without a telling name has the same number of tabs or semicolons in each of its first lines."""
    lines = text.splitlines()[:20]
    return len(lines) > 2 and any(len({line.count(d) for line in lines}) == 1 and d in lines[0] for d in "\t;|")


def delimiter_of(lines: list[str]) -> str:
    """The one that most lines have equally often; a comma when in doubt."""

    def score(delimiter: str) -> tuple[int, int]:
        counts = [len(row) - 1 for row in csv.reader(lines, delimiter=delimiter)]
        common = max(set(counts), key=counts.count) if counts else 0
        return (counts.count(common) if common else 0, common)

    return max(",;\t|", key=score)


def describe_csv(text: str, total: int, encoding: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = delimiter_of(lines[:50])
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    rows = [row for row in rows if row]
    has_header = is_header(rows)
    header, body = (rows[0], rows[1:]) if has_header else ([], rows)
    names = [name.strip() or f"column {i + 1}" for i, name in enumerate(header or [""] * len(rows[0]))]
    columns = [describe_column(name, [row[i] for row in body if i < len(row)]) for i, name in enumerate(names)]
    notable = ["columns: " + "; ".join(c for c in columns if c)] if any(columns) else []
    count = total - has_header if len(text) >= HEAD - 4096 else len(body)
    separator = {",": "", "\t": ", separated by tabs"}.get(delimiter, f", separated by {delimiter!r}")
    summary = f"CSV, {count} rows{named_encoding(encoding)}{separator}" + ("" if has_header else ", no header line")
    details = [*lines[: SAMPLE + has_header], *notable, *remarks(names, body)]
    result = fact("csv", summary, None, load=table_load(header, body, encoding, delimiter))
    sample = range(has_header, SAMPLE + 1)
    result["details"] = [line[: LINE if i in sample else 900] for i, line in enumerate(details)]
    return result


def table_load(header: list[str], body: list[list[str]], encoding: str, delimiter: str) -> dict[str, Any]:
    """How a program reads a table: the form of each column, and what is to be cleaned."""
    width = len(header) or len(body[0])
    columns = [[row[i].strip() if i < len(row) else "" for row in body] for i in range(width)]
    cells = [cell for row in body for cell in row]
    return {
        "as": "table",
        "encoding": encoding,
        "delimiter": delimiter,
        "header": header,
        "rows": len(body),
        "forms": [form_of(column) for column in columns],
        "loose": [is_loose(column) for column in columns],
        "blanks": [sorted({c for c in column if c.lower() in BLANK}) for column in columns],
        "spaced": any(cell != cell.strip() for cell in [*header, *cells]),
        "ragged": any(len(row) != width for row in body),
        "unique": [len(set(column)) == len(column) for column in columns],
        "sample": [column[0] if column else "" for column in columns],
    }


def form_of(cells: list[str]) -> str:
    """How the values of a column are written: `int`, `float`, `thousands` (1,234.5), `comma` (1.234,5), `money`
    ($1,234.50), a list of date formats for `strptime` joined by `|` when there are several, else `text`."""
    filled = [cell for cell in cells if cell.lower() not in BLANK]
    if not filled:
        return "text"
    if all(re.fullmatch(r"[+-]?(0|[1-9]\d*)", cell) for cell in filled):
        return "int"
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", cell) for cell in filled):
        return "text" if any(re.match(r"0\d", cell) for cell in filled) else "float"
    if all(PLAIN.fullmatch(cell) for cell in filled):
        return "thousands"
    if all(re.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d{1,2})?", cell) for cell in filled):
        return "comma"
    dressing = {re.sub(r"[\d.,\s+-]", "", cell) for cell in filled}
    alike = dressing <= {"", "$"} or dressing <= {"", "€"} or dressing <= {"", "£"} or dressing <= {"", "¥", "￥", "元"}
    if alike and all(PLAIN.fullmatch(re.sub(r"[^\d.,+-]", "", cell)) for cell in filled):
        return "money"
    return date_forms(filled) or "text"


def is_loose(cells: list[str]) -> bool:
    """Whether a column holds numbers but for a few cells."""
    filled = [cell for cell in cells if cell.lower() not in BLANK]
    numbers = sum(map(is_number, filled))
    return 0.9 * len(filled) <= numbers < len(filled)


def date_forms(cells: list[str]) -> str:
    """The formats that read all of `cells`, joined by `|`: empty for one format alone (a sample shows it), for one
    that is not known, and where day and month cannot be told apart."""
    found: dict[str, None] = {}
    for cell in dict.fromkeys(cells):
        fits = [form for form in DATE_FORMS if reads(cell, form)]
        if not fits:
            return ""
        found[fits[0]] = None
    both = [form for form in found if form[:2] in ("%d", "%m") and form[2:] in ("/%m/%Y", "/%d/%Y")]
    return "|".join(found) if len(found) > 1 and not both else ""


def reads(cell: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(cell, form)
    except ValueError:
        return False
    return True


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns. The first of them may have no name, as a number of each row does that
    was saved with a table, and the last none, where each line ends with the delimiter."""
    first = [cell.strip() for cell in rows[0]]
    named = first[not first[0] : len(first) - (not first[-1])]
    return (
        bool(named)
        and all(named)
        and len(set(named)) == len(named)
        and not any(is_number(cell) or DATE.fullmatch(cell) for cell in named)
    )


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def describe_column(name: str, cells: list[str]) -> str:
    """`name: what its cells hold, and what is odd about them`; empty where a sample shows as much."""
    cells = [cell.strip() for cell in cells]
    filled = [cell for cell in cells if cell.lower() not in BLANK]
    if not filled:
        return f"{name}: all blank"
    odd = [f"{len(cells) - len(filled)} blank"] if len(filled) < len(cells) else []
    said = [what for what in (type_of(filled), *odd) if what]
    return f"{name}: {', '.join(said)}" if said else ""


def type_of(cells: list[str]) -> str:
    """What the cells hold, where a few of them would not show it."""
    share = 0.7 * len(cells)
    numbers = [c for c in cells if is_number(c)]
    dates = [c for c in cells if DATE.match(c)]
    if len(dates) > share:
        return ", ".join(filter(None, (date_type(dates), exceptions(cells, dates))))
    if len(numbers) > share:
        padded = any(re.match(r"0\d", c) for c in cells)
        return "digits with leading zeros" if padded else exceptions(cells, numbers)
    if all(TIME.fullmatch(c) for c in cells):
        return ""
    dressed = [c for c in cells if re.fullmatch(r"[^\w]*\s*[+-]?[\d.,' ]*\d[\d.,' ]*[^\s\d:]{0,3}", c)]
    if len(dressed) > share:
        return "numbers written like " + " or ".join(unlike(dressed))
    values = list(dict.fromkeys(cells))
    few = len(values) <= 6 and max(map(len, values)) <= 20 and len(cells) > len(values)
    return "|".join(values) if few else ""


def exceptions(cells: list[str], regular: list[str]) -> str:
    others = [c for c in dict.fromkeys(cells) if c not in set(regular)]
    return f"{len(others)} values like {' or '.join(unlike(others)[:2])}" if others else ""


def shape(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell))


def unlike(cells: list[str]) -> list[str]:
    """Up to three cells of different shapes."""
    return [repr(cell[:CELL]) for cell in list({shape(c): c for c in reversed(cells)}.values())[::-1][:3]]


def date_type(cells: list[str]) -> str:
    shapes = unlike(cells)
    return "" if len(shapes) == 1 else "dates in several formats: " + ", ".join(shapes)


def remarks(names: list[str], body: list[list[str]]) -> list[str]:
    """What is odd about a table as a whole."""
    found: list[str] = []
    seen = [tuple(row) for row in body]
    if len(set(seen)) < len(seen):
        found.append(f"{len(seen) - len(set(seen))} rows are repeated exactly")
    ragged = sum(len(row) != len(names) for row in body)
    if ragged:
        found.append(f"{ragged} rows have more or fewer than {len(names)} cells")
    spaced = sum(cell != cell.strip() for row in body for cell in row)
    if spaced:
        found.append(f"{spaced} cells have spaces around them")
    return ["note: " + "; ".join(found)] if found else []


# --- structured ---


def describe_json(path: str, text: str, size: int, encoding: str) -> dict[str, Any]:
    if size > SCAN:
        return fact("json", f"JSON, {size} bytes{named_encoding(encoding)}", [text[:LINE]])
    with open(path, encoding=encoding) as file:
        data = json.load(file)
    sample = json.dumps(data, ensure_ascii=False)
    details = ["begins: " + sample[: 2 * LINE]] if len(sample) > 2 else []
    summary = f"JSON{named_encoding(encoding)}: {shape_of([data], 0)[:700]}"
    return fact("json", summary, details, load={"as": "json", "encoding": encoding})


def describe_jsonl(text: str, total: int, encoding: str) -> dict[str, Any]:
    first = text.splitlines()
    rows = [json.loads(line) for line in first[:100] if line.strip()]
    summary = f"JSON lines, {total} lines{named_encoding(encoding)}, each {shape_of(rows, 0)[:500]}"
    return fact("jsonl", summary, first[:2], load={"as": "jsonl", "encoding": encoding})


def shape_of(values: list[Any], depth: int) -> str:
    """The type that some JSON values have in common: keys of objects (with `?` where some lack one), length of
    arrays, to a bounded depth; several types with `or` between them."""
    dicts: list[dict[str, Any]] = [v for v in values if isinstance(v, dict)]
    lists: list[list[Any]] = [v for v in values if isinstance(v, list)]
    others = {"null" if v is None else type(v).__name__: None for v in values if not isinstance(v, (dict, list))}
    shapes = [*([shape_of_objects(dicts, depth)] if dicts else []), *([shape_of_lists(lists, depth)] if lists else [])]
    return " or ".join([*shapes, *sorted(others, key=lambda name: name == "null")])


def shape_of_objects(objects: list[dict[str, Any]], depth: int) -> str:
    if depth >= 6:
        return "{...}"
    keys = list(dict.fromkeys(key for one in objects for key in one))

    def told(key: str) -> str:
        there = [one[key] for one in objects if key in one]
        return f"{key}{'?' if len(there) < len(objects) else ''}: {shape_of(there, depth + 1)}"

    return "{" + ", ".join(map(told, keys[:12])) + (f", ... {len(keys)} keys" if len(keys) > 12 else "") + "}"


def shape_of_lists(lists: list[list[Any]], depth: int) -> str:
    lengths = {len(one) for one in lists}
    count = f"list of {lengths.pop()}" if len(lengths) == 1 else "list"
    inner = [value for one in lists for value in one[:200]][:1000]
    return count + (f" x {shape_of(inner, depth + 1)}" if inner else "")


def describe_sqlite(path: str, head: bytes) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, timeout=1)) as base:
        base.set_progress_handler(Deadline(1.0), 10_000)
        tables = [row[0] for row in base.execute("select name from sqlite_master where type in ('table', 'view')")]
        details = [describe_table(base, table) for table in tables[:12]]
    return fact("sqlite", f"SQLite database, {len(tables)} tables", details, load={"as": "sqlite"})


class Deadline:
    """Ends a query that takes too long: true once the seconds are over."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def __call__(self) -> int:
        return int(time.monotonic() > self.end)


def describe_table(base: sqlite3.Connection, table: str) -> str:
    quoted = '"' + table.replace('"', '""') + '"'
    columns = ", ".join(f"{row[1]} {row[2]}".strip() for row in base.execute(f"pragma table_info({quoted})"))
    count = base.execute(f"select count(*) from {quoted}").fetchone()[0]  # noqa: S608
    sample = base.execute(f"select * from {quoted} limit 1").fetchone()  # noqa: S608
    return f"table {table} ({columns}): {count} rows, first {sample!r}"


def describe_zip(path: str, head: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "xl/workbook.xml" in names:
            return describe_excel(path)
        if "[Content_Types].xml" in names:
            return fact("office", "Office document")
        members = [i for i in archive.infolist() if not i.is_dir()]
        details = [member_line(i.filename, i.file_size, lambda i=i: archive.open(i)) for i in members[:12]]
        loads = [{"name": i.filename, **member_load(archive, i)} for i in members[:12]]
    load = {"as": "zip", "members": loads} if len(loads) == len(members) else None
    return fact("zip", f"ZIP archive, {len(members)} files", details, load=load)


def member_load(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[str, Any]:
    """How a program reads one file of an archive: as a table, or not at all."""
    with contextlib.suppress(Exception), archive.open(member) as file:
        head = file.read(HEAD)
        encoding = guess_encoding(head, member.file_size > len(head))
        if encoding is not None and member.filename.lower().endswith((".csv", ".tsv")):
            text = head.decode(encoding, "replace")
            return describe_csv(text, text.count("\n"), encoding)["load"]
    return {"as": "file"}


def member_line(name: str, size: int, opened: Callable[[], Any]) -> str:
    """One file of an archive, with its first lines when it is text."""
    with contextlib.suppress(Exception), opened() as file:
        head: bytes = file.read(8192)
        encoding = guess_encoding(head, len(head) == 8192)
        if encoding is not None:
            lines = head.decode(encoding, "replace").splitlines()[:2]
            return f"{name} ({size} bytes, {encoding}): " + " / ".join(line[:CELL] for line in lines)
    return f"{name} ({size} bytes)"


def describe_excel(path: str) -> dict[str, Any]:
    if not is_there("openpyxl"):
        return fact("excel", "Excel workbook")
    import openpyxl  # pyright: ignore

    book: Any = openpyxl.load_workbook(path, read_only=True, data_only=True)
    details: list[str] = []
    load = {"as": "excel", "sheets": [sheet.title for sheet in book.worksheets]}
    for sheet in book.worksheets[:8]:
        first = next(sheet.iter_rows(max_row=1, values_only=True), ())
        if not first or not all(isinstance(cell, str) and cell.strip() for cell in first):
            load = None
        details.append(f"sheet {sheet.title!r}: {sheet.max_row} rows x {sheet.max_column} columns")
        details += [
            ", ".join(cell_text(c) for c in row)
            for row in sheet.iter_rows(max_row=SAMPLE + 1, max_col=20, values_only=True)
        ]
    book.close()
    if len(book.worksheets) > 8:
        load = None
    return fact("excel", f"Excel workbook, {len(book.sheetnames)} sheets", details, load=load)


def cell_text(cell: Any) -> str:
    if isinstance(cell, datetime.datetime) and not (cell.hour or cell.minute or cell.second):
        return cell.date().isoformat()
    return "" if cell is None else str(cell)[:CELL]


def describe_gzip(path: str, head: bytes) -> dict[str, Any]:
    with contextlib.suppress(tarfile.TarError, EOFError, OSError):
        return describe_tar(path, head)
    with gzip.open(path) as file:
        inner = file.read(HEAD)
    encoding = guess_encoding(inner, len(inner) == HEAD)
    if encoding is None:
        return fact("gzip", "gzip of binary data")
    lines = inner.decode(encoding, "replace").splitlines()
    count = f"{len(lines)} lines" if len(inner) < HEAD else f"more than {len(lines)} lines"
    load = {**text_load(lines, encoding), "gzip": True}
    return fact("gzip", f"gzip of a text, {count}, encoding {encoding}", lines[:SAMPLE], load=load)


def describe_tar(path: str, head: bytes) -> dict[str, Any]:
    details: list[str] = []
    with tarfile.open(path) as archive:
        for count, member in enumerate(archive):
            if count < 12 and member.isfile():
                details.append(member_line(member.name, member.size, lambda m=member: archive.extractfile(m)))
            if count > 1000:
                break
    return fact("tar", "tar archive", details)


def describe_png(path: str, head: bytes) -> dict[str, Any]:
    width, height = struct.unpack(">II", head[16:24])
    return fact("image", f"PNG image, {width} x {height}")


def describe_gif(path: str, head: bytes) -> dict[str, Any]:
    width, height = struct.unpack("<HH", head[6:10])
    return fact("image", f"GIF image, {width} x {height}")


def describe_bmp(path: str, head: bytes) -> dict[str, Any]:
    width, height = struct.unpack("<ii", head[18:26])
    return fact("image", f"BMP image, {width} x {abs(height)}")


def describe_webp(path: str, head: bytes) -> dict[str, Any]:
    return fact("image", "WebP image")


def describe_jpeg(path: str, head: bytes) -> dict[str, Any]:
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], struct.unpack(">H", head[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return fact("image", f"JPEG image, {width} x {height}")
        at += 2 + length
    return fact("image", "JPEG image")


def describe_pdf(path: str, head: bytes) -> dict[str, Any]:
    return fact("pdf", "PDF document")


MAGIC: list[tuple[Callable[[bytes], bool], Callable[[str, bytes], dict[str, Any]]]] = [
    (lambda h: h.startswith(b"\x89PNG\r\n\x1a\n"), describe_png),
    (lambda h: h.startswith(b"\xff\xd8\xff"), describe_jpeg),
    (lambda h: h.startswith((b"GIF87a", b"GIF89a")), describe_gif),
    (lambda h: h.startswith(b"BM") and h[6:10] == b"\0\0\0\0", describe_bmp),
    (lambda h: h.startswith(b"RIFF") and h[8:12] == b"WEBP", describe_webp),
    (lambda h: h.startswith(b"PK\x03\x04"), describe_zip),
    (lambda h: h.startswith(b"\x1f\x8b"), describe_gzip),
    (lambda h: h[257:262] == b"ustar", describe_tar),
    (lambda h: h.startswith(b"SQLite format 3\0"), describe_sqlite),
    (lambda h: h.startswith(b"%PDF"), describe_pdf),
]
