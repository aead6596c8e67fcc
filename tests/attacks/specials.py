"""Attacks that need more than one program: changes, rollbacks, daemons, siblings, a host that dies, long runs.

Each is a function of the arena that asserts; it returns None, or why it could not be tried here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from unittest import mock

from arena import Arena, descendants, resident
from cases import MARK

from sandbox import ConfigError, Policy, SandboxUnavailable, Session, open_sandbox
from sandbox.jail.ahead import Ahead
from sandbox.scratch import Scratch
from sandbox.session import OnError

Special = Callable[[Arena], None]
SPECIALS: dict[str, Special] = {}
FORGE_FORK = """
import os, sys, socket, struct, json
def fork():
    sender = socket.socket(fileno=os.dup(sys._getframe(1).f_locals["fd"]))
    sender.sendall(ANSWER)
    return os.posix_spawn("/bin/true", ["true"], {})
def frame(message):
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body
ANSWER = %s
os.fork = fork
"""
"""Answers the next checkpoint in the program's own words."""


def special(id: str) -> Callable[[Special], Special]:
    def keep(function: Special) -> Special:
        SPECIALS[id] = function
        return function

    return keep


def paths(session: Session) -> tuple[dict[str, str], str]:
    """Kinds of the changes by path, and everything said about what was left out."""
    changes = session.changes()
    return {c.path: c.kind for c in changes}, " ".join(f"{s.path}: {s.reason}" for s in changes.skipped)


# -- B: what comes out of the view -------------------------------------------------------------------------------------


@special("B06-links-are-not-followed")
def _(arena: Arena) -> None:
    canary = str(arena.outside / "canary.txt")
    with arena.box({}).open() as session:
        run = session.execute(
            f"import os\nos.symlink({canary!r}, 'out.txt')\nos.symlink('/', 'root')\n"
            f"os.remove('data.csv')\nos.symlink({canary!r}, 'data.csv')\nopen('fair.txt', 'w').write('x')"
        )
        assert run.ok, run
        changes, left = paths(session)
    assert changes.get("fair.txt") == "created" and not {"out.txt", "root"} & changes.keys(), changes
    assert changes.get("data.csv") in (None, "deleted") and "out.txt" in left


@special("B07-swapping-while-collecting")
def _(arena: Arena) -> None:
    canary = str(arena.outside / "canary.txt")
    swap = (
        "import os\nos.mkdir('d')\n"
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        for name in ('f', 'd/f'):\n"
        "            with open(name + '.new', 'w') as file: file.write('fair')\n"
        "            os.replace(name + '.new', name)\n"
        f"            os.symlink({canary!r}, name + '.new')\n"
        "            os.replace(name + '.new', name)\n"
        "        os.rename('d', 'e'); os.symlink('/', 'd'); os.remove('d'); os.rename('e', 'd')\n"
    )
    with arena.box({"wall_seconds": 10}).open() as session:
        assert session.execute(swap, on_error="keep").ok
        for _ in range(5):
            changes = session.changes()
            for change in changes:
                if change.path.endswith("f") and change.kind != "deleted" and not change.is_dir:
                    assert change.size in (0, 4), change  # "fair", or not yet written


@special("B08-work-replaced")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute(
            "import os, shutil\nshutil.rmtree('/ws/work', ignore_errors=True)\n"
            "try: os.rmdir('/ws/work')\nexcept OSError: pass\n"
            "try: os.symlink('/etc', '/ws/work')\nexcept OSError: pass"
        )
        changes, _left = paths(session)
    assert set(changes.values()) <= {"deleted"}, changes


@special("B09-special-files")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        run = session.execute(
            "import os, socket, shutil\nos.mkfifo('fifo')\nos.mknod('sock', 0o140600)\n"
            "shutil.copy('/bin/true', 'suid'); os.chmod('suid', 0o6777)\n"
            "open('one', 'w').write('x'); os.link('one', 'two')\n"
            "open('sparse', 'wb').truncate(15 << 20)"
        )
        assert run.ok, run
        collected = session.changes()
        changes = {c.path: c for c in collected}
        left = {s.path for s in collected.skipped}
    assert {"fifo", "sock"} <= left and not {"fifo", "sock"} & changes.keys(), (changes, left)
    assert all(c.mode & 0o7000 == 0 for c in changes.values())


