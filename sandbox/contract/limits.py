"""Limits: each has a label of its own, and leaves the session usable."""

from __future__ import annotations

from typing import Any

from ..execution import Limit, Status
from .bench import Bench, check, value

_SPIN = "while True: pass"
_MIB = 1 << 20


def _hits(bench: Bench, code: str, status: Status, limit: Limit | None, **limits: Any) -> None:
    """Let `code` hit a limit; afterwards the session goes on from where it was."""
    with bench.session(**limits) as session:
        assert session.execute("before = 'here'").ok
        run = session.execute(f"before = 'spoiled'\n{code}")
        assert (run.status, run.limit) == (status, limit), run
        assert not run.ok and run.receipt.kind, run
        assert value(session, "before") == "'here'"


@check()
def wall_time(bench: Bench) -> None:
    """Beyond `Policy.wall_seconds` a program is killed: `timeout`, whether it computes or sleeps."""
    for code in (_SPIN, "import time; time.sleep(60)"):
        _hits(bench, code, "timeout", "wall", wall_seconds=0.5)


@check()
def wall_time_of_one_execution(bench: Bench) -> None:
    """`execute(wall_seconds=...)` goes before the policy, for this execution."""
    with bench.session() as session:
        run = session.execute(_SPIN, wall_seconds=0.4)
        assert (run.status, run.limit) == ("timeout", "wall") and 0.3 < run.seconds < 20, run
        assert value(session, "import time; time.sleep(0.6); 'there is time again'")


@check()
def a_program_cannot_refuse_to_end(bench: Bench) -> None:
    """A timeout is no exception that a program could catch."""
    _hits(
        bench,
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "timeout",
        "wall",
        wall_seconds=0.5,
    )


@check()
def cpu_time(bench: Bench) -> None:
    """Beyond `Policy.cpu_seconds` it is a `timeout`, too."""
    _hits(bench, _SPIN, "timeout", "cpu", cpu_seconds=1)


@check()
def memory(bench: Bench) -> None:
    """Beyond `Policy.memory_bytes` a program is ended: `memory`."""
    code = "import time\nx = []\nfor n in range(400): x.append(b'x' * (1 << 20))\ntime.sleep(1)"
    _hits(bench, code, "memory", "memory", memory_bytes=128 * _MIB)


@check()
def output(bench: Bench) -> None:
    """Beyond `Policy.output_bytes` a program is ended: `output`. What it had said till there is kept."""
    with bench.session(output_bytes=5000) as session:
        assert session.execute("x = 1; print('y' * 4000)").ok
        run = session.execute("for i in range(10 ** 6): print(i)")
        assert (run.status, run.limit, run.truncated) == ("output", "output", True), run
        assert run.stdout.startswith("0\n1\n2\n") and len(run.stdout) <= 5000, run
        assert value(session, "x") == "1"


@check()
def disk(bench: Bench) -> None:
    """Beyond `Policy.disk_bytes` nothing can be written, to one file or to many."""
    for code in (
        "open('f', 'wb').write(bytes(1 << 22))",
        "for i in range(9):\n    with open(f'{i}', 'wb') as f: f.write(bytes(1 << 18))",
    ):
        _hits(bench, code, "error", "disk", disk_bytes=_MIB)


@check()
def files(bench: Bench) -> None:
    """Beyond `Policy.files` no further file can be made."""
    _hits(bench, "for i in range(99): open(f'{i}', 'w').close()", "error", "files", files=50)


@check("processes")
def processes(bench: Bench) -> None:
    """Beyond `Policy.processes` a program cannot fork."""
    code = "import os, time\nfor _ in range(99):\n    if os.fork() == 0: time.sleep(9); os._exit(0)"
    with bench.session(processes=20) as session:
        run = session.execute(code)
        assert run.status == "error" and run.error and run.error.type == "BlockingIOError", run
        assert value(session, "6 * 7") == "42"


@check("system")
def killed(bench: Bench) -> None:
    """A process that dies of a signal is `killed`, by which signal is told, and the session goes on."""
    with bench.session() as session:
        session.execute("x = 'here'")
        for code, number in (("import os; os.kill(os.getpid(), 9)", 9), ("import ctypes; ctypes.string_at(0)", 11)):
            run = session.execute(f"x = 'spoiled'\n{code}")
            assert (run.status, run.signal, run.limit) == ("killed", number, None), run
        assert value(session, "x") == "'here'"


@check("system")
def a_claimed_end_is_not_believed(bench: Bench) -> None:
    """A status comes from what was seen from outside: `os._exit` in a handler is no success."""
    with bench.session() as session:
        run = session.execute("import atexit, os\natexit.register(os._exit, 5)\n'all is well'")
    assert (run.status, run.exit_code) == ("error", 5), run
