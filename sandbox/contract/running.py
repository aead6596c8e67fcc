"""What an execution says: output, value, errors, exit codes, figures; and that nothing in it can hurt who reads it."""

from __future__ import annotations

import json
import unicodedata
from typing import get_args

from ..errors import ConfigError
from ..execution import Status
from .bench import Bench, NotHere, check, value

_ENDINGS: tuple[tuple[str, Status, int], ...] = (
    ("raise SystemExit", "ok", 0),
    ("import sys; sys.exit(0)", "ok", 0),
    ("import sys; sys.exit(3)", "error", 3),
    ("import sys; sys.exit('no')", "error", 1),
)
_ERRORS = (
    ("x = 1\ny = x / 0", "ZeroDivisionError", 2),
    ("def f(:\n  pass", "SyntaxError", 1),
    ("def f():\n    raise KeyError('k')\nf()", "KeyError", 2),
    ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError", 2),
    ("\n\nopen('absent.csv')", "FileNotFoundError", 3),
    ("raise BaseException('all')", "BaseException", 1),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
    ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E", 3),
)
_EVIDENCE = {
    "d = {'alpha': 1}\nd['alpa']": "'alpha'",
    "open('b.txt')": "a.txt",
    "import math\nmath.squrt(2)": "sqrt",
    "from math import squrt": "sqrt",
    "total = 1\nprint(totl)": "total",
    "def f(a, b): return a\nf(1)": "f(a, b)",
}
_HOSTILE_REPRS = {
    "raise SystemExit(9)": "unrepresentable",
    "raise RuntimeError": "unrepresentable",
    "return 7": "unrepresentable",
    "return 'x' * 10 ** 7": "xxx",
    "return '\\x1b[31m' + chr(0x202e)": "",
}
_SENTENCE = "x = '\\x1b]52;c;AAAA\\x07\\x1b[2J\\x9b31m' + chr(0x202e) + chr(0xd800) + '\\r\\x00 plain'\n"


def _harmless(text: str) -> bool:
    """Whether a terminal only shows it: no control characters, nothing that turns text around, no half characters."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t" for c in text)


@check()
def output_and_value(bench: Bench) -> None:
    """stdout, stderr and the text of the last expression come back, apart from one another."""
    with bench.session() as session:
        run = session.execute("import sys\nprint('out')\nprint('err', file=sys.stderr)\n[1, 2]")
    assert (run.status, run.stdout, run.stderr, run.value) == ("ok", "out\n", "err\n", "[1, 2]"), run
    assert run.ok and run.error is None and run.limit is None and run.signal is None and not run.truncated, run


@check()
def facts_are_measured(bench: Bench) -> None:
    """Seconds, CPU seconds and memory are those of the execution."""
    with bench.session() as session:
        run = session.execute("import time\nn = 0\nwhile time.process_time() < 0.2: n += 1\nx = 'x' * 50_000_000")
    assert 0.1 < run.seconds < 30 and 0.05 < run.cpu_seconds < 30 and run.peak_memory > 40 << 20, run


@check()
def no_value_for_statements_and_none(bench: Bench) -> None:
    """What is no expression, and None, has no value."""
    with bench.session() as session:
        assert [session.execute(code).value for code in ("x = 1", "None", "for n in 'ab': n", "")] == [None] * 4


@check()
def names_stay(bench: Bench) -> None:
    """What an execution has defined is there for the next: names, functions, imports."""
    with bench.session() as session:
        session.execute("import math\nx = 20\ndef double(n): return 2 * n")
        assert value(session, "double(x) + math.floor(2.5)") == "42"


@check()
def main_guard_runs(bench: Bench) -> None:
    """A program is `__main__`."""
    with bench.session() as session:
        assert session.execute("if __name__ == '__main__':\n    print('ran')").stdout == "ran\n"


@check()
def an_error_names_its_type_and_line(bench: Bench) -> None:
    """An uncaught exception is status `error`, with its type and the program's line, and nothing of our own code."""
    for code, kind, line in _ERRORS:
        with bench.session() as session:
            run = session.execute(code)
        assert run.status == "error" and run.limit is None and run.error, run
        assert (run.error.type, run.error.line) == (kind, line), run.error
        assert "worker" not in run.error.traceback and "sandbox" not in run.error.traceback, run.error


@check()
def an_error_comes_with_what_would_have_been_right(bench: Bench) -> None:
    """Close names, keys, files, members of modules and signatures are told with an exception."""
    with bench.session() as session:
        for code, evidence in _EVIDENCE.items():
            error = session.execute(code).error
            assert error and any(evidence in text for text in (error.message, *error.notes)), (code, error)