@special("B10-setuid-is-not-applied")
def _(arena: Arena) -> None:
    target = arena.base / "scratch-apply"
    target.mkdir(exist_ok=True)
    with open_sandbox("jail", workspace=target) as box, box.open() as session:
        session.execute("import os, shutil\nshutil.copy('/bin/true', 'suid'); os.chmod('suid', 0o6777)")
        session.changes().apply()
    assert (target / "suid").stat().st_mode & 0o6000 == 0
    shutil.rmtree(target)


@special("B11-planted-modules")
def _(arena: Arena) -> None:
    names = ("sitecustomize.py", "usercustomize.py", "json.py", "x.pth", "conftest.py", "os.py", "worker.py")
    plant = "".join(f"open({name!r}, 'w').write('1/0')\n" for name in names)
    with arena.box({}).open() as session:
        assert session.execute(plant).ok
        assert session.execute("import subprocess, sys, os\n2 + 2").value == "4"
        changes, left = paths(session)
    assert not {"sitecustomize.py", "usercustomize.py", "x.pth"} & changes.keys() and "withheld" in left
    with arena.box({}).open() as session:
        assert session.execute("import json\njson.dumps(1)").value == "'1'"


@special("B14-hostile-names")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        run = session.execute(
            "import os\nnames = [b'a\\nb', b'\\xff\\xfe', b'n' * 255, b'\\x1b[31mred', b'..x',\n"
            "    '\\u202egnp.exe'.encode(), b' ', b'-rf', b'a\\\\b', b'.git', b'%s', b'CON']\n"
            "for n in names:\n    with open(n, 'w') as f: f.write('x')\n"
            "deep = '/ws/work'\n"
            "try:\n    for _ in range(60): os.mkdir('d' * 200); os.chdir('d' * 200)\nexcept OSError: pass\n"
            "os.chdir('/ws/work')"
        )
        assert run.ok, run
        changes, left = paths(session)
    for path in changes:
        assert path.isprintable() and not path.startswith("/") and ".." not in path.split("/"), path
    assert "\x1b" not in left and "\n" not in left


@special("J08-overlay-attributes")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute(
            "import os\nos.mkdir('d'); open('d/x', 'w').write('x')\n"
            "for name in ('opaque', 'redirect', 'metacopy', 'whiteout', 'origin'):\n"
            "    for value in (b'y', b'/../../../etc', b''):\n"
            "        for path in ('.', 'd', 'd/x', 'data.csv'):\n"
            "            for prefix in ('user.overlay.', 'user.overlay.overlay.', 'trusted.overlay.'):\n"
            "                try: os.setxattr(path, prefix + name, value)\n"
            "                except OSError: pass\n"
        )
        changes, _left = paths(session)
        assert set(changes) <= {"d", "d/x", "data.csv"} and changes.get("data.csv") != "deleted", changes
        for code in ("2 + 2", "1 / 0"):  # going back mounts a copy of what the program has made
            session.execute(code)
        seen = session.execute("import os; sorted(os.listdir('.')), os.listdir('d'), open('data.csv').read()[:3]").value
    assert seen == repr((["d", *sorted(p.name for p in arena.work.iterdir())], ["x"], "a,b")), seen


# -- C, F: siblings ----------------------------------------------------------------------------------------------------


@special("C07-sibling-by-autobind")
def _(arena: Arena) -> None:
    """An unconnected datagram socket that the kernel names itself, in the network namespace that sessions share."""
    bind = (
        "import socket\n"
        "try:\n"
        "    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "    mine.setsockopt(1, 16, 1); other.close()\n"
        "    try: mine.send(b'x')\n"
        "    except OSError: pass\n"
        "    mine.setblocking(False)\n"
        "    name = mine.getsockname()\n"
        "except OSError: name = b''\nname"
    )
    with arena.box({}).open() as one, arena.box({}).open() as two:
        name = one.execute(bind, on_error="keep").value
        sent = two.execute(
            "import socket\n"
            "try: print(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'LEAK', NAME))\n"
            "except OSError as e: print('denied', e)".replace("NAME", name or "b'none'")
        )
        got = one.execute("try: print(mine.recv(9))\nexcept (OSError, NameError) as e: print('nothing')")
    assert "denied" in sent.stdout and "nothing" in got.stdout, (sent, got)


@special("C10-descriptors-to-a-sibling")
def _(arena: Arena) -> None:
    """The only sockets of a session lead to the host, which takes no descriptors."""
    with arena.box({}).open() as session:
        before = len(os.listdir("/proc/self/fd"))
        session.execute(
            "import socket, array, os\nc = socket.socket(fileno=os.dup(3))\n"
            "for _ in range(100): c.sendmsg([b'\\0\\0\\0\\2{}'], [(1, 1, array.array('i', [0, 1, 2]))])",
            on_error="keep",
        )
        assert len(os.listdir("/proc/self/fd")) == before


