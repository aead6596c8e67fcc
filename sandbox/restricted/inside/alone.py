"""The worker where there is no wall: executes restricted programs in a process of their own, asked line by line.

Each line on stdin is a question in JSON, each line on stdout its answer. What a program prints is in the answer.
"""

from __future__ import annotations

import ast
import io
import json
import linecache
import os
import sys
import types
from contextlib import suppress
from typing import Any, NoReturn

from . import files
from .speech import Restricted

__all__ = ["main"]


class _TooMuch(BaseException):
    """A program has printed more than it may."""


class _Output(io.TextIOBase):
    """What a program prints, up to a limit."""

    def __init__(self, room: list[int]) -> None:
        self._room, self.parts = room, list[str]()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._room[0] -= len(text)
        if self._room[0] < 0:
            raise _TooMuch
        self.parts.append(str(text))
        return len(text)


def main(evidence: Any) -> NoReturn:
    """Answer until stdin ends. `evidence` is the worker's module of that name."""
    questions, answers = sys.stdin, sys.stdout
    config = json.loads(questions.readline())
    _limit(config)
    language, names = Restricted(), types.ModuleType("__main__").__dict__
    names["__file__"] = os.path.join(config["folder"], "program.py")
    language.begin(names, config["folder"])
    files.begin(config["folder"], config["inputs"], read_only=True)
    os.chdir(config["folder"])
    sys.stdin = io.StringIO()
    answers.write("{}\n")
    answers.flush()
    for line in questions:
        question = json.loads(line)
        if question["op"] == "names":
            answer: dict[str, Any] = {"names": evidence.names_of(names)}
        else:
            answer = _execute(question, config, language, names, evidence)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)


def _limit(config: dict[str, Any]) -> None:
    """The limits of this process, where the system has such (setrlimit(2))."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        seconds, memory = max(1, round(config["cpu_seconds"])), config["memory_bytes"]
        limits = {"CPU": seconds, "AS": memory, "FSIZE": 0, "CORE": 0, "NPROC": 0}
        for kind, limit in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (limit, limit))


def _execute(
    question: dict[str, Any], config: dict[str, Any], language: Restricted, names: dict[str, Any], evidence: Any
) -> dict[str, Any]:
    room = [config["output_bytes"]]
    sys.stdout, sys.stderr = out, err = _Output(room), _Output(room)
    code, name = question["code"], "<program>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    answer: dict[str, Any] = {"value": None, "error": None, "exit_code": None, "cause": "result"}
    try:
        value = _run(code, name, names, language)
        if value is not None:
            answer["value"] = evidence.text_of(value, config["value_chars"])
            names["_"] = value
    except SystemExit as stop:
        answer["exit_code"] = stop.code & 0xFF if isinstance(stop.code, int) else int(stop.code is not None)
    except _TooMuch:
        answer["cause"] = "output"
    except BaseException as error:
        answer["error"] = evidence.problem(error, name, names, config["value_chars"])
    if room[0] < 0:
        answer["cause"] = "output"
    return {**answer, "stdout": "".join(out.parts), "stderr": "".join(err.parts)}


def _run(code: str, name: str, names: dict[str, Any], language: Restricted) -> Any:
    tree: Any = language.parse(code, name)
    names["__builtins__"] = language.builtins
    last: Any = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)  # noqa: S102
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)  # noqa: S307
