"""Going back and forth in a session, and branches of it: what comes along, what does not, and what is kept apart."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import pytest
from holdings import held, holds_no_more_than

from sandbox import ConfigError, Policy, SandboxUnavailable, open_sandbox, open_session

pytestmark = pytest.mark.jail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b\n")
    (tmp_path / "link").symlink_to("a.txt")
    return tmp_path


@pytest.fixture
def session(folder):
    with open_session(workspace=folder, policy=Policy(wall_seconds=20, memory_bytes=1 << 30)) as session:
        yield session


def value(session, code: str) -> str | None:
    run = session.execute(textwrap.dedent(code))
    assert run.ok, run
    return run.value


def names(session) -> dict[str, str]:
    return {name.name: name.preview for name in session.names()}


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_go_back_with_deletes_renames_modes_and_links(session, folder):
    look = """
        import os
        def tree():
            found = []
            for top, dirs, files in os.walk('.'):
                for name in sorted(dirs + files):
                    path = os.path.join(top, name)
                    info = os.lstat(path)
                    at = os.readlink(path) if os.path.islink(path) else ''
                    text = open(path).read() if os.path.isfile(path) else ''
                    found.append((path, oct(info.st_mode), at, text, info.st_mtime_ns))
            return sorted(found)
        tree()
    """
    before = value(session, look)
    session.execute("""
import shutil
os.remove('a.txt'); os.rename('sub/b.txt', 'c.txt'); os.chmod('c.txt', 0o600); os.remove('link')
os.symlink('c.txt', 'link'); os.makedirs('new/deep'); open('new/deep/d', 'w').write('d')
""")
    after = value(session, "tree()")
    assert after != before
    session.execute("shutil.rmtree('sub'); shutil.rmtree('new'); open('c.txt', 'a').write('more'); 1 / 0")
    assert value(session, "tree()") == after
    session.undo(3)
    assert value(session, "tree()") == before and sorted(os.listdir(folder)) == ["a.txt", "link", "sub"]


def test_temporary_files_go_back_as_well(session):
    session.execute("open('/tmp/t', 'w').write('1'); open('/dev/shm/s', 'w').write('1')")
    session.execute("open('/tmp/t', 'w').write('2'); open('/dev/shm/s', 'w').write('2')")
    session.undo()
    assert value(session, "open('/tmp/t').read() + open('/dev/shm/s').read()") == "'11'"


def test_a_file_that_was_changed_through_a_map_goes_back(session):
    session.execute("import mmap; open('m', 'wb').write(b'0' * 5000)")
    time.sleep(0.1)
    change = "f = open('m', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[:1] = b'{}'; m.close(); f.close()"
    session.execute(change.format(1))
    session.execute(change.format(2) + "; 1 / 0")
    assert value(session, "open('m').read(1)") == "'1'"
    session.undo(2)
    assert value(session, "open('m').read(1)") == "'0'"


# -- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_arrays_and_frames_go_back(session):
    session.execute("import numpy as np, pandas as pd; a = np.arange(6.0); df = pd.DataFrame({'x': [1, 2]})")
    session.execute("a *= 100; df['y'] = 0; df.loc[0, 'x'] = 99; 1 / 0")
    assert value(session, "a.tolist(), df.to_dict('list')") == "([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], {'x': [1, 2]})"
    assert names(session)["a"] == "shape (6,) of float64" and names(session)["df"] == "2 rows, columns 'x'"


def test_threads_live_on_in_a_session_that_goes_forward_and_are_gone_in_one_that_went_back(session):
    session.execute("""
import threading, time
beats = []
def beat():
    while True: beats.append(1); time.sleep(0.005)
threading.Thread(target=beat, daemon=True).start()
""")
    session.execute("n = len(beats)")
    wait = "while len(beats) == n: time.sleep(0.01)\n"  # as long as an execution may take
    assert value(session, f"{wait}threading.active_count()") == "2"
    session.execute("1 / 0")
    assert value(session, "n = len(beats); time.sleep(0.1); len(beats) == n and threading.active_count()") == "1"


@pytest.mark.parametrize(
    "begin",
    [
        "import threading; threading.Timer(0.3, lambda: open('late', 'w').close()).start",
        "import subprocess, sys; lambda: subprocess.Popen([sys.executable, '-c', LATE])",
    ],
)
def test_what_goes_on_between_two_executions_is_not_taken_back(session, begin):
    """The checkpoint that is made ahead is of use only where nothing can have happened since."""
    first, _, call = begin.rpartition("; ")
    value(session, f"{first}\nLATE = \"import time; time.sleep(0.3); open('late', 'w')\"\nn = 1")
    value(session, f"began = ({call})(); began is None or began.poll() is None")
    time.sleep(1.5)
    assert not session.execute("1 / 0").ok
    assert value(session, "import os; os.path.exists('late')") == "True"


_TAKES_OVER = """
import json, os, socket, struct, threading
def noise():
    while True:
        with open(f"noise{threading.get_native_id()}", "a") as file: file.write("x" * 1000)
