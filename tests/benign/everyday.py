"""The programs of the benign corpus, what each must print and leave behind, and how to run one with and without a jail.

Run as `python everyday.py` it plays programs for another process: one JSON object per line in, one out.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox import Sandbox, open_sandbox

HERE = Path(__file__).parent
FILES = HERE / "files"
"""What lies in the folder that a program works in."""


@dataclass(frozen=True)
class Outcome:
    """What a program did."""

    prints: list[str]
    """Lines, without blanks at their ends."""
    leaves: list[str]
    """Files and folders created, modified and deleted."""
    complaint: str = ""
    """Whatever stands on stderr, and the status or exception when it did not run to its end."""


@dataclass(frozen=True)
class Program:
    """One everyday program. Its file ends in comments that say what it prints and what it leaves behind."""

    path: Path

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def expected(self) -> Outcome:
        return Outcome(self._block("Prints"), self._block("Leaves"))

    def _block(self, title: str) -> list[str]:
        found = re.search(rf"^# {title}:\n((?:#(?: .*)?\n)*?)(?=# Leaves:|\Z)", self.source, re.MULTILINE)
        return [line[2:] for line in found[1].splitlines()] if found else []

    @property
    def missing(self) -> list[str]:
        """The packages that it imports and that are not installed."""
        nodes = list(ast.walk(ast.parse(self.source)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"shapes", "tools"}
        return sorted(name for name in tops if importlib.util.find_spec(name) is None)


NO_CPUINFO = "Error in cpuinfo: failed to parse processor information from /proc/cpuinfo\n"
"""What torch says, and goes on: the jail's /proc shows processes and nothing of the machine."""
PROGRAMS = {path.stem: Program(path) for path in sorted((HERE / "programs").glob("*.py"))}


class Bench:
    """A jail of this user, over a folder of this user."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        top = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # not below /tmp, which the jail replaces
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="everyday-", dir=top)))
        shutil.copytree(FILES, self._folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        self._box: Sandbox = self._stack.enter_context(open_sandbox("jail", workspace=self._folder))

    def play(self, program: Program) -> Outcome:
        """Run the program in a fresh session, with the limits that a user has who sets none."""
        with self._box.open() as session:
            run = session.execute(program.source)
            changes = session.changes()
        problem = "" if run.ok else f"{run.status} {run.limit} {run.error and run.error.traceback}"
        skipped = "".join(f"{entry.path}: {entry.reason}\n" for entry in changes.skipped)
        leaves = sorted(f"{change.kind} {change.path}" for change in changes)
        return Outcome(_lines(run.stdout), leaves, run.stderr.replace(NO_CPUINFO, "") + problem + skipped)

    def ask(self, **request: str) -> dict[str, Any]:
        """The outcome of the program that is asked for; a failure is an answer, too."""
        try:
            return asdict(self.play(PROGRAMS[request["program"]]))
        except Exception:
            return {"error": traceback.format_exc(limit=-12)}

    def close(self) -> None:
        self._stack.close()


def play_outside(program: Program, folder: Path) -> Outcome:
    """Run the program as a plain process in a copy of the files."""
    shutil.copytree(FILES, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    (folder / "program.py").write_text(program.source, encoding="utf-8")
    before = _contents(folder)
    done = subprocess.run(
        [sys.executable, "-B", "program.py"],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    leaves = _differences(before, _contents(folder))
    return Outcome(
        _lines(done.stdout), leaves, done.stderr + (f"exit code {done.returncode}" if done.returncode else "")
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): b"" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


def _differences(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    kinds = {"created": after.keys() - before.keys(), "deleted": before.keys() - after.keys()}
    kinds["modified"] = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    return sorted(f"{kind} {path}" for kind, paths in kinds.items() for path in paths)


def main() -> None:
    replies = sys.stdout
    sys.stdout = sys.stderr
    bench = Bench()
    try:
        for line in sys.stdin:
            print(json.dumps(bench.ask(**json.loads(line))), file=replies, flush=True)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
