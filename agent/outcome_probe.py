"""Calls a function that a program left behind and writes down what it returns, in a form that can be compared.

The text of this file is sent into the sandbox and run there, in a namespace of its own. What it reports is a claim of
the program, as every result is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

LONGEST = 2000
"""Characters of a result; of a longer one its digest is told as well."""
MOST = 1000
"""Items of what is made one by one."""
DEPTH = 20


def outcome(call: str, names: dict[str, Any]) -> str:
    """What came of a call, as JSON: the value, or the type of the error after an exclamation mark."""
    try:
        text = written(eval(compile(call, "<call>", "eval"), names), DEPTH)  # noqa: S307
    except (Exception, SystemExit) as error:
        text = f"! {type(error).__name__}"
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"
    return json.dumps(text)


def written(value: Any, depth: int) -> str:
    """`repr`, with sets and dicts in order, iterators as what they give, and no address of an object."""
    kinds: dict[type, Callable[[Any, int], str]] = {
        dict: lambda v, d: "{" + ", ".join(sorted(f"{written(k, d)}: {written(x, d)}" for k, x in v.items())) + "}",
        set: lambda v, d: "set(" + ", ".join(sorted(items(v, d))) + ")",
        frozenset: lambda v, d: "set(" + ", ".join(sorted(items(v, d))) + ")",
        list: lambda v, d: "[" + ", ".join(items(v, d)) + "]",
        tuple: lambda v, d: "(" + ", ".join(items(v, d)) + ")",
    }
    if depth and type(value) in kinds:
        return kinds[type(value)](value, depth - 1)
    if depth and isinstance(value, Iterator):
        return "iter(" + ", ".join(items(itertools.islice(value, MOST), depth - 1)) + ")"  # pyright: ignore
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def items(values: Any, depth: int) -> list[str]:
    return [written(value, depth) for value in values]
