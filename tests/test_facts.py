from __future__ import annotations

import gzip
import json
import os
import sqlite3
import struct
import zipfile
from pathlib import Path

import pytest

from agent import facts_probe
from agent.facts import Facts, FileFact, count_tokens, look, render
from agent.plan import make_plan
from agent.task import Task
from sandbox import Policy, open_session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def about(name: str) -> dict[str, object]:
    found = {f["path"]: f for f in facts_probe.survey([])["files"]}
    return found[name]


def told(name: str) -> str:
    fact = about(name)
    return "\n".join([str(fact["summary"]), *fact["details"]])  # type: ignore[misc]


def test_a_csv_file_is_told_by_its_lines_and_what_is_odd(folder: Path) -> None:
    rows = [
        "id;amount;day;state",
        "1;1.200,50;2026-03-01;open",
        "2;3,10;1 Mar 2026;open",
        "2;3,10;1 Mar 2026;open",
        "4;;x;shut",
    ]
    (folder / "a.csv").write_text("\n".join(rows), "utf-8-sig")
    text = told("a.csv")
    assert "4 rows" in text
    assert "utf-8-sig" in text
    assert "';'" in text
    assert rows[1] in text
    assert "1 blank" in text
    assert "several formats" in text
    assert "open|shut" in text
    assert "1 rows are repeated" in text


def test_a_csv_file_without_a_header_is_told_so(folder: Path) -> None:
    (folder / "a.csv").write_text("1,2\n3,4\n")
    assert "no header line" in told("a.csv")
    assert "2 rows" in told("a.csv")


def test_encodings_are_told_apart(folder: Path) -> None:
    (folder / "gb.txt").write_bytes("单位换算表，一共三行。\n".encode("gb18030"))
    (folder / "latin.txt").write_bytes("Café Motte, garçon\n".encode("latin-1"))
    (folder / "wide.txt").write_bytes("hello\n".encode("utf-16"))
    (folder / "plain.txt").write_text("Café\n", "utf-8")
    assert "gb18030" in told("gb.txt")
    assert "latin-1" in told("latin.txt")
    assert "utf-16" in told("wide.txt")
    assert "encoding" not in told("plain.txt")


