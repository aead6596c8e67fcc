"""The sandbox contract on the jail: execution, value, displays, errors, limits, going back, effects, the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox import ApplyConflict, ConfigError, Policy, SandboxUnavailable, open_sandbox, open_session
from sandbox.jail import JailSession

pytestmark = pytest.mark.jail


@pytest.fixture(scope="module")
def jail():
    with open_sandbox("jail", policy=Policy(wall_seconds=10, memory_bytes=512 << 20)) as sandbox:
        yield sandbox


@pytest.fixture
def session(jail):
    with jail.open() as session:
        yield session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "private.txt").write_text("mine\n")
    (tmp_path / "private.txt").chmod(0o600)
    (tmp_path / "sub").mkdir(mode=0o700)
    (tmp_path / "sub" / "b.csv").write_text("x,y\n1,2\n")
    return tmp_path


# -- execution ----------------------------------------------------------------------------------------------------


def test_output_value_and_facts_of_an_execution(session):
    run = session.execute("import sys\nprint('out')\nprint('err', file=sys.stderr)\n[1, 2]")
    assert (run.status, run.stdout, run.stderr, run.value) == ("ok", "out\n", "err\n", "[1, 2]")
    assert run.ok and run.error is None and run.seconds > 0 and run.peak_memory > 1 << 20
    assert {"seccomp", "user-namespace", "pid-namespace", "net-namespace"} <= set(run.receipt.layers)


def test_no_value_for_statements_and_none(session):
    assert session.execute("x = 1").value is None
    assert session.execute("None").value is None


def test_names_stay_for_the_next_execution(session):
    session.execute("import math\nx = 20\ndef double(n): return 2 * n")
    assert session.execute("double(x) + math.floor(2.5)").value == "42"


def test_main_guard_runs_and_classes_pickle(session):
    run = session.execute(
        "import pickle\nclass A: pass\nif __name__ == '__main__':\n    print(type(pickle.loads(pickle.dumps(A()))))"
    )
    assert run.stdout == "<class '__main__.A'>\n"


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        ("x = 1\ny = x / 0", "ZeroDivisionError", 2),
        ("def f(:\n  pass", "SyntaxError", 1),
        ("def f():\n    raise KeyError('k')\nf()", "KeyError", 2),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E", 3),
        ("raise BaseException('all')", "BaseException", 1),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
    ],
)
def test_an_error_names_its_type_and_line(session, code, kind, line):
    run = session.execute(code)
    assert (run.status, run.error.type, run.error.line) == ("error", kind, line)
    assert "sandbox" not in run.error.traceback and "worker" not in run.error.traceback


@pytest.mark.parametrize(
    ("code", "evidence"),
    [
        ("d = {'alpha': 1}\nd['alpa']", "'alpha'"),
        ("open('sale.csv')", "sales.csv"),
        ("import math\nmath.squrt(2)", "sqrt"),
        ("total = 1\nprint(totl)", "total"),
        ("from math import squrt", "sqrt"),
        ("def f(a, b): return a\nf(1)", "f(a, b)"),
    ],
)
def test_an_error_comes_with_the_admissible_alternatives(tmp_path, code, evidence):
    (tmp_path / "sales.csv").write_text("x\n1\n")
    with open_session("jail", workspace=tmp_path) as session:
        run = session.execute(code)
    assert any(evidence in note for note in run.error.notes), run.error.notes


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("raise SystemExit", "ok", 0),
        ("import sys; sys.exit(3)", "error", 3),
        ("import sys; sys.exit('no')", "error", 1),
        ("import os; os._exit(0)", "ok", 0),
        ("import os; os._exit(7)", "error", 7),
    ],
)
def test_exit_codes(session, code, status, exit_code):
    run = session.execute(code)
    assert (run.status, run.exit_code) == (status, exit_code)


def test_threads_of_a_program_are_waited_for(session):
    run = session.execute(
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()"
    )
    assert run.stdout == "late\n"


def test_everyday_machinery_works(session):
    run = session.execute(
        "import asyncio, multiprocessing, sqlite3, subprocess, sys, tempfile, zoneinfo, datetime\n"
        "print(asyncio.run(asyncio.sleep(0, 'async')))\n"
        "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        "print(sqlite3.connect(':memory:').execute('select 1').fetchone())\n"
        "print(subprocess.run(['echo', 'shell'], capture_output=True, text=True).stdout, end='')\n"
        "print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True, text=True).stdout, end='')\n"
        "print(tempfile.NamedTemporaryFile().name.startswith('/tmp'))\n"
        "print(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris')).utcoffset())"
    )
    assert run.stdout == "async\n[1, 2]\n(1,)\nshell\n1\nTrue\n1:00:00\n", run


@pytest.mark.data
def test_the_packages_of_the_data_extra_and_figures(session):
    run = session.execute(
        "import numpy, pandas, scipy.stats, sklearn.linear_model, openpyxl\n"
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\npandas.DataFrame({'a': [1]}).shape"
    )
    assert (run.status, run.value, run.stderr) == ("ok", "(1, 1)", "")
    assert [d.mime for d in run.displays] == ["image/png"] and run.displays[0].data.startswith(b"\x89PNG")


def test_a_value_that_does_not_want_to_be_shown(session):
    run = session.execute("class A:\n    def __repr__(self): raise RuntimeError\nA()")
    assert run.ok and "unrepresentable" in run.value
    assert len(session.execute("'x' * 10**7").value) <= Policy().value_chars + 100


def test_control_characters_never_come_out(session):
    run = session.execute("print('\\x1b]52;c;AAAA\\x07\\x1b[31mred\\u202e\\ud800'); '\\x9b31m'")
    assert run.ok
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in run.stdout)


# -- limits, each enforced ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code", "status", "limit"),
    [
        (Policy(wall_seconds=0.5), "while True: pass", "timeout", "wall"),
        (Policy(wall_seconds=0.5), "import time; time.sleep(60)", "timeout", "wall"),
        (Policy(cpu_seconds=1, wall_seconds=20), "while True: pass", "timeout", "cpu"),
        (Policy(memory_bytes=128 << 20), "x = []\nwhile True: x.append(bytearray(1 << 20))", "memory", "memory"),
        (Policy(output_bytes=10_000), "while True: print('x' * 100)", "output", "output"),
        (Policy(disk_bytes=1 << 20), "open('f', 'wb').write(bytes(1 << 22))", "error", "disk"),
        (Policy(disk_bytes=1 << 20), "for i in range(9): open(f'{i}', 'wb').write(bytes(1 << 18))", "error", "disk"),
        (Policy(files=50), "for i in range(99): open(f'{i}', 'w').close()", "error", "files"),
    ],
    ids=["wall-spin", "wall-sleep", "cpu", "memory", "output", "one-file", "disk", "files"],
)
def test_each_limit_has_its_own_label(policy, code, status, limit):
    with open_session("jail", policy=policy) as session:
        run = session.execute(code)
        assert (run.status, run.limit) == (status, limit), run
        assert session.execute("'still here'").ok


def test_the_limit_on_processes():
    code = "import os, time\nfor _ in range(99):\n    if os.fork() == 0: time.sleep(9); os._exit(0)"
    with open_session("jail", policy=Policy(processes=20, wall_seconds=5)) as session:
        run = session.execute(code)
    assert (run.status, run.error.type) == ("error", "BlockingIOError")


def test_output_is_cut_at_the_budget_and_kept_till_there():
    with open_session("jail", policy=Policy(output_bytes=5000)) as session:
        run = session.execute("for i in range(10**6): print(i)")
    assert run.truncated and run.stdout.startswith("0\n1\n2\n") and len(run.stdout) <= 5000


def test_a_program_over_the_size_limit_is_refused():
    with open_session("jail", policy=Policy(source_bytes=100)) as session, pytest.raises(ConfigError, match="limit"):
        session.execute("#" * 200)


def test_environment_holds_only_what_is_granted(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-secret")
    with open_session("jail", policy=Policy(env={"LOG_LEVEL": "debug"})) as session:
        run = session.execute("import os; dict(os.environ)")
    assert "sk-secret" not in run.value and "'LOG_LEVEL': 'debug'" in run.value


def test_packages_can_be_withheld():
    with open_session("jail", policy=Policy(site_packages=False)) as session:
        assert session.execute("import pytest").error.type == "ModuleNotFoundError"


def test_a_read_only_folder_is_shown_and_not_writable(tmp_path):
    (tmp_path / "ref.txt").write_text("reference")
    tmp_path.chmod(0o755)
    probe = f"open({str(tmp_path / 'ref.txt')!r}).read()"
    with open_session("jail", policy=Policy(read_only=(tmp_path,))) as session:
        assert session.execute(probe).value == "'reference'"
        assert session.execute(f"open({str(tmp_path / 'new.txt')!r}, 'w')").status == "error"
    with open_session("jail") as session:
        assert session.execute(probe).error.type == "FileNotFoundError"


@pytest.mark.parametrize("values", [{"wall_seconds": 0}, {"memory_bytes": -1}, {"wall_seconds": float("nan")}])
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigError):
        Policy(**values)


# -- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        "1 / 0",
        "import os; os.kill(os.getpid(), 9)",
        "while True: pass",
        "import ctypes; ctypes.string_at(0)",
        "exit(2)",
    ],
)
def test_a_failed_execution_leaves_memory_and_files_as_they_were(folder, failure):
    spoil = "import os, shutil\nx = 'spoiled'\nos.remove('a.txt'); shutil.rmtree('sub'); open('c', 'w').write('c')\n"
    with open_session("jail", workspace=folder, policy=Policy(wall_seconds=1.5)) as session:
        assert session.execute("x = 'kept'\nopen('made.txt', 'w').write('made')").ok
        assert not session.execute(spoil + failure).ok
        look = (
            "import os; (x, open('a.txt').read(), sorted(os.listdir('.')), os.listdir('sub'), open('made.txt').read())"
        )
        found = ("kept", "hello\n", ["a.txt", "made.txt", "private.txt", "sub"], ["b.csv"], "made")
        assert session.execute(look).value == repr(found)
    assert (folder / "a.txt").exists() and not (folder / "made.txt").exists()


def test_going_back_many_times(session):
    session.execute("n = 0")
    for _ in range(15):
        assert session.execute("n += 1").ok
        assert not session.execute("n += 100; 1 / 0").ok
    assert session.execute("n").value == "15"


def test_keep_leaves_the_failure_in_place(session):
    session.execute("x = 1\n1 / 0", on_error="keep")
    assert session.execute("x").value == "1"


def test_a_killed_program_with_keep_loses_the_session_and_says_so(session):
    assert session.execute("import os; os.abort()", on_error="keep").signal == 6
    with pytest.raises(SandboxUnavailable, match="lost"):
        session.execute("1")


# -- effects --------------------------------------------------------------------------------------------------------


def test_the_folder_is_untouched_until_changes_are_applied(folder):
    with open_session("jail", workspace=folder) as session:
        run = session.execute(
            "open('a.txt', 'a').write('more\\n'); open('new.txt', 'w').write(open('private.txt').read())"
        )
        assert run.ok, run
        assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "private.txt", "sub"]
        changes = session.changes()
    assert {(c.path, c.kind) for c in changes} == {("a.txt", "modified"), ("new.txt", "created")}


def test_changes_apply_while_the_session_lives(folder):
    with open_session("jail", workspace=folder) as session:
        session.execute("import os; os.rename('sub', 'moved'); os.remove('a.txt'); os.mkdir('empty')")
        session.changes().apply()
    assert sorted(p.name for p in folder.iterdir()) == ["empty", "moved", "private.txt"]
    assert (folder / "moved" / "b.csv").read_text() == "x,y\n1,2\n"


def test_sessions_of_one_sandbox_see_nothing_of_each_other(folder):
    with open_sandbox("jail", workspace=folder) as sandbox:
        with sandbox.open() as one:
            one.execute("secret = 1; open('mark', 'w').close(); open('/tmp/mark', 'w').close()")
        with sandbox.open() as two:
            run = two.execute("import os; ('secret' in globals(), os.path.exists('mark'), os.path.exists('/tmp/mark'))")
    assert run.value == "(False, False, False)"


def test_input_files_from_elsewhere_are_shown_by_name(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "data.csv"
    other.write_text("a\n1\n")
    with open_session("jail", workspace=folder, inputs=[other]) as session:
        run = session.execute("open('data.csv').read(), open('a.txt').read()")
        assert run.value == repr(("a\n1\n", "hello\n"))
        assert len(session.changes()) == 0


@pytest.mark.root
def test_what_root_may_write_the_program_may_change_in_its_view(folder):
    (folder / "a.txt").chmod(0o444)
    (folder / "sub" / "b.csv").chmod(0o400)
    (folder / "sub").chmod(0o555)
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "objects" / "ab").write_text("x")
    (folder / ".git" / "objects" / "ab").chmod(0o444)
    with open_session("jail", workspace=folder) as session:
        assert (first := session.changes()).items == () and first.skipped == ()
        run = session.execute(
            "open('a.txt', 'a').write('more'); open('sub/b.csv', 'w').write(''); open('sub/c', 'w').close()"
        )
        assert run.ok, run
        changes = session.changes()
        changes.apply()
    assert {c.path for c in changes} == {"a.txt", "sub/b.csv", "sub/c"}
    assert (folder / "a.txt").stat().st_mode & 0o777 == 0o444
    assert (folder / "sub").stat().st_mode & 0o777 == 0o555


@pytest.mark.root
def test_a_file_system_without_id_mapped_mounts_is_copied(folder, tmp_path_factory):
    layers = tmp_path_factory.mktemp("layers")
    mounted = layers / "mounted"
    for name in ("upper", "work", "mounted"):
        (layers / name).mkdir()
    (folder / "link").symlink_to("sub")
    options = f"lowerdir={folder},upperdir={layers}/upper,workdir={layers}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(mounted)], check=True)
    try:
        with open_session("jail", workspace=mounted) as session:
            run = session.execute(
                "open('a.txt', 'a').write('more\\n'); open('private.txt').read(), open('link/b.csv').read()"
            )
            assert run.value == repr(("mine\n", "x,y\n1,2\n")), run
            assert "copy" in session.receipt.notes[0]
            session.changes().apply()
        assert (mounted / "a.txt").read_text() == "hello\nmore\n"
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.parametrize("workspace", ["/nonexistent/folder", "/etc/passwd"])
def test_a_workspace_that_is_no_folder_is_refused(workspace):
    with pytest.raises(ConfigError):
        open_session("jail", workspace=workspace)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="cellar") as caught:
        open_session("cellar")
    assert "jail" in caught.value.hint


def test_awkward_folder_names(tmp_path):
    folder = tmp_path / "a,b:c \\ 'é\n"
    folder.mkdir()
    (folder / "f").write_text("1")
    with open_session("jail", workspace=folder) as session:
        assert session.execute("open('f').read()").value == "'1'"


# -- the end --------------------------------------------------------------------------------------------------------


def test_cancel_from_another_thread(session: JailSession):
    threading.Timer(0.3, session.cancel).start()
    began = time.monotonic()
    run = session.execute("while True: pass")
    assert run.status == "killed" and time.monotonic() - began < 2
    assert session.execute("1 + 1").value == "2"


def test_concurrent_sessions(jail):
    results: list[str | None] = []

    def work(n: int) -> None:
        with jail.open() as session:
            results.append(session.execute(f"sum(range({n}))").value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, filter(None, results))) == sorted(sum(range(n)) for n in range(8))


def test_closing_leaves_no_process_no_descriptor_no_group():
    before = set(os.listdir("/proc/self/fd"))
    with open_session("jail") as session:
        session.execute("import subprocess; subprocess.Popen(['sleep', '4242'], start_new_session=True)")
    assert set(os.listdir("/proc/self/fd")) == before
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(b"4242" in c for c in commands)


def test_a_closed_session_says_so(jail):
    session = jail.open()
    session.close()
    session.close()
    with pytest.raises(ConfigError, match="closed"):
        session.execute("1")


def test_a_broken_jail_is_unavailable_not_a_failure(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match="Linux"):
        open_session("jail")


def test_no_landlock_is_refused_and_named(monkeypatch):
    monkeypatch.setattr("sandbox.worker.landlock.abi", lambda: 0)
    with pytest.raises(SandboxUnavailable, match="Landlock"):
        open_session("jail")


def test_doctor_attacks_a_real_jail():
    from sandbox.jail import doctor

    probes = {p.name: p for p in doctor()}
    assert all(p.ok for p in probes.values() if p.needed), [p for p in probes.values() if not p.ok]
    assert {"Landlock", "seccomp", "jail", "connecting to this host", "limit on memory"} <= set(probes)


def test_what_the_user_edits_while_the_program_runs_is_a_conflict(folder):
    with open_session("jail", workspace=folder) as session:
        session.execute("text = open('a.txt').read()")
        time.sleep(0.05)
        (folder / "a.txt").write_text("the user's own edit\n")
        session.execute("open('a.txt', 'w').write(text + 'more\\n')")
        changes = session.changes()
        with pytest.raises(ApplyConflict):
            changes.apply()
    assert (folder / "a.txt").read_text() == "the user's own edit\n"


def test_a_session_can_apply_more_than_once(folder):
    with open_session("jail", workspace=folder) as session:
        for text in ("one", "two"):
            session.execute(f"open('a.txt', 'w').write({text!r})")
            session.changes().apply()
            assert (folder / "a.txt").read_text() == text


def test_what_a_killed_jail_left_is_swept_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "sandsmith-jail-4194399-dead").mkdir()
    (tmp_path / f"sandsmith-jail-{os.getpid()}-alive").mkdir()
    with open_session("jail"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [f"sandsmith-jail-{os.getpid()}-alive"]
