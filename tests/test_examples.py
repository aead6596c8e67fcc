"""Every example runs as its first line says; those with a model, on the embedded one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
WITHOUT_MODEL = {"sandbox_alone", "which_sandbox"}
WITH_MODEL = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem not in WITHOUT_MODEL)


def run_example(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.jail
def test_sandbox_alone():
    out = run_example("sandbox_alone")
    assert "still there: (2, True)" in out and "applied: 2 rows" in out


@pytest.mark.jail
def test_which_sandbox():
    out = run_example("which_sandbox")
    assert (
        "jail: 2; tier" in out
        and "restricted: 2; tier" in out
        and ("docker: 2; tier" in out or "docker: not here" in out)
    )


@pytest.mark.model
@pytest.mark.jail
@pytest.mark.data
@pytest.mark.parametrize("name", WITH_MODEL)
def test_example_with_the_embedded_model(name):
    out = run_example(name)
    assert out.strip() and "Traceback" not in out
    if name == "question_over_csv":
        assert "unverified" in out or "solved" in out


def test_every_example_is_run_by_a_test():
    assert len(WITH_MODEL) + len(WITHOUT_MODEL) == len(list(EXAMPLES.glob("*.py"))) >= 7
