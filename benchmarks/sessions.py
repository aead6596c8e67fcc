"""What it costs that a session can go back: checkpoints, rollback, undo, branches, beside a Jupyter kernel.

    python benchmarks/sessions.py [--runs 200] [--json FILE]

Measures take turns, so that a busy moment of the machine hits all of them alike; compare medians and ratios. Between
two of them is a pause of 20 ms, in which a session in use makes its next checkpoint; what one takes that is waited for
is told as well. A rollback is what a failed execution takes longer than one that succeeds, in a session that goes back,
beside one that does not. A Jupyter kernel (jupyter_client, ipykernel) keeps no state that it could go back to: what it
can do is to restart, and to run again what was run before. It is left out, and the reason printed, where it is not
installed, and so are containers where there is no Docker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

# A script's own folder comes first, and `sandbox.py` in it hides the package of its name.
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]

from sandbox import Policy, SandboxUnavailable, Session, open_session  # noqa: E402

CODE = "print(6 * 7)"
FAILURE = "open('f', 'w').write('x'); total = 0; raise ValueError"
STEPS = ["import csv, json", "rows = [{'n': n} for n in range(1000)]", "total = sum(row['n'] for row in rows)"]
FRAME = "import numpy, pandas; df = pandas.DataFrame(numpy.ones((1_310_720, 10)))"  # 100 MB
PAUSE = 0.02
"""Seconds between two measures: a caller looks at a result before the next request."""
LIMITS = {
    "checkpoint (over an execution without)": 2.0,
    "rollback of memory and files": 5.0,
    "four branches of a session with 100 MB": 60.0,
}
"""Milliseconds."""
_MEASURES = (
    "execution, no checkpoint",
    "execution with a checkpoint",
    "the next one, at once",
    "failure, nothing taken back",
    "failure, taken back",
)
_Times = dict[str, list[float]]


def measure(runs: int) -> _Times:
    """Milliseconds of each measure, `runs` times or a tenth as often for the slow ones."""
    times: _Times = {}
    with contextlib.ExitStack() as stack:
        small = stack.enter_context(open_session(policy=Policy(history=0)))
        kept = stack.enter_context(open_session(policy=Policy()))
        large = stack.enter_context(open_session(policy=Policy(wall_seconds=60, memory_bytes=4 << 30)))
        for session in (small, kept):
            for step in STEPS:
                assert session.execute(step).ok
        assert large.execute(FRAME).ok
        jupyter, boxed = stack.enter_context(_jupyter()), _container(stack)
        for number in track(range(runs), console=Console(stderr=True)):
            _note(times, _MEASURES[0], lambda: small.execute(CODE, on_error="keep"))
            _note(times, _MEASURES[1], lambda: kept.execute(CODE))
            _note(times, _MEASURES[2], lambda: kept.execute(CODE), pause=0)
            _note(times, _MEASURES[3], lambda: small.execute(FAILURE, on_error="keep"))
            _note(times, _MEASURES[4], lambda: kept.execute(FAILURE))
            _note(times, "undo", kept.undo)
            if boxed is not None:
                _note(times, "in a container: execution with a checkpoint", lambda: boxed.execute(CODE))
                _note(times, "in a container: failure, taken back", lambda: boxed.execute(FAILURE))
                _note(times, "in a container: undo", boxed.undo)
            if number % 10 == 0:
                _branch(times, large)
                if jupyter is not None:
                    _note(times, "Jupyter: restart and run three steps again", jupyter)
    plain, kept_one, at_once, failed, undone = (times[name] for name in _MEASURES)
    times["checkpoint (over an execution without)"] = _over(plain, kept_one)
    times["checkpoint, at once (over an execution without)"] = _over(plain, at_once)
    times["rollback of memory and files"] = _over(_over(plain, failed), _over(kept_one, undone))
    return times


def _note(times: _Times, name: str, act: Callable[[], object], pause: float = PAUSE) -> None:
    time.sleep(pause)
    began = time.perf_counter()
    act()
    times.setdefault(name, []).append((time.perf_counter() - began) * 1000)


def _over(before: list[float], after: list[float]) -> list[float]:
    return [second - first for first, second in zip(before, after, strict=True)]


def _branch(times: _Times, session: Session) -> None:
    time.sleep(PAUSE)
    began = time.perf_counter()
    branches = session.branch(4)
    times.setdefault("four branches of a session with 100 MB", []).append((time.perf_counter() - began) * 1000)
    for branch in branches:
        branch.close()


def _container(stack: contextlib.ExitStack) -> Session | None:
    """A session in a container, where there is Docker and an image."""
    try:
        session = stack.enter_context(open_session("docker"))
    except SandboxUnavailable as error:
        print(f"left out: containers ({error})", file=sys.stderr)
        return None
    for step in STEPS:
        assert session.execute(step).ok
    return session


@contextlib.contextmanager
def _jupyter() -> Iterator[Callable[[], None] | None]:
    try:
        from jupyter_client.manager import KernelManager
    except ImportError:
        print("left out: Jupyter (pip install jupyter_client ipykernel)", file=sys.stderr)
        yield None
        return
    manager = KernelManager()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()

    def again() -> None:
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        for step in STEPS:
            client.execute_interactive(step, output_hook=lambda _message: None, timeout=60)

    try:
        yield again
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def show(times: _Times) -> None:
    """The table, and what it is held against."""
    table = Table(title="what going back costs")
    for heading in ("measure", "p50 ms", "p99 ms", "limit ms", "times the limit"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, values in times.items():
        middle, limit = statistics.median(values), LIMITS.get(name)
        worst = sorted(values)[min(len(values) - 1, round(len(values) * 0.99))]
        held = (f"{limit:g}", f"{middle / limit:.2f}") if limit else ("", "")
        table.add_row(name, f"{middle:.2f}", f"{worst:.2f}", *held)
    Console().print(table)
    if slow := times.get("Jupyter: restart and run three steps again"):
        ratio = statistics.median(slow) / statistics.median(times["undo"])
        Console().print(f"Jupyter's way back takes {ratio:.0f} times as long as undo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="how often (default 200)")
    parser.add_argument("--json", type=Path, help="write the times (milliseconds) into this file")
    options = parser.parse_args()
    times = measure(options.runs)
    show(times)
    if options.json:
        options.json.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