@special("E07-a-full-session-does-not-starve-another")
def _(arena: Arena) -> None:
    fill = (
        "import os, time\nn = 0\ntry:\n    while n < 40:\n        if os.fork() == 0: time.sleep(20); os._exit(0)\n"
        "        n += 1\nexcept OSError: pass\nn"
    )
    with arena.box({"memory_bytes": 2 << 30}).open() as one, arena.box({"memory_bytes": 2 << 30}).open() as two:
        first = one.execute(fill, on_error="keep")
        second = two.execute(fill, on_error="keep")
    assert int(first.value or 0) > 20, first
    assert int(second.value or 0) > 20, f"beside a full session only {second.value} of 32 processes could start"


# -- D: daemons --------------------------------------------------------------------------------------------------------

_DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)
    if os.fork() == 0:
        while True:
            with open('/ws/work/beat', 'a') as f: f.write('x')
            time.sleep(0.01)
    os._exit(0)
os.wait()
"""


@special("J18-undead")
def _(arena: Arena) -> None:
    """Processes that have asked not to die with their parent die with the session, and with a failed execution."""
    with arena.box({}).open() as session:
        before = descendants(os.getpid())
        code = _DAEMON.replace("os.setsid()", "os.setsid(); import ctypes; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)")
        assert not session.execute(code + "1 / 0").ok
        assert settles(lambda: len(descendants(os.getpid())) <= len(before))
        assert session.execute(code, on_error="keep").ok
    assert settles(lambda: len(descendants(os.getpid())) < len(before))


def _none_ahead() -> AbstractContextManager[object]:
    """No checkpoint is made ahead, which takes a process and a descriptor as long as it waits: they are counted."""
    return mock.patch.object(Ahead, "begin", lambda _ahead, _make: None)


@special("D26-daemons-die-with-a-failed-execution")
def _(arena: Arena) -> None:
    with _none_ahead(), arena.box({}).open() as session:
        before = descendants(os.getpid())
        for failure in ("1 / 0", "os.kill(os.getpid(), 9)", "while True: pass"):
            assert not session.execute(_DAEMON + failure, wall_seconds=1).ok
            assert session.execute("import os; os.path.exists('/ws/work/beat')").value == "False"
            assert settles(lambda: len(descendants(os.getpid())) <= len(before)), failure


@special("D27-daemons-die-with-the-session")
def _(arena: Arena) -> None:
    box = arena.box({})
    before = descendants(os.getpid())
    with box.open() as session:
        assert session.execute(_DAEMON, on_error="keep").ok
        assert len(descendants(os.getpid())) > len(before)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert settles(lambda: descendants(os.getpid()) == before)


@special("E07-fork-bomb-ends-at-once")
def _(arena: Arena) -> None:
    bomb = "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    box = arena.box({"processes": 64, "memory_bytes": 1 << 30})
    before = descendants(os.getpid())
    modes: tuple[OnError, ...] = ("rollback", "keep")
    for on_error in modes:
        session = box.open()
        began = time.monotonic()
        run = session.execute(bomb, on_error=on_error, wall_seconds=1)
        assert run.status in ("timeout", "memory"), run
        assert time.monotonic() - began < 6, f"{time.monotonic() - began:.1f} s"
        began = time.monotonic()
        session.close()
        assert time.monotonic() - began < 5
    assert settles(lambda: descendants(os.getpid()) == before)


# -- H, I: the channel over several executions -------------------------------------------------------------------------


def _said(session: Session, code: str, on_error: OnError = "rollback", seconds: float | None = None) -> str:
    """What becomes of an execution that the program sabotages: its status, or the error's text."""
    try:
        return session.execute(code, on_error=on_error, wall_seconds=seconds).status
    except (ConfigError, SandboxUnavailable) as error:
        return f"{error} {error.hint}"