@check()
def exit_codes(bench: Bench) -> None:
    """A program that exits has its exit code, and failed when that is not 0."""
    with bench.session() as session:
        for code, status, number in _ENDINGS:
            run = session.execute(code)
            assert (run.status, run.exit_code) == (status, number), (code, run)


@check("system", "copies")
def exit_codes_of_a_process_that_is_gone(bench: Bench) -> None:
    """A process that ends itself has its exit code, too, and the session goes on."""
    with bench.session() as session:
        for number, status in ((0, "ok"), (7, "error")):
            run = session.execute(f"import os; os._exit({number})")
            assert (run.status, run.exit_code) == (status, number), run
        assert value(session, "6 * 7") == "42"


@check("threads")
def threads_are_waited_for(bench: Bench) -> None:
    """An execution ends as a script does: when its threads have."""
    with bench.session() as session:
        run = session.execute(
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()"
        )
    assert run.stdout == "late\n", run


@check("processes")
def processes_are_waited_for(bench: Bench) -> None:
    """An execution ends as a script does: executors finish, `multiprocessing` joins, `atexit` is called."""
    start = (
        "import atexit, time\nfrom concurrent.futures import ThreadPoolExecutor\nfrom multiprocessing import Process\n"
        "atexit.register(print, 'last')\nexecutor = ThreadPoolExecutor(1)\n"
        "for n in range(2): executor.submit(lambda n=n: (time.sleep(0.1), print(n)))\n"
        "Process(target=lambda: (time.sleep(0.4), print('process', flush=True))).start()"
    )
    with bench.session() as session:
        for code in (start, f"{start}\nraise SystemExit"):
            assert session.execute(code).stdout == "0\n1\nlast\nprocess\n"
        assert not session.execute("1 / 0").ok
        assert session.execute(start).stdout == "0\n1\nlast\nprocess\n"
        assert session.execute("atexit.unregister(atexit.register(print, 'never'))").stdout == ""


@check("processes")
def everyday_machinery_works(bench: Bench) -> None:
    """asyncio, pools, sqlite, subprocesses, temporary files and time zones work."""
    with bench.session() as session:
        run = session.execute(
            "import asyncio, multiprocessing, sqlite3, subprocess, sys, tempfile, zoneinfo, datetime\n"
            "print(asyncio.run(asyncio.sleep(0, 'async')))\n"
            "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
            "print(sqlite3.connect(':memory:').execute('select 1').fetchone())\n"
            "print(subprocess.run(['echo', 'shell'], capture_output=True, text=True).stdout, end='')\n"
            "print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True, text=True).stdout, end='')\n"
            "with tempfile.NamedTemporaryFile() as file: print(file.write(b'123'))\n"
            "print(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris')).utcoffset())"
        )
    assert run.stdout == "async\n[1, 2]\n(1,)\nshell\n1\n3\n1:00:00\n", run


@check()
def nobody_answers_input(bench: Bench) -> None:
    """A program that reads from stdin finds its end, or may not, and does not hang."""
    with bench.session() as session:
        run = session.execute("input()")
    assert run.status == "error" and run.error and run.error.type in ("EOFError", "NameError"), run


@check("packages")
def packages_can_be_imported(bench: Bench) -> None:
    """What is installed beside the sandbox can be used, without a word on stderr."""
    imports = "import numpy, pandas, scipy.stats, sklearn.linear_model, openpyxl\npandas.DataFrame({'a': [1]}).shape"
    with bench.session() as session:
        run = session.execute(imports)
    if run.error and run.error.type == "ModuleNotFoundError":
        raise NotHere(run.error.message)
    assert (run.status, run.value, run.stderr) == ("ok", "(1, 1)", ""), run


@check("packages")
def figures_come_back(bench: Bench) -> None:
    """What is drawn comes back as PNG, no more of it than the policy says, and the result says what was left out."""
    with bench.session(displays=2) as session:
        run = session.execute(
            "import matplotlib.pyplot as plt\nfor n in range(4): plt.figure(), plt.plot([1, n]), plt.show()"
        )
    if run.error and run.error.type == "ModuleNotFoundError":
        raise NotHere(run.error.message)
    assert run.ok and [d.mime for d in run.displays] == ["image/png"] * 2, run
    assert all(d.data.startswith(b"\x89PNG") for d in run.displays) and run.notes, run.notes


