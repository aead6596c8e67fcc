from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.text import clean, decode, escape, json_text, printable

BAD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# Text in which the dangerous pieces are common, so that they meet in every order.
pieces = st.sampled_from(
    [
        *("\x1b", "\x1b[", "\x1b]", "\x9b", "\x9d", "\x07", "\x1b\\", "\x9c", "31m", "52;c;QQ==", "\r", "\r\n", "\n"),
        *("\t", "\u202e", "\u2066", "\ud83d", "\ude00", "\udc80", "\0", " ", "a", "é", "😀", "\U000e0041"),
    ]
)
hostile = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=30).map("".join)


@given(hostile, st.integers(0, 200))
@example("\x1b\x1b[31m[31mx", 100)
def test_nothing_a_terminal_acts_upon_is_left(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert not BAD.search(cleaned)
    assert len(cleaned) <= limit
    cleaned.encode()  # no lone surrogates: it can be written anywhere


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]) | st.sampled_from("\n\t")))
def test_harmless_text_is_unchanged(text: str) -> None:
    assert clean(text, 10_000) == text == decode(text.encode(), 10_000)


@given(hostile, st.integers(0, 300))
def test_cleaning_twice_changes_nothing_more(text: str, limit: int) -> None:
    once = clean(text, limit)
    assert clean(once, limit) == once


@given(st.recursive(hostile, lambda inner: st.lists(inner) | st.dictionaries(hostile, inner), max_leaves=5))
def test_json_holds_the_same_and_nothing_for_a_terminal(value: object) -> None:
    text = json_text(value)
    assert not BAD.search(text) and "\n" not in text
    assert json.loads(text) == json.loads(json.dumps(value))


@given(st.binary(max_size=300), st.integers(0, 100))
def test_any_bytes_decode(data: bytes, limit: int) -> None:
    text = decode(data, limit)
    assert len(text) <= limit and not BAD.search(text)


@given(hostile)
def test_a_name_is_one_safe_line(name: str) -> None:
    shown = printable(name)
    assert "\n" not in shown and "\t" not in shown and not BAD.search(shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;cm0gLXJmIH4=\x1b\\x", "x"),  # writes the clipboard
        ("\x9b31mred", "red"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcx\x1b(B", "x"),  # reset, character set
        ("\x1b]0;without an end", "\\x1b]0;without an end"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("\ud800", "\\ud800"),
        ("a\x00b", "a\\x00b"),
        ("a\U000e0041b", "a\\U000e0041b"),
    ],
)
def test_known_tricks(text: str, want: str) -> None:
    assert clean(text, 1000) == want


def test_a_long_text_keeps_head_and_tail_and_says_how_much_is_missing() -> None:
    text = "".join(f"line {n}\n" for n in range(1000))
    cut = clean(text, 200)
    assert len(cut) <= 200 and cut.startswith("line 0\n") and cut.endswith("line 999\n")
    match = re.search(r"\[\.\.\. (\d+) characters cut \.\.\.\]", cut)
    assert match
    kept = len(cut) - len(f"\n{match[0]}\n")
    assert int(match[1]) == len(text) - kept


def test_escape_hides_nothing() -> None:
    assert escape("\x1b[8mhidden\x1b[0m\n") == "\\x1b[8mhidden\\x1b[0m\n"


@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[", "\x1b[0;", "\x9b ", "\x1bP", "\x1b ", "\x1b]\x1b"])
def test_cleaning_is_linear_in_hostile_text(piece: str) -> None:
    started = time.perf_counter()
    clean(piece * 300_000, 1000)
    assert time.perf_counter() - started < 5
