"""Which sandbox a program runs in: what can be asked for, and where the answer is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.agent import Agent
from agent.cli import main
from sandbox import KINDS, ConfigError, choose_kind, open_session

ROOT = Path(__file__).parents[1]


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    assert KINDS == ("jail", "restricted", "docker")
    for attempt in (lambda: open_session("vm"), lambda: choose_kind("vm"), lambda: Agent(sandbox="vm")):
        with pytest.raises(ConfigError) as error:
            attempt()
        assert error.value.hint == "the kinds are: jail, restricted, docker"


def test_the_jail_is_what_nobody_has_to_ask_for() -> None:
    assert choose_kind() == choose_kind(None) == "jail"


@pytest.mark.jail
def test_the_kind_is_in_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "program.py").write_text("6 * 7")
    main(["exec", str(tmp_path / "program.py"), "--folder", str(tmp_path), "--json", "--sandbox", "jail"])
    assert json.loads(capsys.readouterr().out)["receipt"]["kind"] == "jail"


@pytest.mark.parametrize("command", [["run"], ["exec"], ["repl"], ["script", "run"], ["save"]])
def test_every_command_that_runs_programs_takes_a_kind(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*command, "--help"])
    assert "--sandbox [restricted|jail|docker]" in capsys.readouterr().out


def test_off_linux_small_programs_run_and_are_told_that_there_is_no_wall(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import math\nmath.gcd(12, 18)")
    command = ["exec", str(tmp_path / "program.py"), "--folder", str(tmp_path), "--sandbox", "restricted"]
    code = (
        "import sys, os, ctypes, tempfile, subprocess, socket\n"
        "for name in 'fcntl grp pwd resource termios'.split(): sys.modules[name] = None\n"
        f"sys.platform = 'darwin'\nfrom agent.cli import main\nsys.exit(main({command!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
    assert "no wall: on this system only the language policy" in done.stderr