@check()
def the_receipt_is_in_every_result(bench: Bench) -> None:
    """Whatever the status, a result tells the kind of the sandbox, its tier and its layers; it is plain JSON, too."""
    with bench.session() as session:
        receipt = session.receipt
        runs = [session.execute(code, wall_seconds=0.5) for code in ("1", "1 / 0", "while True: pass")]
    assert [run.status for run in runs] == ["ok", "error", "timeout"], runs
    assert receipt.kind and receipt.layers, receipt
    for run in runs:
        told = run.receipt
        assert (told.kind, told.tier, told.layers) == (receipt.kind, receipt.tier, receipt.layers), run
        assert run.status in get_args(Status) and json.loads(json.dumps(run.to_json()))["receipt"]["kind"] == told.kind


# -- what does not want to be shown -----------------------------------------------------------------------------------


@check()
def a_hostile_repr_is_survived(bench: Bench) -> None:
    """A value whose `repr` raises, exits, lies or is huge is a value all the same, cut to the policy's length."""
    with bench.session(value_chars=1000) as session:
        for body, text in _HOSTILE_REPRS.items():
            run = session.execute(f"class A:\n    def __repr__(self): {body}\nA()")
            assert run.ok and run.value is not None and text in run.value, (body, run)
            assert len(run.value) <= 1100 and _harmless(run.value), (body, run)
        long = session.execute("raise ValueError('x' * 10 ** 6)").error
        assert long and len(long.message) <= 1100, long


@check()
def a_repr_that_never_ends_is_a_timeout(bench: Bench) -> None:
    """Showing a value is part of the execution, and of its time."""
    with bench.session() as session:
        run = session.execute("class A:\n    def __repr__(self):\n        while True: pass\nA()", wall_seconds=0.5)
    assert (run.status, run.limit) == ("timeout", "wall"), run


@check()
def control_characters_never_come_out(bench: Bench) -> None:
    """Nothing that a terminal would obey is in output, value, error or names."""
    with bench.session() as session:
        run = session.execute(_SENTENCE + "import sys\nprint(x)\nprint(x, file=sys.stderr)\nx")
        failed = session.execute(_SENTENCE + "raise ValueError(x)")
        shown = [name.preview for name in session.names()]
    assert run.ok and "plain" in run.stdout and "plain" in run.stderr and run.value, run
    assert failed.error and "plain" in failed.error.message, failed
    for text in (run.stdout, run.stderr, run.value, failed.error.message, failed.error.traceback, *shown):
        assert _harmless(text), ascii(text)


@check()
def unicode_comes_through(bench: Bench) -> None:
    """Text of any language, in output, values, errors, and names of files."""
    with bench.session() as session:
        run = session.execute("größe = 'ünï ☃ 日本 🎈'\nprint(größe)\ngröße")
        assert (run.stdout, run.value) == ("ünï ☃ 日本 🎈\n", "'ünï ☃ 日本 🎈'"), run
        assert value(session, "open('naïve ☃.txt').read()") == "'ünï\\n'"
        assert session.execute("open('日本 🎈.txt', 'w').write('ö')").ok
        assert [change.path for change in session.changes()] == ["日本 🎈.txt"]
        error = session.execute("raise ValueError('日本')").error
        assert error and error.message == "日本", error


@check()
def half_characters_are_survived(bench: Bench) -> None:
    """Lone surrogates, in the source and in what a program says, break nothing."""
    with bench.session() as session:
        run = session.execute("x = '\ud800'\nprint('before', x, 'after')")
        assert run.status in ("ok", "error") and _harmless(run.stdout), run
        run = session.execute("print('before', chr(0xdc80), 'after')\nchr(0xd800)")
        assert run.ok and "before" in run.stdout and run.value and _harmless(run.stdout + run.value), run
        assert value(session, "6 * 7") == "42"


@check()
def strange_programs_are_programs(bench: Bench) -> None:
    """Empty, blank, binary and very deep sources fail in the program, if at all, and the session goes on."""
    deep = "(" * 3000 + ")" * 3000
    with bench.session() as session:
        for code in ("", "\n\n", "# nothing", "'only a docstring'"):
            assert session.execute(code).ok, code
        for code in ("\0", "x = 1\0", "\x7fELF\x02\x01", "\ufeff\ufeffx", deep, "\tx\n  y", "if True:"):
            run = session.execute(code)
            assert run.status == "error" and run.error, (code[:20], run)
        assert value(session, "6 * 7") == "42"


@check()
def a_program_over_the_size_limit_is_refused(bench: Bench) -> None:
    """A program longer than `Policy.source_bytes` is the caller's fault, and does not run; one of that size does."""
    with bench.session(source_bytes=100_000) as session:
        assert session.execute("x = 1\n" + "#" * 90_000).ok
        try:
            session.execute("x = 2\n" + "#" * 100_000)
        except ConfigError as error:
            assert "100000" in str(error), error
        else:
            raise AssertionError("it was accepted")
        assert value(session, "x") == "1"
