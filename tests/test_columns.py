"""The columns that a task wants in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.columns import find_columns
from agent.facts import Facts
from agent.judge import judge
from agent.plan import make_plan
from agent.task import Check, Task
from sandbox import open_sandbox


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Write t.csv with id, name, orders (how many) and total (the sum), biggest first.", "id name orders total"),
        ("Write t.csv with employee, hours_above and pay, and tell me the total", "employee hours_above pay"),
        ("into t.csv (order_id, date as YYYY-MM-DD from created_at, units; units is a sum)", "order_id date units"),
        ("Save it as t.csv, columns: day, n (int).", "day n"),
        ("Save `t.csv` with the columns day and total for each shop", "day total"),
        ("save t.csv with country, capital and population sorted by name", "country capital population"),
        ("写到 t.csv，列为 部门、一月、合计（两位小数），按合计从高到低排", "部门 一月 合计"),
        ("First read t.csv. Then write t.csv with a_b, c_d", "a_b c_d"),
        ("Save t.csv with name and age", ""),  # may be what it holds, not what its columns are called
        ("Write t.csv with the name and the number of orders of each customer", ""),
        ("Write t.csv with header, quotes and semicolons", ""),
        ("Write t.csv with duplicates removed, dates fixed, names trimmed", ""),
        ("Write t.csv (one row per day, sorted by date)", ""),
        ("Write t.csv with x_1, x_1 and y", ""),
        ("Write t.csv", ""),
        ("Write other.csv with a_b, c_d", ""),
    ],
)
def test_columns_are_found_where_the_task_names_them(text: str, columns: str) -> None:
    assert find_columns(text, "t.csv") == tuple(columns.split())


def test_only_tables_have_columns() -> None:
    assert find_columns("Write t.json with a_b, c_d", "t.json") == ()
    plan = make_plan(Task("Read in.csv and write t.csv with a_b, c_d"), Facts(), 500)
    assert [check for check in plan.checks if check.kind == "columns"] == [Check("columns", "t.csv: a_b, c_d", "task")]


@pytest.mark.parametrize(
    ("head", "right"),
    [
        ("Order ID,Total\n1,2\n", True),
        ("\ufefforder_id;total\n", True),
        ('"order_id"\t"total"\r\n', True),
        ("order_id,total,extra\n", False),
        ("total,order_id\n", False),
        ("1,2\n", False),
        ("\x00\x01", False),
        ("", False),
    ],
)
def test_the_columns_of_a_table_are_checked(head: str, right: bool, tmp_path: Path) -> None:
    check = Check("columns", "t: x.csv: order_id, total", "task")
    code = f"open('t: x.csv', 'w', newline='', encoding='utf-8').write({head!r})"
    with open_sandbox("restricted", workspace=tmp_path) as box, box.open() as session:
        verdict = judge(session, session.execute(code), [check], changed=lambda: True)
    assert verdict.passed is right
    assert right or "wanted are order_id, total" in verdict.results[0].detail


def test_a_table_in_another_encoding_and_one_that_is_not_there(tmp_path: Path) -> None:
    checks = [Check("columns", "a.csv: 部门, 合计", "task"), Check("columns", "b.csv: x, y", "task")]
    code = "open('a.csv', 'w', encoding='gb18030').write('部门,合计\\n')"
    with open_sandbox("restricted", workspace=tmp_path) as box, box.open() as session:
        assert judge(session, session.execute(code), checks, changed=lambda: True).passed