@special("H10-forged-checkpoint")
def _(arena: Arena) -> None:
    """What a program sends in the place of its frozen copy's greeting ends its session, in clean words."""
    answers = (
        r'b"\xff" * 64',
        'b""',
        r'b"\0\0\0\2[]"',
        'frame({"op": "failed", "step": "\\x1b]52;c;QQ\\x07", "message": "\\x1b[2J" + "m" * 50})',
        'frame({"op": "hello", "pid": "oops"})',
        'frame({"op": "hello", "pid": 1})',
        'frame({"op": "hello", "pid": 10 ** 30})',
    )
    for answer in answers:
        with arena.box({}).open() as session:
            assert session.execute(FORGE_FORK % answer).ok
            began = time.monotonic()
            words = _said(session, "1") if answer != 'b""' else "skipped: it only waits"
            assert words.isprintable() and time.monotonic() - began < 8, (answer, words)


@special("H12-leftover-frames")
def _(arena: Arena) -> None:
    """A frame that waits in the channel for the next execution cannot pass as its outcome."""
    with arena.box({}).open() as session:
        session.execute(
            "import os, socket, struct, json\nc = socket.socket(fileno=os.dup(3))\n"
            "def frame(**m):\n    b = json.dumps(m).encode()\n    return struct.pack('!I', len(b)) + b\n"
            "import threading, time\n"
            "threading.Thread(target=lambda: (time.sleep(0.3), c.sendall(frame(op='result', id=2, value='forged')\n"
            "    + frame(op='sync', id=2))), daemon=True).start()",
            on_error="keep",
        )
        time.sleep(0.5)
        run = session.execute("1 / 0", on_error="keep")
    assert run.status == "error" or run.value == "forged", run  # a claim of this session about itself, never more


@special("H17-patched-worker")
def _(arena: Arena) -> None:
    spoil = (
        "import builtins, json, sys, os, socket\n"
        "builtins.print = builtins.len = builtins.repr = None\njson.dumps = json.loads = lambda *a, **k: 'x'\n"
        "sys.modules.clear()"
    )
    with arena.box({}).open() as session, suppress(SandboxUnavailable):
        session.execute(spoil, on_error="keep", wall_seconds=1)
    with arena.box({}).open() as session:
        assert session.execute("import json; json.dumps(len('abc'))").value == "'3'"


@special("I09-removed-folder")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute("import os\nos.mkdir('d'); os.chdir('d'); os.rmdir('../d')\n1 / 0")
        assert session.execute("import os; os.getcwd()").value == "'/ws/work'"


@special("I12-taken-over-fork")
def _(arena: Arena) -> None:
    """A program that has replaced what makes copies of it: its session ends in plain words, or is none the worse."""
    patches = (
        "import os; os.fork = lambda: 1 / 0",
        "import ctypes; ctypes.pythonapi.PyOS_BeforeFork = ctypes.pythonapi.PyOS_AfterFork_Child = None",
        "import os; real = os.listdir; os.listdir = lambda *p: real(*p) * 2",
        "import os; os.chdir = lambda path: 1 / 0",
        "import gc, types\n"
        "for one in gc.get_objects():\n"
        "    if isinstance(one, types.ModuleType) and one.__name__.endswith('worker.copies'):\n"
        "        one._fork = lambda: 'half'",
    )
    for patch in patches:
        with arena.box({"wall_seconds": 1}).open() as session:
            session.execute(patch, on_error="keep")
            began = time.monotonic()
            try:
                [branch] = session.branch()
                words = _said(branch, "2 + 2")
            except (ConfigError, SandboxUnavailable) as error:
                words = str(error)
            assert words.isprintable() and time.monotonic() - began < 40, (patch, words)
        with arena.box({"wall_seconds": 1}).open() as session:
            assert session.execute("2 + 2").value == "4"


@special("I13-sessions")
def _(arena: Arena) -> None:
    with arena.box({}).open() as one, arena.box({}).open() as two:
        one.execute("x = 1; open('data.csv', 'w').write('one'); open('/tmp/x', 'w').close()")
        run = two.execute("import os; ('x' in globals(), open('data.csv').read(), os.path.exists('/tmp/x'))")
    assert run.value == repr((False, "a,b\n1,2\n", False)), run


