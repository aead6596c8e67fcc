"""The code that a program begins with: what it reads must be what is in the files."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import facts_probe
from agent.facts import facts_of
from agent.hints import helpers, hints_for
from agent.opening import write_opening
from agent.plan import make_plan
from agent.task import Task


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opening(task: str, packages: tuple[str, ...] = ()) -> str:
    """The opening of a program for `task` in the working directory."""
    facts = facts_of({**facts_probe.survey([]), "packages": packages})
    return make_plan(Task(task), facts, 900, hints=True, opening=True).opening


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "opening", "exec"), names)
    return names


def test_a_table_is_read_as_it_is_written(folder: Path) -> None:
    lines = ["id;customer;amount;price;left;day", "01; anna ;1,200.50;$ 3;2;2026-03-01", "02;bo;7;$1,000;;1 Mar 2026"]
    (folder / "orders.csv").write_text("\n".join(lines), "utf-8-sig")
    code = opening("Sum up orders.csv")
    assert run(code)["orders"] == [
        {"id": "01", "customer": "anna", "amount": 1200.5, "price": 3.0, "left": 2, "day": "2026-03-01"},
        {"id": "02", "customer": "bo", "amount": 7.0, "price": 1000.0, "left": None, "day": "2026-03-01"},
    ]
    assert code.endswith("# Task: Sum up orders.csv\n")


def test_numbers_that_may_mean_two_things_stay_texts(folder: Path) -> None:
    rows = [
        ["currency", "weight", "day", "code"],
        ["$5", "5 kg", "03/04/2026", "007"],
        ["€5", "90 g", "25/04/2026", "12"],
    ]
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert run(opening("Look at a.csv"))["a"] == [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_rows_of_different_length_and_tables_without_a_header(folder: Path) -> None:
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    (folder / "bare.csv").write_text("1,x\n2,y\n")
    found = run(opening("Compare ragged.csv with bare.csv"))
    assert found["ragged"] == [{"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": 4, "b": 5}]
    assert found["bare"] == [[1, "x"], [2, "y"]]


def test_a_first_or_last_column_may_have_no_name(folder: Path) -> None:
    (folder / "numbered.csv").write_text(",item,weight\n0,rice,5\n1,salt,1.5e-3\n")
    (folder / "closed.csv").write_text("x,y,\n1,2,\n3,4,\n")
    found = run(opening("Compare numbered.csv with closed.csv"))
    assert found["numbered"] == [{"": 0, "item": "rice", "weight": 5.0}, {"": 1, "item": "salt", "weight": 0.0015}]
    assert found["closed"] == [{"x": 1, "y": 2, "": ""}, {"x": 3, "y": 4, "": ""}]
    assert 'pd.read_csv("numbered.csv", index_col=0)' in opening(
        "What is the correlation in numbered.csv?", ("pandas",)
    )


def test_a_table_of_keys_and_numbers_beside_another_is_a_dict(folder: Path) -> None:
    (folder / "units.csv").write_text("unit,kg\nkg,1\ng,0.001\n")
    (folder / "stock.csv").write_text("item,weight,unit\nrice,5,kg\nsalt,20,g\n")
    assert run(opening("Convert stock.csv with units.csv"))["units"] == {"kg": 1.0, "g": 0.001}


def test_files_alike_are_read_together_whatever_else_is_there(folder: Path) -> None:
    for month in (1, 2, 10):
        (folder / f"sales_{month:02}.csv").write_text(f"day,units\n2026-{month:02}-01,{month}\n")
        (folder / f"page{month}.json").write_text(json.dumps({"data": [month]}))
    (folder / "sales_total.csv").write_text("whatever\n")
    found = run(opening("Add up sales_01.csv, sales_02.csv and sales_10.csv"))
    assert found["sales"]["sales_10.csv"] == [{"day": "2026-10-01", "units": 10}]
    assert list(found["sales"]) == ["sales_01.csv", "sales_02.csv", "sales_10.csv"]
    assert run(opening("Flatten page1.json, page2.json and page10.json"))["pages"][0] == {"data": [1]}


def test_an_archive_of_tables_in_several_encodings(folder: Path) -> None:
    with zipfile.ZipFile(folder / "报销.zip", "w") as archive:
        archive.writestr("一月.csv", "部门,金额\n市场部,327.32元\n".encode("gb18030"))
        archive.writestr("二月.csv", '部门,金额\n销售部 ,"1,083.47"\n'.encode("utf-8-sig"))
        archive.writestr("说明.txt", "旧系统".encode())
    found = run(opening("汇总 报销.zip 里的金额"))
    assert found["tables"] == {
        "一月.csv": [{"部门": "市场部", "金额": 327.32}],
        "二月.csv": [{"部门": "销售部", "金额": 1083.47}],
    }


def test_other_kinds_of_files(folder: Path) -> None:
    line = '10.0.0.1 - anna [14/Jun/2026:00:00:58 +0200] "GET /503 HTTP/1.1" 200 42 "-" "x"\n'
    (folder / "access.log").write_text(line * 5)
    (folder / "access.log.1.gz").write_bytes(gzip.compress((line * 3).encode()))
    (folder / "rhs.txt").write_text("# one value a line\n1.5\n-2\n\n3e2\n")
    (folder / "notes.txt").write_text("# Title\nwords\n")
    (folder / "app.ini").write_bytes(b"[web]\r\nport = 1\r\n")
    (folder / "events.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as base:
        base.execute("create table t (a)")
        base.commit()
    logs = run(opening("Count the requests in access.log and access.log.1.gz"))
    assert logs["access"][0]["status"] == "200"
    assert (len(logs["access"]), len(logs["access_1"])) == (5, 3)
    others = run(opening("Use rhs.txt, notes.txt, app.ini, events.jsonl and shop.db"))
    assert others["rhs"] == [1.5, -2.0, 300.0]
    assert others["notes"] == "# Title\nwords\n"
    assert others["app_lines"] == ["[web]\r\n", "port = 1\r\n"]
    assert others["events"] == [{"a": 1}, {"a": 2}]
    with contextlib.closing(others["shop"]) as base:
        assert base.execute("select count(*) from t").fetchone() == (0,)


def test_a_folder_that_is_meant_as_a_whole_is_listed(folder: Path) -> None:
    for name in ("backup/a.txt", "backup/deep/b.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0x")
    assert run(opening("Which files under backup are the same?"))["backup_files"] == [
        Path("backup/a.txt"),
        Path("backup/deep/b.bin"),
    ]


def test_work_with_statistics_begins_with_pandas_where_it_is_there(folder: Path) -> None:
    (folder / "a.csv").write_text("x;y\n1;2\n")
    task = "What is the correlation of x and y in a.csv?"
    assert "import pandas as pd" in opening(task, ("pandas",))
    assert "pd.read_csv(\"a.csv\", sep=';')" in opening(task, ("pandas",))
    assert "pandas" not in opening(task)
    assert "pandas" not in opening("What is the sum of x in a.csv?", ("pandas",))


def test_what_is_too_much_or_of_no_use_is_left_out(folder: Path) -> None:
    assert opening("What is 6 * 7?") == ""
    (folder / "blob.bin").write_bytes(b"\0\1\2")
    assert opening("How big is blob.bin?") == ""
    for i in range(9):
        (folder / f"file_{'abcdefghi'[i]}.txt").write_text("words")
    assert opening("Join " + ", ".join(f"file_{c}.txt" for c in "abcdefghi")) == ""
    assert opening("Write a function called add(a, b), as in file_a.txt") == ""
    assert "# Task" not in opening("Read file_a.txt. " + "Think. " * 200)


def test_variables_hide_nothing(folder: Path) -> None:
    for name in ("list.csv", "class.csv", "csv.csv", "2024 sales.csv"):
        (folder / name).write_text("a,b,c\nx,1,y\n")
    found = run(opening("Join list.csv, class.csv, csv.csv and 2024 sales.csv"))
    rows = [value for value in found.values() if value == [{"a": "x", "b": 1, "c": "y"}]]
    assert len(rows) == 4
    assert found["csv"] is csv
    assert found["list"] is not rows[0] if "list" in found else True


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12) | st.sampled_from(
    [
        "1",
        "-2.5",
        "1,234.50",
        "1.234,5",
        "$5",
        "€ 7",
        "n/a",
        "",
        "2026-03-01",
        "1 Mar 2026",
        "0012",
        "1e5",
        '"',
        "'",
        "\\",
        "{x}",
    ]
)


@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=2, max_size=6))
def test_whatever_a_table_holds_the_opening_runs(folder: Path, rows: list[list[str]]) -> None:
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    code = opening("Look at t.csv")
    assert code.isprintable() or "\n" in code
    run(code)


def test_hints_are_given_for_a_kind_of_work_only() -> None:
    table = "Files in the working folder:\na.csv: CSV, 3 rows\nb.csv: CSV, 4 rows"
    said = [hint.say for hint in hints_for("Join a.csv with b.csv", table)]
    assert len(said) == 1
    assert "dict" in said[0]
    assert hints_for("What is 6 * 7?", "") == ()
    once = "Count each order only once"
    assert "seen.add" in hints_for(once, table)[0].say
    assert "drop_duplicates" in hints_for(once, table, frames=True)[0].say
    dates = "a.csv: CSV, 3 rows\n  columns: day: dates in several formats: '1.2.2026'"
    assert any("strptime" in h.say for h in hints_for("Sort a.csv by day", dates))
    assert hints_for("Sort a.csv by day", dates, reads=False) == ()


def helper(name: str) -> Any:
    space: dict[str, Any] = {}
    exec(helpers()[name], space)
    return space[name]


INI = "; main\n[server]\nport = 8080   ; first\ndebug=on\n\n[db]\nport = 5432\nname = a b  # two words\n"
YAML = 'version: "3.8"  # new\nservices:\n  web:\n    port: 8080  # web\n    env:\n      - A=1\n  db:\n    port: 5432\n'


@pytest.mark.parametrize(
    ("text", "path", "value", "before", "after"),
    [
        (INI, "server.port", 1, "port = 8080   ; first", "port = 1   ; first"),
        (INI, "server.debug", "false", "debug=on", "debug=off"),
        (INI, "db.port", "1", "port = 5432", "port = 1"),
        (INI, "DB.Name", "1", "name = a b  # two", "name = 1  # two"),
        (YAML, "version", '"4"', 'version: "3.8"  # new', 'version: "4"  # new'),
        (YAML, "services.web.port", "1", "port: 8080  # web", "port: 1  # web"),
        (YAML, "db.port", "1", "port: 5432", "port: 1"),
        ("export KEY=a\nOTHER='b c'\n", "OTHER", "1", "'b c'", "1"),
        ("[a.b]\nc = 'x # y' # z\n", "a.b.c", "1", "'x # y' # z", "1 # z"),
    ],
)
def test_a_value_is_set_and_all_else_stays(text: str, path: str, value: object, before: str, after: str) -> None:
    lines = text.splitlines(keepends=True)
    helper("set_value")(lines, path, value)
    assert text.count(before) == 1
    assert "".join(lines) == text.replace(before, after)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("server.prot", r"no 'server\.prot'; there are: server\.port, server\.debug, db\.port, db\.name"),
        ("port", r"more than one 'port'; there are: server\.port, db\.port"),
    ],
)
def test_a_value_that_is_not_there_is_told_with_those_that_are(path: str, said: str) -> None:
    with pytest.raises(KeyError, match=said):
        helper("set_value")(INI.splitlines(keepends=True), path, "1")


def test_a_variable_is_renamed_and_all_else_stays() -> None:
    source = "tmp = 1  # tmp\ntmp_dir = 'tmp'\n\ndef f(tmp, o):\n    return f'{tmp:.2f} tmp', o.tmp, [tmp for tmp in o]"
    want = "sub = 1  # tmp\ntmp_dir = 'tmp'\n\ndef f(sub, o):\n    return f'{sub:.2f} tmp', o.tmp, [sub for sub in o]"
    assert helper("rename_variable")(source, "tmp", "sub") == want


def test_files_with_the_same_content(tmp_path: Path) -> None:
    for name, content in (("a", "x"), ("b", "y"), ("c", "x")):
        (tmp_path / name).write_text(content)
    assert helper("same_content")(sorted(tmp_path.iterdir())) == [[tmp_path / "a", tmp_path / "c"]]


@pytest.mark.data
def test_a_linear_regression_as_scipy_has_it() -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = [1.0, 2.0, 3.0, 4.0, float("nan")], [2.1, 3.9, 6.2, 7.8, 9.0]
    coefficients, p_values, r_squared = helper("linear_regression")(x, y)
    want = stats.linregress(x[:4], y[:4])
    found = (*coefficients, *p_values, r_squared)
    assert found == pytest.approx((want.slope, want.pvalue, want.rvalue**2))
    two = [[a, b] for a, b in zip(x, [1.0, 0.0, 1.0, 1.0, 2.0], strict=True)]
    assert [len(found) for found in helper("linear_regression")(two, y)[:2]] == [2, 2]


def test_what_a_file_defines(tmp_path: Path) -> None:
    source = "def f(): ...\nclass A:\n    x = 1\n    async def g(self): ...\nasync def h(): ...\n"
    (tmp_path / "m.py").write_text(source)
    assert helper("definitions")(tmp_path / "m.py") == (["f", "h"], {"A": ["g"]})


def test_a_hint_with_a_helper_brings_it_along(folder: Path) -> None:
    (folder / "a.ini").write_text(INI)
    task = "Change the port of the server in a.ini to 2"
    code = opening(task)
    assert code.startswith("import re\n\ndef set_value(lines, path, value):\n")
    lines = next(value for value in run(code).values() if isinstance(value, list))
    assert "".join(lines) == INI
    plain = make_plan(Task(task), facts_of(facts_probe.survey([])), 900, hints=True)
    assert any("set_value(lines" in hint for hint in plain.hints)


def test_hints_are_short_and_their_imports_are_statements() -> None:
    everything = hints_for.__globals__["_hints"]()
    assert len({h.say for h in everything}) == len(everything) > 10
    for hint in everything:
        assert len(hint.say) < 500 and len(hint.helped) < 500
        assert bool(hint.helped) == bool(hint.helper)
        compile("\n".join(hint.imports), "imports", "exec")


def test_without_files_only_what_hints_import() -> None:
    assert write_opening("Do it", [], [], (), ["import re"]) == "import re\n\n# Task: Do it\n"