channel = socket.socket(fileno=os.dup(3))
body = json.dumps(dict(op="result", id=2, value=None, error=None, exit_code=1)).encode()
channel.sendall(struct.pack("!I", len(body)) + body)
channel.sendall(channel.recv(1 << 16))  # as the process itself would answer: it says that it has ended
"""


@pytest.mark.parametrize(
    "goes_on", ["", "threading.Thread(target=noise).start()", "os.fork()", "while os.fork(): pass"]
)
def test_a_process_that_goes_on_after_its_end_changes_nothing_that_was_put_back(session, folder, goes_on):
    session.execute("open('kept.txt', 'w').write('kept')")
    run = session.execute(f"{_TAKES_OVER}{goes_on}\nnoise()")
    assert (run.status, run.exit_code) == ("error", 1)
    assert [change.path for change in session.changes()] == ["kept.txt"]
    time.sleep(0.1)
    assert [change.path for change in session.changes()] == ["kept.txt"]
    assert session.execute("import os; sorted(os.listdir())").value == str(sorted([*os.listdir(folder), "kept.txt"]))


def test_child_processes_live_on_forward_and_are_gone_backward(session):
    session.execute("import subprocess; p = subprocess.Popen(['sleep', '60'])")
    assert value(session, "p.poll()") is None
    session.execute("1 / 0")
    assert value(session, "import os; sum(name.isdigit() for name in os.listdir('/proc')) < 8") == "True"
    assert value(session, "p.poll() is not None") == "True"


@pytest.mark.parametrize(
    "threads", ["", "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"]
)
def test_random_numbers_go_on_as_they_would_have(session, threads):
    session.execute(f"import random; random.seed(7); random.random()\n{threads}")
    first = value(session, "random.random()")
    session.execute("random.random(); 1 / 0")
    session.undo()
    assert value(session, "random.random()") == first
    session.undo()
    [branch] = session.branch()
    assert value(branch, "random.random()") == first


# -- surviving --------------------------------------------------------------------------------------------------------


def test_a_session_survives_files_that_fill_its_memory(folder):
    """The kernel must find the program's process to end, and not the one that watches over it."""
    policy = Policy(wall_seconds=20, memory_bytes=96 << 20, disk_bytes=256 << 20)
    with open_sandbox(workspace=folder, policy=policy) as sandbox:
        for _ in range(8):
            with sandbox.open() as session:
                run = session.execute("with open('full', 'wb') as f:\n    for _ in range(200): f.write(bytes(1 << 20))")
                assert run.status == "memory"
                assert value(session, "__import__('os').path.exists('full')") == "False"


def test_a_process_that_cannot_be_copied_is_told_before_anything_runs(folder):
    with open_session(workspace=folder, policy=Policy(processes=8)) as session:
        session.execute("""
import os, time
import sys, types
class Cuda(types.ModuleType):
    @staticmethod
    def is_initialized(): return True
torch = types.ModuleType('torch'); torch.cuda = Cuda('cuda'); sys.modules['torch'] = torch
""")
        with pytest.raises(ConfigError, match=r"cannot be copied.*CUDA"):
            session.execute("open('ran', 'w')")
        with pytest.raises(ConfigError, match="CUDA"):
            session.undo()
        assert "ran" not in [change.path for change in session.changes()]


def test_a_thousand_steps_stay_flat(folder):
    with open_session(workspace=folder, policy=Policy(history=5, memory_bytes=1 << 30)) as session:
        session.execute("steps = []; big = bytearray(20 << 20)")

        for n in range(300):
            assert session.execute(f"steps.append({n}); open('f{n % 3}', 'w').write('x' * 10000)").ok
            if n == 50:
                before = held()
        assert holds_no_more_than(before), (held(), before)
        assert value(session, "import os; sum(name.isdigit() for name in os.listdir('/proc')) <= 12") == "True"
        assert session.steps == 5
        session.undo(5)
        assert value(session, "len(steps)") == "296"


# -- branches ---------------------------------------------------------------------------------------------------------


def test_branches_have_temporary_files_of_their_own(session):
    session.execute("open('/tmp/t', 'w').write('base')")
    branches = session.branch(2)
    for number, branch in enumerate(branches):
        branch.execute(f"for path in ('/tmp/t', '/dev/shm/s'): open(path, 'a').write('{number}')")
    look = "import os; open('/tmp/t').read(), open('/dev/shm/s').read(), os.getcwd()"
    assert [value(branch, look) for branch in branches] == [repr((f"base{n}", str(n), "/ws/work")) for n in range(2)]
    branches[1].adopt()
    assert value(session, look) == repr(("base1", "1", "/ws/work"))
    session.undo(2)
    assert value(session, "import os; open('/tmp/t').read(), os.path.exists('/dev/shm/s')") == "('base', False)"