@special("I13-branches")
def _(arena: Arena) -> None:
    """A branch changes its files, its names and whatever process it can name: the other branch is as it was."""
    with arena.box({"wall_seconds": 10, "history": 3}).open() as session:
        session.execute("import os; x = 'mine'; open('f', 'w').write('mine')")
        one, two = session.branch(2)
        pid = int(two.execute("os.getpid()").value or 0)
        attack = one.execute(
            "x = 'other'; open('f', 'w').write('other'); open('/tmp/f', 'w').write('other')\n"
            "done = []\n"
            f"for act in (lambda: os.kill({pid}, 9), lambda: open('/proc/{pid}/mem', 'r+b'), "
            f"lambda: os.listdir('/proc/{pid}'), lambda: os.readlink('/proc/{pid}/cwd'), "
            f"lambda: open('/proc/{pid}/root/ws/work/f'), lambda: os.setpriority(os.PRIO_PROCESS, {pid}, 19), "
            f"lambda: os.sched_setaffinity({pid}, [0])):\n"
            "    try: act(); done.append('LEAK')\n"
            "    except OSError: done.append('denied')\n"
            "done"
        )
        look = "x, open('f').read(), os.path.exists('/tmp/f'), os.getpid()"
        assert two.execute(look).value == repr(("mine", "mine", False, pid))
    assert attack.value == repr(["denied"] * 7), attack


@special("I14-rollback-after-removal")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute("open('made', 'w').write('x'); kept = [1]")
        session.execute("import shutil, os\nkept.clear(); shutil.rmtree('/ws/work', ignore_errors=True)\nos.abort()")
        assert session.execute("(open('made').read(), open('data.csv').read(), kept)").value == repr(
            ("x", "a,b\n1,2\n", [1])
        )


@special("I15-rollback-with-threads-and-children")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        run = session.execute(
            "import subprocess, threading, time\nn = 1\n"
            "def write():\n    while True: open('late', 'a').write('x'); time.sleep(0.01)\n"
            "threading.Thread(target=write, daemon=True).start()\nsubprocess.Popen(['sleep', '50'])\nn = 2\n1 / 0"
        )
        assert run.status == "error"
        assert session.execute("import os; 'n' in globals(), os.path.exists('late')").value == "(False, False)"


@special("I17-killing-the-frozen-copy")
def _(arena: Arena) -> None:
    """A program may kill its own frozen copy: its session is lost then, soon and in plain words."""
    for sabotage in ("9", "signal.SIGSTOP"):
        with arena.box({"wall_seconds": 1}).open() as session:
            began = time.monotonic()
            words = _said(
                session,
                "import os, signal\n"
                "for name in os.listdir('/proc'):\n"
                f"    if name.isdigit() and int(name) not in (1, os.getpid()): os.kill(int(name), {sabotage})\n1 / 0",
            )
            assert "broke" in words or words == "error", words
            assert time.monotonic() - began < 8, words


@special("I17-frozen-copy-that-does-not-sleep")
def _(arena: Arena) -> None:
    code = (
        "import os\nreal = os.fork\n"
        "def fork():\n    pid = real()\n    if pid == 0:\n        while True: pass\n    return pid\nos.fork = fork"
    )
    with arena.box({"wall_seconds": 1}).open() as session:
        assert session.execute(code).ok


@special("I16-branch-storm")
def _(arena: Arena) -> None:
    """A thousand branches are refused, many are made and ended, and nothing is left of them."""
    with arena.box({"wall_seconds": 10, "processes": 64, "memory_bytes": 1 << 30}).open() as session:
        session.execute("x = 0")
        try:
            session.branch(1000)
            raise AssertionError("a thousand branches")
        except ConfigError:
            pass
        for number in range(4):
            branches = session.branch(6)
            for branch in branches:
                run = branch.execute("x += 1; import os\nif os.fork() == 0:\n    while True: pass\nx")
                assert run.value == str(number + 1)
            branches[number].adopt()
        assert session.execute("x").value == "4"


@special("I17-frozen-copy-that-spins")
def _(arena: Arena) -> None:
    """A copy that does not sleep uses up its CPU seconds, and is killed; the session goes on without that state."""
    spin = (
        "import gc, types, os\n"
        "for one in gc.get_objects():\n"
        "    if isinstance(one, types.ModuleType) and one.__name__.endswith('worker.wire'):\n"
        "        real, me = one.receive, os.getpid()\n"
        "        def receive(channel):\n"
        "            while os.getpid() != me: pass\n"
        "            return real(channel)\n"
        "        one.receive = receive"
    )
    with arena.box({"wall_seconds": 2, "cpu_seconds": 1, "history": 3}).open() as session:
        assert session.execute(spin).ok
        assert session.execute("x = 1").ok
        time.sleep(4)
        assert session.execute("x").value == "1"
        words = _said(session, "1 / 0")
        assert words == "error" or "broke" in words, words