def test_structured_files(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps({"page": 1, "data": [{"id": 7, "tags": ["x"]}] * 3}))
    (folder / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    with sqlite3.connect(folder / "a.db") as base:
        base.execute("create table people (name text, age int)")
        base.execute("insert into people values ('Ann', 3)")
    base.close()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("in/b.csv", "x,y\n1,2\n")
    (folder / "a.log.gz").write_bytes(gzip.compress(b"GET /\nGET /b\n"))
    assert "data: list of 3 x {id: int, tags: list of 1 x str}" in told("a.json")
    assert "2 lines" in told("a.jsonl")
    assert "people (name TEXT, age INT): 1 rows" in told("a.db").replace("text", "TEXT").replace("int)", "INT)")
    assert "in/b.csv (8 bytes, utf-8): x,y / 1,2" in told("a.zip")
    assert "2 lines" in told("a.log.gz")
    assert "GET /" in told("a.log.gz")


def test_an_excel_workbook(folder: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Q1"
    book.active.append(["region", "sum"])
    book.active.append(["North", 12.5])
    book.save(folder / "a.xlsx")
    assert "sheet 'Q1': 2 rows x 2 columns" in told("a.xlsx")
    assert "North, 12.5" in told("a.xlsx")


def test_images_by_their_headers(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480))
    (folder / "a.jpg").write_bytes(
        b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08" + struct.pack(">HH", 200, 300) + b"\0" * 9
    )
    assert "640 x 480" in told("a.png")
    assert "300 x 200" in told("a.jpg")


def test_no_file_ends_the_survey(folder: Path) -> None:
    (folder / "bad.zip").write_bytes(b"PK\x03\x04 broken")
    (folder / "bad.db").write_bytes(b"SQLite format 3\0 broken")
    (folder / "bad.json").write_text("{not json")
    (folder / "bad.csv").write_text('a,b\n"never closed\n' * 3)
    (folder / "empty.csv").write_text("")
    (folder / "binary").write_bytes(bytes(range(256)) * 10)
    (folder / "gone").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    with (folder / "huge.csv").open("wb") as file:
        file.write(b"a,b\n1,2\n")
        file.truncate(3 << 30)
    facts = facts_probe.survey([])
    kinds = {f["path"]: f["kind"] for f in facts["files"]}
    assert len(kinds) == 9
    assert kinds["bad.zip"] == kinds["bad.db"] == kinds["gone"] == "unreadable"
    assert kinds["pipe"] == "special"
    assert kinds["empty.csv"] == "empty"
    assert kinds["binary"] == "binary"
    json.dumps(facts)


def test_many_files_are_bounded_sorted_and_junk_is_skipped(folder: Path) -> None:
    for number in range(60):
        (folder / f"p{number:02}.txt").write_text("x")
    for name in (".git", "node_modules", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("x")
    facts = facts_probe.survey(["p59.txt"])
    paths = [f["path"] for f in facts["files"]]
    assert paths[0] == "p59.txt"  # named, so first
    assert paths[1:] == [f"p{n:02}.txt" for n in range(39)]
    assert facts["more"] == 20


def fact(path: str, *details: str, kind: str = "csv") -> FileFact:
    return FileFact(path, 1, kind, f"{kind.upper()}, 3 rows", details)


def test_mentioned_files_are_in_full_and_others_in_a_line() -> None:
    facts = Facts((fact("a.csv", "x,y"), fact("b.csv", "p,q")))
    assert render(facts, 500, "Sum up b.csv") == (
        "Files in the working folder:\nb.csv: CSV, 3 rows\n  p,q\na.csv: CSV, 3 rows"
    )
    assert "x,y" in render(facts, 500, "Sum up", named=["a.csv"])
    assert "x,y" in render(facts, 500, "Sum them up")  # few files, none mentioned
    assert "p,q" not in render(facts, 500, "Sum up ab.csv and a.csv")


def test_alike_files_are_names_in_one_line() -> None:
    facts = Facts(tuple(fact(f"IMG_{n:04}.jpg", kind="image") for n in range(30)), more=100)
    text = render(facts, 500, "Rename my photos")
    assert "IMG_0000.jpg, IMG_0001.jpg" in text
    assert "(30 files)" in text
    assert "and 100 more files" in text
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("budget", [100, 300, 1000])
def test_the_budget_is_kept(budget: int) -> None:
    facts = Facts(tuple(fact(f"f{n}/data{n}.csv", *["column " * 20] * 8) for n in range(40)))
    text = render(facts, budget, "Use data1.csv, data2.csv and data3.csv")
    assert count_tokens(text) <= budget * 1.3
    assert "f1/data1.csv" in text


def test_an_empty_folder_needs_no_words() -> None:
    assert render(Facts(), 500) == ""


def test_files_that_a_task_is_not_about_are_left_out() -> None:
    notes = Facts((fact("notes.txt", "rate as discussed", kind="text"),))
    assert render(notes, 500, "How much are 100 euros at 3.2% after 10 years?") == ""
    assert "notes.txt" in render(notes, 500, "How many lines has each file?")
    assert "notes.txt" in render(notes, 500, "How much is it?", named=["notes.txt"])
    assert "a.csv" in render(Facts((fact("a.csv"),)), 500, "Which region sold most?")


def test_chinese_counts_a_token_a_character() -> None:
    assert count_tokens("一共多少") == 4
    assert count_tokens("abcdefgh") == 2


@pytest.mark.jail
def test_the_probe_looks_from_inside_the_jail(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "evil\x1b[2J\n.txt").write_text("]0;title\x07 text\n")
    with open_session(workspace=tmp_path) as session:
        facts = look(session, ["a.csv"])
        assert session.execute("survey").status == "ok"  # it ran there, and not here
    assert facts.problem == ""
    assert facts.files[0].path == "a.csv"
    assert facts.python
    text = make_plan(Task("Show a.csv and the rest"), facts, 500).facts
    assert "\x1b" not in text
    assert "1,2" in text


@pytest.mark.jail
def test_a_probe_that_cannot_report_yields_empty_facts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with open_session(workspace=tmp_path, policy=Policy(output_bytes=10)) as session:
        facts = look(session)
    assert facts.files == ()
    assert "could not be looked at" in facts.problem