def test_a_branch_cannot_see_signal_or_touch_another_or_its_parent(session):
    hide = "import os; secret = 'S' * 50; me = os.getpid(); [os.getppid(), me]"
    session.execute(hide)
    one, two = session.branch(2)
    one.execute("import time; secret = 'ONE'; open('/tmp/own', 'w').write('ONE')")
    look = """
        import os, signal
        seen = sorted(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid())
        reached = []
        for pid in range(1, 60):
            if pid == os.getpid(): continue
            try: os.kill(pid, 0); reached.append(pid)
            except OSError: pass
            for name in ('mem', 'environ', 'maps', 'root/tmp/own', 'cwd/a.txt', 'fd/1'):
                try: open(f'/proc/{pid}/{name}', 'rb').read(1); reached.append((pid, name))
                except (OSError, ValueError): pass
        held = ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')
        caps = [line.split()[1] for line in open('/proc/self/status') if line.startswith(held)]
        seen, reached, os.path.exists('/tmp/own'), set(caps), os.getuid()
    """
    own = "import os; os.getpid()"
    pids = {int(value(branch, own) or 0) for branch in (one, two)}
    seen, reached, exists, caps, uid = eval(value(two, look) or "")
    mine = set(two._kept())  # its own frozen copies
    assert set(seen) <= mine
    assert not exists and caps == {"0" * 16} and uid == 1000
    assert not mine & pids and {pid for pid in reached if isinstance(pid, int)} <= mine
    assert all(not isinstance(what, tuple) or what[0] in mine for what in reached)
    assert names(one)["secret"] == "'ONE'"


def test_the_same_without_the_walls_between_branches_is_seen(session):
    """The positive control: a fork of the session, which is no branch, is seen, signalled and read."""
    found = value(
        session,
        """
        import os, time
        pid = os.fork()
        if pid == 0:
            time.sleep(20); os._exit(0)
        os.kill(pid, 0); str(pid) in os.listdir('/proc')
        """,
    )
    assert found == "True"


def test_nobody_but_a_branch_gets_namespaces_of_its_own(session):
    """What lets a branch leave is let through once, when pid 1 expects it."""
    ask = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def ask(flags): return libc.unshare(flags) or 0, os.strerror(ctypes.get_errno())
        [ask(0x10020000), ask(0x10000000), ask(0x20000), ask(0x30020000)]
    """
    refused = repr([(-1, "Operation not permitted")] * 4)
    assert value(session, ask) == refused
    [branch] = session.branch()
    assert value(branch, ask) == refused
    branch.adopt()
    assert value(session, ask) == refused


def test_a_chain_of_adopted_branches_gets_no_deeper(session):
    session.execute("x = []")
    for n in range(14):
        one, two = session.branch(2)
        one.execute(f"x.append({n}); open('f', 'a').write('{n} ')")
        two.execute("x.clear()")
        one.adopt()
    assert value(session, "len(x), open('f').read().split()[-1]") == "(14, '13')"


def test_closing_a_session_ends_its_branches(folder):
    with open_sandbox("jail", workspace=folder, ahead=False) as box:
        session = box.open()
        branches = session.branch(2)
        session.close()
        with pytest.raises(ConfigError, match="closed"):
            branches[0].execute("1")
        with box.open() as another:
            # Pid 1, what programs are forked from, and the program.
            assert value(another, "import os; sum(name.isdigit() for name in os.listdir('/proc'))") == "3"


def test_a_program_that_has_taken_over_its_fork_costs_its_own_session_only(session):
    session.execute("import os, ctypes\nos.fork = lambda: 1 / 0\nctypes.pythonapi.PyOS_BeforeFork = None")
    with pytest.raises((ConfigError, SandboxUnavailable)):
        session.branch()
        raise ConfigError("it was branched all the same")


@pytest.mark.parametrize(
    ("limit", "policy", "code"),
    [
        ("files", Policy(files=50), "for i in range(99): open(f'{i}', 'w').close()"),
        ("disk", Policy(disk_bytes=1 << 20), "with open('b', 'wb') as f: f.write(bytes(700_000))"),
    ],
)
def test_a_program_that_filled_all_room_leaves_room_to_go_back(limit, policy, code):
    """What it deleted or left is there as long as its process dies: one in six sessions was lost for that."""
    with open_sandbox("jail", policy=policy) as box:
        for _ in range(40):
            with box.open() as session:
                assert session.execute("with open('a', 'wb') as f: f.write(bytes(700_000))").ok
                assert session.execute(code).limit == limit
                assert value(session, "len(open('a', 'rb').read())") == "700000"