@special("I19-many-executions")
def _(arena: Arena) -> None:
    """Executions of one session leave nothing: neither a process, nor a zombie, nor a descriptor."""
    with _none_ahead(), arena.box({}).open() as session:
        session.execute("n = 0")
        before = len(os.listdir("/proc/self/fd")), len(descendants(os.getpid()))
        for _ in range(80):
            assert session.execute("n += 1").ok
            assert not session.execute("n += 100; 1 / 0").ok
        assert session.execute("n").value == "80"
        assert settles(lambda: (len(os.listdir("/proc/self/fd")), len(descendants(os.getpid()))) <= before)


@special("E24-large-source")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        for code in ("x = 1\n" * 10**6, "#" * (2 << 20)):
            try:
                session.execute(code)
            except ConfigError:
                continue
            raise AssertionError("a program over the limit was accepted")
        assert session.execute("2 + 2").value == "4"


# -- J: what one execution leaves for the next -------------------------------------------------------------------------

_SABOTAGE = {
    **{
        f"limit-{name.lower()}": f"import resource; resource.setrlimit(resource.RLIMIT_{name}, ({value}, {value}))"
        for name, value in {"NOFILE": 4, "AS": 1 << 20, "NPROC": 0, "FSIZE": 0, "CPU": 1, "STACK": 4096}.items()
    },
    "umask": "import os; os.umask(0o777)",
    "no-folder": "import os; os.mkdir('d'); os.chdir('d'); os.rmdir('../d')",
    "modules": "import sys; sys.modules.clear()",
    "modules-poisoned": "import sys\nfor n in list(sys.modules): sys.modules[n] = None",
    "trace": "import sys\ndef f(*a): 1 / 0\nsys.settrace(f)",
    "profile": "import sys\ndef f(*a): raise SystemExit\nsys.setprofile(f)",
    "at-exit": "import atexit, time; atexit.register(time.sleep, 60)",
    "audit": "import sys\ndef f(*a): raise RuntimeError('\\x1b[2J')\nsys.addaudithook(f)",
    "collector": "import gc\ndef f(*a): raise KeyboardInterrupt\ngc.callbacks.append(f); gc.set_threshold(1)",
    "io": "import io, sys; io.FileIO = None; sys.stdout = sys.stderr = 7",
    "json": "import json; json.dumps = json.loads = lambda *a, **k: {}",
    "wire": "import sys\nwire = sys.modules['worker.wire']\nwire.send = wire.encode = lambda *a, **k: b''",
    "import": "import builtins; builtins.__import__ = None",
    "signals": "import signal\nfor n in (1, 2, 3, 14, 15, 17): signal.signal(n, signal.SIG_IGN)",
    "masked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "alarm": "import signal; signal.setitimer(signal.ITIMER_REAL, 0.2, 0.01)",
    "recursion": "import sys; sys.setrecursionlimit(30)",
    "threads": "import threading, os\ndef f():\n    while True: os.urandom(1)\n"
    "for _ in range(20): threading.Thread(target=f, daemon=True).start()",
    "switch": "import sys; sys.setswitchinterval(1e9)",
    "stopped-child": "import os, signal\nif os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)",
    "fork": "import os; os.fork = os._exit",
    "close": "import os; os.close(3); os.open('/dev/zero', os.O_RDWR)",
}
"""What an execution does to the process that the next one runs in."""


def _sabotage(code: str) -> Special:
    def play(arena: Arena) -> None:
        """The next execution ends soon: with a result, a true label, or a session that is lost in plain words."""
        with arena.box({}).open() as session:
            _said(session, code, "keep", 1)
            began = time.monotonic()
            words = _said(session, "2 + 2", seconds=1)
            assert words.isprintable() and time.monotonic() - began < 8, words
        with arena.box({}).open() as session:
            assert session.execute("2 + 2").value == "4"

    return play


SPECIALS.update({f"J40-{name}": _sabotage(code) for name, code in _SABOTAGE.items()})


@special("J41-what-failed-does-not-ring")
def _(arena: Arena) -> None:
    """Timers and watchdogs of a failed execution are gone with it."""
    with arena.box({}).open() as session:
        session.execute(
            "import faulthandler, signal\nfaulthandler.dump_traceback_later(0.3, exit=True)\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.3)\n1 / 0"
        )
        assert session.execute("import time; time.sleep(0.6); 'alive'").value == "'alive'"


@special("J42-ignored-children")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        assert [session.execute("2 + 2").value for _ in range(3)] == ["4"] * 3


