"""What an input is taken for, where it ends, and what can be completed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.repl.figures import inline
from agent.repl.prompt import choices, ends_here, next_indent
from agent.repl.rule import blocks, is_unfinished, read_entry

NAMES = {"sales", "x"}


@pytest.mark.parametrize(
    "text",
    [
        *("x = 1", "2 + 2", "sales", "sales.head()", "sum(x)", "pritn(x)", "import json", "# a note", '"hello"'),
        *("True", "list", "x and sales", "x, sales", "x is None", "raise ValueError", "del x", "x: int = 3"),
        *("x = 1; y = 2", "hello\nworld", "for i in x:", "def f(a):\n    return a", "(1 +", "@cached", "'''abc"),
        *("> hello", ">hello", "  > what is it", "λ = 1"),
    ],
)
def test_what_parses_as_python_is_python(text: str) -> None:
    assert read_entry(text, NAMES).kind == "python"


@pytest.mark.parametrize(
    "text",
    [
        *("hello", "thanks", "plot sales by region", "what is x?", "What's the total", "note: total", "sales: total"),
        *("sales and profits", "yes or no", "sales in euros", "profits, sales", "not good", "15% of 80", "print x"),
        *("销售总额是多少", "总额", "? x", "?x = 1", "? for i in x:", "x = = 3", "compute the sum (in euros"),
    ],
)
def test_anything_else_is_a_task(text: str) -> None:
    assert read_entry(text, NAMES).kind == "task"


def test_words_alone_are_python_once_they_are_names() -> None:
    assert read_entry("total").kind == "task"
    assert read_entry("total", {"total"}).kind == "python"


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("> x", "python", "x"),
        (">  if x:\n    pass", "python", " if x:\n    pass"),
        ("? sum of x ", "task", "sum of x"),
        (":undo 2", "command", "undo 2"),
        (" :vars", "command", "vars"),
        (":", "command", ""),
        ("  \n ", "nothing", ""),
        ("x = 1\n\n", "python", "x = 1"),
    ],
)
def test_prefixes_force_and_are_left_out(text: str, kind: str, rest: str) -> None:
    entry = read_entry(text, NAMES)
    assert (entry.kind, entry.text) == (kind, rest)


@given(st.text(max_size=60))
def test_every_text_is_something_and_the_prefixes_hold(text: str) -> None:
    assert read_entry(text).kind in ("python", "task", "command", "nothing")
    assert read_entry("?" + text).kind == "task"
    assert read_entry(">" + text).kind == "python"
    assert read_entry(":" + text).kind == "command"
    assert list(blocks([text])) in ([], [text.rstrip("\r\n").rstrip()]) or text.strip() == ""
    ends_here(text)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("x = 1", True),
        ("what is x?", True),
        (":undo", True),
        ("for i in x:", False),
        ("for i in x:\n    y = i", False),
        ("for i in x:\n    y = i\n", True),
        ("for i in x: y = i", True),
        ("data = [", False),
        ("data = [\n1]", True),
        ("> hello(", False),
        ("@cached", False),
        ('"""abc\n\n', False),
    ],
)
def test_enter_runs_what_is_whole(text: str, ends: bool) -> None:
    assert ends_here(text, NAMES) is ends


def test_the_next_line_is_indented_as_the_last() -> None:
    assert next_indent("for i in x:") == "    "
    assert next_indent("    if i: ") == "        "
    assert next_indent("    y = i") == "    "
    assert next_indent("") == ""


def test_a_text_without_prompts_is_cut_into_inputs() -> None:
    text = [
        "x = 1",
        "",
        "for i in range(2):\n    x += i\n\n    print(x)",
        "how much is x?",
        "if x:\n    pass\nelse:\n    x = 2",
        "data = [\n  1,\n\n  2]",
        "? a sum (of x",
        ":vars",
        '"""a\n\nb"""',
        "> y = (1,\n2)",
        "def f():\n    return 1",
    ]
    found = list(blocks("\n".join(text).splitlines(keepends=True)))
    assert found == [part for part in text if part]


def test_unfinished_is_what_can_still_become_python() -> None:
    assert is_unfinished("f(")
    assert is_unfinished("class A:")
    assert not is_unfinished("f(]")
    assert not is_unfinished("x = = 1")
    assert not is_unfinished("f()")


class Known:
    names = ("sales", "salary")
    branched = False

    def paths(self) -> list[str]:
        return ["sales.csv", "notes.txt"]


def test_names_files_and_commands_are_completed() -> None:
    def completed(before: str, word: str) -> set[str]:
        return {c for c in choices(before, word, Known(), ("undo", "vars")) if c.startswith(word)}

    assert completed("len(sal", "sal") == {"sales", "salary", "sales.csv"}
    assert completed(":un", "un") == {"undo"}
    assert "print" in completed("pri", "pri")
    assert completed('open("not', "not") == {"notes.txt", "not"}


def test_pictures_are_drawn_where_the_terminal_can() -> None:
    data = bytes(range(256)) * 40
    kitty = "".join(inline(data, {"TERM": "xterm-kitty"}))
    assert kitty.startswith("\x1b_Ga=T,f=100,q=2,m=1;")
    assert kitty.count("\x1b_G") == 4
    assert "m=0;" in kitty
    assert "".join(inline(data, {"TERM_PROGRAM": "iTerm.app", "TERM": "xterm"})).startswith("\x1b]1337;File=inline=1;")
    assert not list(inline(data, {"TERM": "xterm-256color"}))
    assert not list(inline(data, {"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}))
