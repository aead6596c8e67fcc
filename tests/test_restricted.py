"""The restricted sandbox: what its programs may say and import, what they are told when they may not, what it shows."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from agent.cli.lines import weak_wall
from sandbox import (
    ConfigError,
    OwnCode,
    Policy,
    Sandbox,
    SandboxUnavailable,
    Session,
    open_sandbox,
    open_session,
    restricted,
)
from sandbox.restricted.inside.modules import TABLE

pytestmark = pytest.mark.jail

ROOT = Path(__file__).parents[1]
LATER = {"batched", "sumprod", "fma"}
"""Not in every Python that is supported."""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with open_sandbox("restricted", policy=Policy(wall_seconds=10, memory_bytes=512 << 20)) as sandbox:
        yield sandbox


@pytest.fixture
def session(box: Sandbox) -> Iterator[Session]:
    with box.open() as opened:
        yield opened


IDIOMS = {path.stem: path.read_text("utf-8") for path in sorted((Path(__file__).parent / "idioms").glob("*.py"))}


def in_plain_python(code: str) -> str:
    limit = sys.getrecursionlimit()
    shown = io.StringIO()
    with redirect_stdout(shown):
        exec(compile(code, "<plain>", "exec", dont_inherit=True), {"__name__": "__main__"})
    sys.setrecursionlimit(limit)  # a program may have raised it
    return shown.getvalue()


@pytest.mark.parametrize("name", IDIOMS)
def test_what_programs_say_all_the_time_does_the_same_as_in_plain_python(session: Session, name: str) -> None:
    run = session.execute(IDIOMS[name])
    assert run.error is None
    assert run.stdout == in_plain_python(IDIOMS[name])


REFUSED = {
    "async def f(): pass": "plain function",
    "eval('1 + 1')": "literal_eval",
    "from math import *": "name what you import",
    "x = 1\nx.__class__": "use type",
    "class A:\n    def __getattr__(self, name): pass": "`__getattr__`",
    "class A(metaclass=B): pass": "ABC",
    "try: pass\nexcept* ValueError: pass": "write `except`",
    "_x_ = 1": "leave out the underscore",
    "def f(a, _getattr_, /): pass": "leave out the underscore",
    "globals()['x'] = 1": "a dict of your own",
    "[].x = 1": "no attribute 'x'",
    "import math\nmath.pi = 3": "cannot be written to",
    "'a'._private": "private attribute",
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_refused_is_said_with_the_line_and_what_to_write(session: Session, code: str) -> None:
    run = session.execute(f"before = 1\n{code}")
    assert run.status == "error"
    assert run.error is not None
    assert REFUSED[code] in run.error.message
    assert run.error.line == (3 if code.startswith(("x =", "import", "class A:")) else 2)
    assert run.error.source
    assert not session.names(), "what is refused as a whole has not begun"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import numpy", "abc, array, ast, "),
        ("import requests as r", "collections.abc"),
        ("from os import system", "It has: getcwd"),
        ("import os\nos.system('ls')", "it has: getcwd"),
        ("from collections import OrderedDict, nothing", "'nothing'"),
        ("from json import decoder", "JSONDecoder"),
        ("import xml.etree.ElementTree as ET", "What can be imported"),
        ("from . import other", "relative imports"),
    ],
)
def test_an_import_that_is_not_possible_names_those_that_are(session: Session, code: str, told: str) -> None:
    run = session.execute(code)
    assert run.error is not None
    assert run.error.type in ("ImportError", "AttributeError")
    assert told in run.error.message


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("import os.path\nos.path.join('a', 'b')", "'a/b'"),
        ("import os.path as path\npath.basename('a/b')", "'b'"),
        ("import collections.abc as c\nisinstance([], c.Sequence)", "True"),
        ("from collections import abc\nabc.Sized.__name__", "'Sized'"),
        ("import math as m, cmath\nm.sqrt(cmath.pi) > 1", "True"),
        ("def f():\n    from math import pi as tau\n    return tau > 3\nf()", "True"),
        ("import urllib.parse\nurllib.parse.quote('a b')", "'a%20b'"),
        ("from __future__ import annotations\ndef f(x: Nothing): return 1\nf(1)", "1"),
        ("try:\n    import numpy\nexcept ImportError:\n    numpy = None\nnumpy is None", "True"),
        ("from datetime import datetime\ndatetime.strptime('2024', '%Y').year", "2024"),
    ],
)
def test_imports_behave_as_ever(session: Session, code: str, value: str) -> None:
    assert session.execute(code).value == value


def test_every_module_of_the_table_is_importable_and_none_is_a_module(session: Session) -> None:
    code = "\n".join(f"import {name}" for name in TABLE if "." not in name and "__" not in name)
    assert session.execute(code).ok
    asked = "import sys, types\nnames = vars(sys.modules['__main__'])\n"
    asked += "[n for n, v in names.items() if isinstance(v, types.ModuleType)]"
    assert session.execute(OwnCode(asked)).value == "[]"
    assert session.execute("print(math, [n for n in dir(sys) if n == 'modules'])").stdout == "<module 'math'> []\n"


@pytest.mark.parametrize("name", sorted(name for name, things in TABLE.items() if things != "*"))
def test_everything_that_the_table_names_is_there(session: Session, name: str) -> None:
    real = importlib.import_module(name)
    words = [word for word in TABLE[name].split() if word not in LATER or hasattr(real, word)]
    run = session.execute(f"from {name} import {', '.join(words)}")
    assert run.error is None


# -- files ---------------------------------------------------------------------------------------------------------


def test_files_of_the_folder_are_read_and_written_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.csv").write_text("a,b\n1,2\n")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    with open_session("restricted", workspace=folder) as session:
        code = "import csv\nwith open('data.csv', newline='') as f: rows = list(csv.DictReader(f))\nrows"
        assert session.execute(code).value == "[{'a': '1', 'b': '2'}]"
        assert session.execute("open('new.txt', 'w').write('one')").ok
        code = (
            "from pathlib import Path\nhere = Path('sub')\nhere.mkdir(parents=True, exist_ok=True)\n"
            "(here / 'x.json').write_text('[]')\n"
            "print(sorted(p.name for p in Path().glob('**/*.json')), here.exists(),"
            " (here / 'x.json').suffix, Path('new.txt').read_text(), sorted(p.name for p in Path('.').iterdir()))"
        )
        shown = "['x.json'] True .json one ['data.csv', 'link.txt', 'new.txt', 'sub']\n"
        assert session.execute(code).stdout == shown
        assert session.execute("import os\nos.remove('data.csv')\nsorted(os.listdir())").value is not None
        for path in ("/etc/hostname", "../outside.txt", "link.txt", "sub/../../outside.txt"):
            run = session.execute(f"open({path!r})")
            assert run.error is not None
            assert (run.error.type, "working folder" in run.error.message) == ("PermissionError", True)
        assert {(c.path, c.kind) for c in session.changes() if not c.is_dir} == {
            ("new.txt", "created"),
            ("sub/x.json", "created"),
            ("data.csv", "deleted"),
        }
        session.changes().apply()
    assert (folder / "new.txt").read_text() == "one"


# -- as in the jail ------------------------------------------------------------------------------------------------


def test_the_receipt_says_what_holds(session: Session) -> None:
    receipt = session.receipt
    assert receipt.kind == "restricted"
    assert receipt.layers[:2] == ("language-policy", "few-system-calls")
    assert session.execute("1").receipt == receipt


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("while True: pass", "timeout"),
        ("l = []\nwhile True: l.append(bytearray(1 << 20))", "memory"),
        ("while True: print('x' * 1000)", "output"),
        ("import sys\nsys.exit(3)", "error"),
        ("def f(): return f()\nf()", "error"),
        ("9 ** 9 ** 9", "timeout"),
    ],
)
def test_limits_hold(code: str, status: str) -> None:
    policy = Policy(wall_seconds=1.5, memory_bytes=256 << 20, output_bytes=100_000)
    with open_session("restricted", policy=policy) as session:
        assert session.execute(code).status == status
        assert session.execute("6 * 7").value == "42"


def test_states_go_back_and_forth_and_branch(tmp_path: Path) -> None:
    with open_session("restricted", workspace=tmp_path) as session:
        session.execute("x = [1]\nopen('a.txt', 'w').write('1')")
        mark = session.checkpoint()
        session.execute("x.append(2)\nopen('a.txt', 'w').write('2')")
        assert session.execute("x.append(3)\n1 / 0").status == "error"
        assert session.execute("x, open('a.txt').read()").value == "([1, 2], '2')"
        session.undo(2)
        assert session.execute("x, open('a.txt').read()").value == "([1], '1')"
        session.rollback(mark)
        one, two = session.branch(2)
        one.execute("x += ['one']")
        two.execute("x += ['two']")
        assert two.execute("x").value == "[1, 'two']"
        one.adopt()
        assert session.execute("x").value == "[1, 'one']"
        assert [name.name for name in session.names()] == ["x"]


def test_values_displays_and_tracebacks_are_as_in_the_jail(session: Session) -> None:
    assert session.execute("print('a')\n{'k': [1]}").value == "{'k': [1]}"
    assert session.execute("_").value == "{'k': [1]}"
    run = session.execute(
        "def outer(n):\n    d = {'total': n}\n    return inner(d)\ndef inner(d):\n    return d['totl']\nouter(3)"
    )
    assert run.error is not None
    assert (run.error.type, run.error.line, run.error.source) == ("KeyError", 5, "return d['totl']")
    assert run.error.traceback.count("File ") == 3
    assert "close keys: 'total'" in run.error.notes


def test_own_code_is_behind_the_same_wall_and_leaves_no_name(session: Session) -> None:
    session.execute("x = 3")
    assert session.execute(OwnCode("import os\ny = vars(__import__('__main__'))['x']\ny")).value == "3"
    assert [name.name for name in session.names()] == ["x"]
    assert session.execute("y").status == "error"
    assert session.execute("os").status == "error"


def test_what_programs_could_not_use_is_refused_at_once(tmp_path: Path) -> None:
    for policy in (Policy(allow_hosts=("example.com",)), Policy(preload=("json",))):
        with pytest.raises(ConfigError, match="can use no"):
            open_session("restricted", policy=policy)


def test_the_host_does_not_load_the_language() -> None:
    code = (
        "import sys\nfrom sandbox import open_session\n"
        "with open_session('restricted') as session: assert session.execute('6 * 7').value == '42'\n"
        "print([n for n in sys.modules if 'RestrictedPython' in n or n.endswith('inside')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


# -- where there is no wall ------------------------------------------------------------------------------------------


@pytest.fixture
def unwalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted, "_is_walled", lambda: False)


def test_without_a_wall_the_receipt_and_the_warning_say_so(unwalled: None) -> None:
    with open_session("restricted") as session:
        assert session.receipt.tier is None
        assert "no wall" in session.receipt.notes[0]
        assert "no wall" in weak_wall(session.receipt)
        assert session.execute("6 * 7").value == "42"
        assert [session.execute(code).status for code in ("import ctypes", "().__class__")] == ["error", "error"]
        with pytest.raises(ConfigError, match="without a wall"):
            session.execute(OwnCode("1"))
        with pytest.raises(ConfigError, match="no branches"):
            session.branch()
    with pytest.raises(SandboxUnavailable, match="no wall at all"):
        open_session("restricted", policy=Policy(minimum_tier="namespaces"))


def test_without_a_wall_the_folder_is_read_and_not_written(unwalled: None, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data.txt").write_text("one")
    (tmp_path / "outside.txt").write_text("two")
    code = "[open(name).read() for name in ('data.txt', 'outside.txt')]"
    options = {"workspace": tmp_path / "work", "inputs": [tmp_path / "outside.txt"]}
    with open_session("restricted", **options) as session:  # type: ignore[arg-type]
        assert session.execute(code).value == "['one', 'two']"
        for denied in ("open('data.txt', 'a')", "open('../outside.txt')", "import os\nos.remove('data.txt')"):
            run = session.execute(denied)
            assert run.error is not None
            assert run.error.type == "PermissionError"
        assert not session.changes()


@pytest.mark.parametrize(
    ("code", "status", "limit"),
    [
        ("while True: pass", "timeout", "wall"),
        ("while True: print('x' * 99)", "output", "output"),
        ("1 / 0", "error", None),
    ],
)
def test_without_a_wall_limits_hold_and_a_failure_leaves_the_names(
    unwalled: None, code: str, status: str, limit: str | None
) -> None:
    with open_session("restricted", policy=Policy(wall_seconds=1.5, output_bytes=10_000)) as session:
        session.execute("x = [1]")
        session.execute("x.append(2)")
        run = session.execute(f"x.append(3)\n{code}")
        assert (run.status, run.limit) == (status, limit)
        assert session.execute("print(x)\nx").value == "[1, 2]"
        session.undo(2)
        assert session.execute("x").value == "[1]"
        assert [name.name for name in session.names()] == ["x"]