@special("J43-links-and-holes")
def _(arena: Arena) -> None:
    """What takes little room in the view takes no more in the mark that is made of it."""
    with arena.box({}).open() as session:
        assert session.execute(
            "import os\nwith open('a', 'wb') as f: f.write(bytes(range(256)) * 8192)\n"
            "for n in range(9): os.link('a', f'l{n}')\n"
            "for n in range(9):\n"
            "    with open(f's{n}', 'wb') as f: f.seek(9 << 20); f.write(b'end'); f.truncate(14 << 20)"
        ).ok
        assert not session.execute("open('a', 'w').close(); os.remove('s3'); 1 / 0").ok
        seen = session.execute(
            "(os.stat('a').st_nlink, open('l3', 'rb').read() == bytes(range(256)) * 8192,\n"
            " os.path.getsize('s3'), open('s3', 'rb').read().strip(bytes(1)), os.stat('s3').st_blocks < 99)"
        ).value
    assert seen == repr((10, True, 14 << 20, b"end", True)), seen


@special("J44-folders-too-deep")
def _(arena: Arena) -> None:
    """Nesting that no path can name ends the session in plain words, and cannot be applied."""
    with arena.box({"files": 3000, "wall_seconds": 5}).open() as session:
        dig = "import os\nfor n in range(1500): os.mkdir('d'); os.chdir('d')\nos.chdir('/ws/work')"
        assert session.execute(dig, on_error="keep").ok
        changes, left = paths(session)
        assert len(changes) < 200 and "too deep" in left
        words = _said(session, "2 + 2")
        assert words == "ok" or "broke" in words or "cannot be kept" in words, words


@special("J45-closed-modes")
def _(arena: Arena) -> None:
    """Files that their owner has closed to everybody are marked, put back and collected, or left out with a reason."""
    with arena.box({}).open() as session:
        session.execute(
            "import os\nos.mkdir('d'); open('d/f', 'w').write('x'); open('g', 'w').write('x')\n"
            "for name in ('d/f', 'd', 'g'): os.chmod(name, 0)\nos.umask(0o777); open('h', 'w').write('x')"
        )
        assert not session.execute("os.chmod('g', 0o600); open('g', 'a').write('y'); 1 / 0").ok
        assert session.execute("oct(os.stat('g').st_mode & 0o777), os.path.getsize('g')").value == "('0o0', 1)"
        changes, left = paths(session)
    assert all(name in changes or name in left for name in ("d", "g", "h")), (changes, left)


@special("J46-frozen-copy-that-runs")
def _(arena: Arena) -> None:
    """A handler of signals runs the program's code in the frozen copy: it is given up after a while, and dies."""
    before = descendants(os.getpid())
    with arena.box({}).open() as session:
        session.execute(
            "import os, signal, time\ndef handler(*_):\n    while True: time.sleep(1)\n"
            "signal.signal(signal.SIGUSR1, handler)\n"
            "def wake():\n    for p in os.listdir('/proc'):\n"
            "        if p.isdigit() and int(p) not in (1, os.getpid()):\n"
            "            try: os.kill(int(p), signal.SIGUSR1)\n            except PermissionError: pass  # the template"
        )
        began = time.monotonic()
        words = _said(session, "wake(); 1 / 0")
        assert "broke" in words and time.monotonic() - began < 8, words
    assert settles(lambda: descendants(os.getpid()) == before)


@special("J47-session-made-in-advance")
def _(arena: Arena) -> None:
    """The session that waits for its caller is out of reach of the one that is used."""
    with open_sandbox("jail", workspace=arena.work, policy=Policy(history=0)) as box:
        with box.open() as one:
            one.execute("1")  # now the next one is made
            time.sleep(0.2)
            run = one.execute(
                "import os, signal\n"
                "others = [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid())]\n"
                "for folder in ('/ws/work', '/tmp', '/dev/shm'): open(folder + '/planted', 'w').write('x')\n"
                "try: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass\nlen(others)",
                on_error="keep",
            )
            assert run.value == "1", run  # what its own process was forked from
        with box.open() as two:
            seen = two.execute("import os; [os.path.exists(f + '/planted') for f in ('/ws/work', '/tmp', '/dev/shm')]")
    assert seen.value == "[False, False, False]", seen


@special("C12-locks-end-with-their-session")
def _(arena: Arena) -> None:
    """A lock on a file that is shown to all can be seen by others (documented); it never outlives its session."""
    path = arena.granted / "file.txt"
    lock = f"import fcntl, os\nfd = os.open({str(path)!r}, os.O_RDONLY)\nfcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with arena.box({}).open() as one:
        assert one.execute(lock, on_error="keep").ok
    with arena.box({}).open() as two, path.open() as ours:
        assert two.execute(lock + "\nos.close(fd)").ok
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)


