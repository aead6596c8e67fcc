"""How many of the programs that run in the jail run in the restricted sandbox as well, and why the others do not.

    python benchmarks/restricted.py PROBLEMS.jsonl... [--json]

PROBLEMS are lines of MBPP (`code`, `test_imports`, `test_list`), of HumanEval (`prompt`, `canonical_solution`, `test`,
`entry_point`), or of drafts that a model wrote for them (`program`, the whole text). Each program is run with its
asserts, in a fresh session of both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]  # its `sandbox.py` hides the package
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from sandbox import Execution, Policy, open_sandbox  # noqa: E402


def program_of(problem: dict[str, Any]) -> str:
    """A solution with its asserts."""
    if "program" in problem:
        return problem["program"]
    if "canonical_solution" in problem:
        call = f"check({problem['entry_point']})"
        return "\n".join([problem["prompt"] + problem["canonical_solution"], problem["test"], call])
    return "\n".join([*problem["test_imports"], problem["code"], *problem["test_list"]])


def why(run: Execution) -> str:
    """The reason in a line."""
    return f"line {run.error.line}: {run.error.type}: {run.error.message[:120]}" if run.error else run.status


def measure(path: Path) -> dict[str, Any]:
    """Run every program of a file in both."""
    programs = [program_of(json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.strip()]
    policy = Policy(wall_seconds=20, history=0)
    passed: Counter[str] = Counter()
    others: dict[int, str] = {}
    with open_sandbox("jail", policy=policy) as jail, open_sandbox("restricted", policy=policy) as restricted:
        for number, program in enumerate(programs, 1):
            with jail.open() as session:
                if not session.execute(program).ok:
                    continue
            passed["jail"] += 1
            with restricted.open() as session:
                run = session.execute(program)
            passed["restricted"] += run.ok
            if not run.ok:
                others[number] = why(run)
    return {"file": path.name, "programs": len(programs), **passed, "others": others}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for path in options.files:
        found = measure(path)
        if options.json:
            print(json.dumps(found))
            continue
        share = found["restricted"] / max(1, found["jail"])
        print(
            f"{found['file']}: {found['jail']} of {found['programs']} pass in the jail, {found['restricted']} of these"
        )
        print(f"in the restricted sandbox as well: {share:.1%}")
        for number, reason in found["others"].items():
            print(f"  {number}: {reason}")


if __name__ == "__main__":
    main()
