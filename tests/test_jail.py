"""The jail beyond the contract (`test_contract.py` has that): permissions, places, folders of every kind, the end."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sandbox import Changes, ConfigError, Policy, SandboxUnavailable, open_sandbox, open_session
from sandbox.jail import cgroups

pytestmark = pytest.mark.jail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "private.txt").write_text("mine\n")
    (tmp_path / "private.txt").chmod(0o600)
    (tmp_path / "sub").mkdir(mode=0o700)
    (tmp_path / "sub" / "b.csv").write_text("x,y\n1,2\n")
    return tmp_path


def test_the_receipt_names_the_layers():
    with open_session("jail") as session:
        assert {"seccomp", "user-namespace", "pid-namespace", "net-namespace"} <= set(session.receipt.layers)
        pickled = "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))"
        assert session.execute(pickled).stdout == "<class '__main__.A'>\n", "its program is `__main__` for modules, too"


# -- limits and permissions -----------------------------------------------------------------------------------------


def test_a_program_sees_as_many_processors_as_its_limit_on_processes_bears():
    code = "import os; (os.cpu_count(), len(os.sched_getaffinity(0)))"
    for processes, most in ((7, 1), (256, 64)):
        with open_session("jail", policy=Policy(processes=processes)) as session:
            seen = min(most, len(os.sched_getaffinity(0)))
            assert session.execute(code).value == repr((seen, seen))


def test_environment_holds_only_what_is_granted(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-secret")
    with open_session("jail", policy=Policy(env={"LOG_LEVEL": "debug"})) as session:
        run = session.execute("import os; dict(os.environ)")
    assert "sk-secret" not in run.value and "'LOG_LEVEL': 'debug'" in run.value


def test_packages_can_be_withheld():
    with open_session("jail", policy=Policy(site_packages=False)) as session:
        assert session.execute("import pytest").error.type == "ModuleNotFoundError"
        child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import pytest']).returncode"
        assert session.execute(child).value == "1"
    with open_session("jail") as session:
        assert session.execute(child).value == "0"


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


# -- effects --------------------------------------------------------------------------------------------------------


LEFT_BEHIND = {
    "daemons": "import subprocess\nfor _ in range(20): subprocess.Popen(['sleep', '60'], start_new_session=True)",
    "stopped": "import os, signal, subprocess\nos.kill(subprocess.Popen(['sleep', '60']).pid, signal.SIGSTOP)",
    "deaf": """
        import os, signal, time
        if os.fork() == 0:
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            while True:
                pass
    """,
    "forking": """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                while True:
                    try:
                        os.fork()
                    except OSError:
                        pass
        time.sleep(0.2)
    """,
    "files": "open('mark', 'w').close(); open('/tmp/mark', 'w').close(); open('/dev/shm/mark', 'w').close()",
    "deep": """
        import os
        for _ in range(500):
            os.mkdir("d"); os.chdir("d")
    """,
}


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_nothing_of_a_session_is_left_for_the_one_that_takes_its_place(folder, left):
    seen = """
        import glob, os
        print(sorted(p for p in os.listdir("/proc") if p.isdigit() and p not in ("1", str(os.getpid()))))
        print(os.getcwd(), sorted(os.listdir()), os.listdir("/tmp"), os.listdir("/dev/shm"))
        print(sorted(os.listdir("/proc/self/fd")), len(open("/proc/self/mountinfo").readlines()))
        print(os.getpriority(os.PRIO_PROCESS, 0), os.umask(0o22), "marker" in globals())
    """
    with open_sandbox("jail", workspace=folder, policy=Policy(processes=40)) as sandbox:
        with sandbox.open() as first:
            fresh = first.execute(textwrap.dedent(seen), on_error="keep").stdout
        for _ in range(2):  # the next one was made in advance, in a place of its own
            with sandbox.open() as session:
                place = session._slot
                session.execute("marker = 1\n" + textwrap.dedent(LEFT_BEHIND[left]), on_error="keep")
        after = []
        for _ in range(3):
            session = sandbox.open()
            after.append((session._slot, session.execute(textwrap.dedent(seen), on_error="keep").stdout))
        assert place in [slot for slot, _ in after], "the place was not used again, so this shows nothing"
        assert {printed for _, printed in after} == {fresh}


def test_limits_count_anew_for_each_session_in_a_place():
    with open_sandbox("jail", policy=Policy(memory_bytes=200 << 20, processes=20)) as sandbox:
        for _ in range(4):
            with sandbox.open() as session:
                assert session.execute("len(bytearray(120 << 20))").value == str(120 << 20)
                forks = session.execute("import os\nwhile True: os.fork() or os.read(os.pipe()[0], 1)", on_error="keep")
                assert (forks.status, forks.limit) == ("error", "processes")
            with sandbox.open() as session:
                assert session.execute("x = []\nwhile True: x.append(bytearray(1 << 20))").status == "memory"


def test_many_sessions_in_the_same_places_leave_their_mounts_and_groups_as_they_were():
    def counts(session):
        code = "len(open('/proc/self/mountinfo').readlines()), len(os.listdir('/proc/self/fd'))"
        return session.execute(f"import os\n{code}").value

    with open_sandbox("jail") as sandbox:
        seen = set()
        for _ in range(60):
            with sandbox.open() as session:
                seen.add(counts(session))
        assert len(seen) == 1


class TestCpus:
    SPIN = "import os, time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"

    def test_half_a_cpu_is_half_a_second_in_a_second(self):
        used = {}
        for cpus in (0.3, None):
            with open_session("jail", policy=Policy(cpus=cpus)) as session:
                try:
                    session.execute("1")
                except SandboxUnavailable as error:
                    pytest.skip(str(error))
                used[cpus] = session.execute(self.SPIN, on_error="keep").cpu_seconds
        assert 0.1 < used[0.3] < 0.5
        assert used[None] > used[0.3]

    def test_where_it_cannot_be_enforced_the_jail_refuses(self, monkeypatch):
        monkeypatch.setattr(cgroups, "_parents", lambda: None)
        with pytest.raises(SandboxUnavailable, match=r"Policy.cpus cannot be enforced here"):
            open_session("jail", policy=Policy(cpus=1))


class TestPreload:
    def test_what_is_preloaded_is_there_at_once(self):
        loaded = "import sys; ('numpy' in sys.modules, 'colorsys' in sys.modules)"
        with open_session("jail") as session:
            assert session.execute(loaded).value == "(False, False)"
        with open_session("jail", policy=Policy(preload=("numpy", "colorsys"))) as session:
            assert session.execute(loaded).value == "(True, True)"
            assert session.execute("import numpy; int(numpy.dot(*numpy.ones((2, 200, 200))).sum())").value == "8000000"

    def test_a_module_that_is_not_there_is_named(self):
        with pytest.raises(SandboxUnavailable, match="No module named 'nowhere'"):
            open_session("jail", policy=Policy(preload=("nowhere",)))

    def test_a_module_that_starts_a_thread_is_refused(self, tmp_path):
        (tmp_path / "site-packages").mkdir()
        (tmp_path / "site-packages" / "threaded.py").write_text(
            "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
        )
        script = """
            import sys
            sys.path.append(sys.argv[1])
            from sandbox import Policy, open_session
            open_session("jail", policy=Policy(preload=("threaded",)))
        """
        command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "site-packages")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "threaded: a module started a thread" in done.stderr

    @pytest.mark.parametrize("name", ["", "os; import sys", "a..b", "../x"])
    def test_only_names_of_modules(self, name):
        with pytest.raises(ConfigError, match="not the name of a module"):
            Policy(preload=(name,))


def test_forks_of_a_program_run_the_hooks_that_modules_registered():
    code = """
        import logging, os, random, threading
        r, w = os.pipe()
        mine = random.random()
        logging._lock.acquire()
        if os.fork() == 0:
            ok = random.random() != mine and threading.main_thread() is threading.current_thread()
            logging.getLogger("new")
            os.write(w, b"%d" % ok)
            os._exit(0)
        os.read(r, 1)
    """
    with open_session("jail") as session:
        assert session.execute(textwrap.dedent(code).rstrip()).value == "b'1'"


def test_a_session_made_in_advance_sees_the_folder_as_it_is_when_it_is_opened(folder):
    with open_sandbox("jail", workspace=folder) as sandbox:
        sandbox.open().close()
        time.sleep(0.3)  # by now the next one waits
        (folder / "a.txt").write_text("changed by the user\n")
        (folder / "new.txt").write_text("new\n")
        (folder / "sub" / "b.csv").unlink()
        with sandbox.open() as session:
            run = session.execute("import os\nprint(open('a.txt').read(), os.listdir('sub'))")
            assert run.stdout == "changed by the user\n []\n"
            session.execute("open('a.txt', 'a').write(open('new.txt').read())")
            session.changes().apply()  # what the user did before is no conflict
    assert (folder / "a.txt").read_text() == "changed by the user\nnew\n"


_TOUCHES = (
    "open('{0}/x', 'w').close(); os.remove('{0}/x')",
    "os.mkdir('{0}/x'); os.rmdir('{0}/x')",
    "os.symlink('a', '{0}/x'); os.unlink('{0}/x')",
    "os.mkfifo('{0}/x'); os.rename('{0}/x', '{0}/y'); os.unlink('{0}/y')",
    "os.chmod('{0}', 0o700)",
    "os.utime('{0}', (1, 1))",
    "os.setxattr('{0}', 'user.note', b'1'); os.removexattr('{0}', 'user.note')",
    "os.pwrite(os.open('{0}', os.O_TMPFILE | os.O_RDWR), b'1', 0)",
)
_TELLS = "import os\n[(i.st_ctime_ns, i.st_atime_ns) for i in map(os.stat, ('/tmp', '/dev/shm', '.'))]"


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm", "/ws/work"])
def test_a_place_that_a_session_has_changed_is_mounted_anew_for_the_next(place):
    """A mount as old as that of the session before is one that nothing was done in."""
    with open_sandbox("jail", ahead=False) as sandbox:
        for touch in _TOUCHES:
            with sandbox.open() as session:
                before = session.execute(_TELLS).value
                assert session.execute(touch.format(place)).ok
            with sandbox.open() as session:
                after = ast.literal_eval(session.execute(_TELLS).value)
                session.execute(f"os.listdir({place!r}); os.stat({place!r})")
            assert all(new > old for new, old in zip(after, ast.literal_eval(before), strict=True)), touch
            with sandbox.open() as session:
                assert ast.literal_eval(session.execute(_TELLS).value) == after, "it was only read"


def test_a_folder_is_shown_anew_to_each_session(folder):
    with open_sandbox("jail", workspace=folder, ahead=False) as sandbox:
        with sandbox.open() as session:
            before = ast.literal_eval(session.execute(_TELLS).value)
            assert not session.execute("os.path.exists('later.txt')").error
        (folder / "later.txt").write_text("later")
        with sandbox.open() as session:
            after = ast.literal_eval(session.execute(_TELLS).value)
            assert session.execute("open('later.txt').read()").value == "'later'"
    assert before[:2] == after[:2]


def test_a_session_made_in_advance_that_has_died_is_made_anew():
    with open_sandbox("jail") as sandbox:
        sandbox.open().close()
        spare = sandbox._spare.result()
        signal.pidfd_send_signal(spare._slot._pid, signal.SIGKILL)
        time.sleep(0.1)
        with sandbox.open() as session:
            assert session is not spare
            assert session.execute("6 * 7").value == "42"


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


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="cellar") as caught:
        open_session("cellar")
    assert "jail" in caught.value.hint


# -- the end --------------------------------------------------------------------------------------------------------


def test_closing_leaves_no_process_no_descriptor_no_group():
    script = """
        import os
        from sandbox import open_session
        before = set(os.listdir("/proc/self/fd"))
        with open_session("jail") as session:
            session.execute("import subprocess; subprocess.Popen(['sleep', '4242'], start_new_session=True)")
        assert set(os.listdir("/proc/self/fd")) == before
    """
    # In a process of its own: the other tests' jail opens descriptors in the background.
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(b"4242" in c.split(b"\0") for c in commands)


def test_the_umask_of_the_user_does_not_matter():
    before = os.umask(0o077)
    try:
        with open_session("jail") as session:
            assert session.execute("import email; open('made', 'w')").ok
    finally:
        os.umask(before)


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


def test_what_a_killed_jail_left_is_swept_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_session("jail"):
        [alive] = tmp_path.iterdir()
        (tmp_path / "sandsmith-live-dead").mkdir()
        with open_session("jail"):
            assert alive.exists() and not (tmp_path / "sandsmith-live-dead").exists()
    assert list(tmp_path.iterdir()) == []


def test_changes_take_disk_only_as_long_as_somebody_holds_them(folder, tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with open_sandbox("jail", workspace=folder) as box:
        before = set(place.rglob("*"))
        for _ in range(5):
            with box.open() as session:
                session.execute("open('made.txt', 'w').write('x')")
                held = session.changes()
        with box.open():  # a sandbox forgets its closed sessions when it opens another
            del session
            assert held.read("made.txt") == b"x"
            assert len(set(place.rglob("*")) - before) < 5
        del held
        assert set(place.rglob("*")) == before


def test_changes_in_a_store_of_the_callers_own_stay(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "changes"
    with open_sandbox("jail", workspace=folder, store=store) as box, box.open() as session:
        session.execute("open('made.txt', 'w').write('x')")
        session.changes()
    assert [c.path for c in Changes.load(store)] == ["made.txt"]