@special("E27-archives-are-not-unpacked")
def _(arena: Arena) -> None:
    with arena.box({}).open() as session:
        session.execute(
            "import zipfile, gzip\nwith zipfile.ZipFile('bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:\n"
            f"    z.writestr('../../{MARK}', bytes(100 << 20))\n"
            "open('bomb.gz', 'wb').write(gzip.compress(bytes(50 << 20)))",
            wall_seconds=20,
        )
        sizes = {c.path: c.size for c in session.changes()}
    assert set(sizes) == {"bomb.zip", "bomb.gz"} and sum(sizes.values()) < 1 << 20, sizes


@special("I16-many-sessions-at-once")
def _(arena: Arena) -> None:
    """As many sessions as the host opens: each stays within its own limits, and all of them end."""
    before = descendants(os.getpid())
    with ExitStack() as stack:
        sessions = [stack.enter_context(arena.box({}).open()) for _ in range(40)]
        for number, session in enumerate(sessions):
            assert session.execute(f"mine = {number}; mine").value == str(number)
    assert settles(lambda: len(descendants(os.getpid())) <= len(before))


@special("I18-warm-process-killed")
def _(arena: Arena) -> None:
    """Sessions of a warm process that was killed are lost in plain words; the next one comes from a new one."""
    before = descendants(os.getpid())
    with open_sandbox("jail", workspace=arena.work, ahead=False) as box:
        launcher, zygote = sorted(descendants(os.getpid()) - before)
        with box.open() as session:
            os.kill(zygote, signal.SIGKILL)
            assert settles(lambda: "broke" in _said(session, "2 + 2"))
        with box.open() as session:
            assert session.execute("2 + 2").value == "4"
        assert not {launcher, zygote} & descendants(os.getpid())


# -- I19, I20 ----------------------------------------------------------------------------------------------------------


@special("I19-two-hundred-sessions")
def _(arena: Arena) -> None:
    box = arena.box({})

    def once() -> None:
        with box.open() as session:
            session.execute("import subprocess; open('f', 'w').write('x' * 10000); subprocess.Popen(['sleep', '50'])")

    for _ in range(10):
        once()
    before, memory = arena.look(), resident()
    for _ in range(200):
        once()
    assert not (changed := arena.differences(before)), changed
    assert resident() - memory < 4 << 20, f"grew by {(resident() - memory) >> 10} KiB"


_HOST = """
import os, sys, time
sys.path.insert(0, {repository!r})
from sandbox import Policy, open_sandbox
with open_sandbox("jail", policy=Policy(wall_seconds=60, processes=40, memory_bytes=1 << 30)) as box:
    with box.open() as session:
        session.execute("import ctypes; ctypes.CDLL(None).prctl(15, b'{name}')")
        print("ready", flush=True)
        session.execute({program!r})
"""


@special("I20-host-killed")
def _(arena: Arena) -> None:
    programs = {
        "sleep": "import time; time.sleep(60)",
        "storm": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "daemon": _DAEMON.replace("/ws/work/beat", "/tmp/beat") + "time.sleep(60)",
    }
    for kind, program in programs.items():
        kill_the_host(f"atk{os.getpid()}{kind[:3]}"[:15], program, arena.base)


def kill_the_host(name: str, program: str, scratch: Path) -> None:
    source = _HOST.format(repository=str(Path(__file__).resolve().parents[2]), name=name, program=program)
    environment = {**os.environ, "TMPDIR": str(scratch)}
    host = subprocess.Popen([sys.executable, "-I", "-c", source], env=environment, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None and host.stdout.readline() == "ready\n"
    assert settles(lambda: bool(_named(name))), "the program runs"
    time.sleep(0.3)
    below = descendants(host.pid)
    host.kill()
    host.wait()
    host.stdout.close()
    assert settles(lambda: not _named(name) and not any(map(_alive, below)), 1.0), (name, _named(name))
    for group in Path("/sys/fs/cgroup").glob(f"*/sandsmith/{host.pid}-*"):
        group.rmdir()  # empty by now, and nobody is left to remove it
    with Scratch(scratch) as ours:  # the next start removes what a killed process could not
        assert list(scratch.glob("sandsmith-live-*")) == [ours]


def _named(name: str) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text().strip() == name and _alive(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def settles(holds: Callable[[], bool], seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
