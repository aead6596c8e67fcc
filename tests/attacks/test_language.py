"""The G class against the restricted sandbox: the language policy refuses, and without it the wall holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import LAST
from corpus_restricted import ESCAPES, HARM, HARMLESS, Escape

from sandbox import OwnCode, Policy, Sandbox, open_sandbox

pytestmark = pytest.mark.jail

REFUSALS = {"SyntaxError", "AttributeError", "ImportError", "NameError", "TypeError", "PermissionError"}
ELSEWHERE = {"G35": "numpy cannot be imported", "G43": "see test_bad_input.py and below"}


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with open_sandbox("restricted", policy=Policy(wall_seconds=10, memory_bytes=512 << 20, history=0)) as sandbox:
        yield sandbox


PLAINLY = """
import json, os, sys
for code in json.load(sys.stdin):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.dup2(writing, 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try: exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(writing)
    print(json.dumps(open(reading).read()), flush=True)
    os.wait()
"""


def plainly(*codes: str, folder: Path) -> list[str]:
    """What programs print in plain Python, each in a process of its own."""
    command = [sys.executable, "-I", "-c", PLAINLY]
    told = json.dumps(codes)
    done = subprocess.run(command, input=told, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cases = [case for case in ESCAPES if sys.version_info[:2] >= case.since]
    said = plainly(*(case.program for case in cases), folder=tmp_path_factory.mktemp("controls"))
    return {case.id: text for case, text in zip(cases, said, strict=True)}


def test_every_number_of_the_plan_is_here() -> None:
    here = {case.id[:3] for case in ESCAPES} | {name[:3] for name in HARMLESS} | ELSEWHERE.keys()
    assert here == {f"G{number:02}" for number in range(1, LAST["G"] + 1)}
    assert len({case.id for case in ESCAPES}) == len(ESCAPES)


@pytest.mark.parametrize("case", ESCAPES, ids=lambda case: case.id)
def test_the_policy_refuses(box: Sandbox, controls: dict[str, str], case: Escape) -> None:
    if sys.version_info[:2] < case.since:
        pytest.skip("a syntax of a later Python")
    assert "REACHED" in controls[case.id], "no positive control"
    with box.open() as session:
        run = session.execute(case.program, on_error="keep")
        assert "REACHED" not in run.stdout
        assert run.status == "error"
        assert run.error is not None
        assert run.error.type in REFUSALS
        assert len(run.error.message) > 20, "the model is to learn what to write instead"
        assert session.execute("6 * 7").value == "42"


def world(tmp_path: Path) -> str:
    canary = tmp_path / "canary.txt"
    canary.write_text("a secret")
    return f"CANARY, OUTSIDE, VICTIM = {str(canary)!r}, {str(tmp_path)!r}, {os.getpid()}\n"


def test_the_wall_holds_without_the_policy(box: Sandbox, tmp_path: Path) -> None:
    """Every escape at once, in one process, and then what they are for."""
    facts = world(tmp_path)
    [outside] = plainly(facts + HARM, folder=tmp_path)
    names = [line.split()[1] for line in outside.splitlines() if line.startswith("LEAK")]
    assert {"reading", "writing", "fork", "exec", "socket", "thread", "link", "signal"} <= set(names)
    with box.open() as session:
        reached = 0
        for case in ESCAPES:
            run = session.execute(OwnCode(case.program), on_error="keep")
            reached += "REACHED" in run.stdout
        assert reached > len(ESCAPES) * 0.8, "the policy is not off"
        run = session.execute(OwnCode(facts + HARM), on_error="keep")
    assert "LEAK" not in run.stdout
    assert run.stdout.count("denied") == HARM.count("\nattempt(")
    assert [path.name for path in tmp_path.iterdir() if path.name == "left"] == ["left"]  # the control's own


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_goes_through(box: Sandbox, name: str) -> None:
    with box.open() as session:
        assert session.execute(HARMLESS[name]).ok


@pytest.mark.parametrize(
    "code",
    [
        "x = '\0'",
        "\ufeffimport os\nos.system",
        "# -*- coding: utf-7 -*-\nimport os\nos.system",
        "(" * 100_000 + ")" * 100_000,
        f"{'x' * 900_000} = 1\nimport os; os.system",
        "x = 1\rimport os; os.system",
        "-" * 100_000 + "1",
        "x" + ".a" * 50_000,
    ],
    ids=["nul", "bom", "cookie", "parentheses", "identifier", "return", "signs", "attributes"],
)
def test_odd_sources_cost_no_more_than_themselves(box: Sandbox, code: str) -> None:
    with box.open() as session:
        assert session.execute(code, on_error="keep").status in ("error", "killed")
    with box.open() as session:
        assert session.execute("6 * 7").value == "42"
