"""E: taking more than the policy gives. The control is the same program with the limit raised."""

from __future__ import annotations

from typing import Any

from cases import HANGS, SHORT, Case

MIB = 1 << 20


def _memory(id: str, program: str, **more: Any) -> Case:
    """A program that takes 400 MiB where 192 are allowed."""
    more = {"status": "memory", "limit": "memory", "policy": {"wall_seconds": 10}} | more
    return Case(id, program + "\nprint('DONE')", control="raised", within=8, **more)


def _time(id: str, program: str, **more: Any) -> Case:
    """A program that takes longer than 0.4 s."""
    return Case(id, program + "\nprint('DONE')", **{**HANGS, "control": "raised", "within": 2, **more})


def _flood(id: str, program: str) -> Case:
    """A program that writes 4 MiB where 256 KiB are allowed."""
    return Case(
        id,
        program + "\nprint('DONE')",
        status="output",
        limit="output",
        signal=9,
        control="raised",
    )


_SPIN = "end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"

RESOURCES = [
    Case(
        "E01-huge-allocation",
        "import mmap\nheld = mmap.mmap(-1, 2 << 30)\nprint('DONE')",
        status="error",
        says="Cannot allocate memory",
        control="raised",
    ),
    Case("E01-bytearray", "held = bytearray(10 ** 11)", status="error", says="MemoryError", control=""),
    _memory("E02-list", "held = []\nfor _ in range(400): held.append(b'x' * (1 << 20))"),
    _memory(
        "E03-children",
        "import mmap\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        held = mmap.mmap(-1, 50 << 20, flags=mmap.MAP_PRIVATE)\n"
        "        for at in range(0, 50 << 20, 4096): held[at] = 1\n"
        "        time.sleep(0.3)\n"
        "        os._exit(0)\n"
        "for _ in range(8): os.wait()",
    ),
    _memory(
        "E28-shm",
        "with open('/dev/shm/fill', 'wb') as f:\n    for _ in range(400): f.write(bytes(1 << 20))",
        policy={"wall_seconds": 10, "disk_bytes": 512 * MIB},
    ),
    _memory(
        "E28-tmp",
        "with open('/tmp/fill', 'wb') as f:\n    for _ in range(400): f.write(bytes(1 << 20))",
        policy={"wall_seconds": 10, "disk_bytes": 512 * MIB},
    ),
    # Memory that no process maps cannot be watched where there is no control group, so nobody gets any.
    Case("E28-memfd", "attempt(os.memfd_create, 'fill')"),
    Case("E28-message-queue", 'attempt(lambda: call("msgctl", call("msgget", 0, 0o1600), 0, None))'),
    Case("E28-semaphores", 'attempt(lambda: call("semctl", call("semget", 0, 1000, 0o1600), 0, 0, 0))'),
    _memory(
        "E26-product", "import itertools\nheld = list(itertools.islice(itertools.product(range(9), repeat=9), 3000000))"
    ),
    _time("E04-loop", _SPIN),
    _time("E05-sleep", "time.sleep(0.5)"),
    _time("E06-masked", "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n" + _SPIN),
    _time("E06-ignored", "for n in (1, 2, 3, 13, 14, 15, 24): signal.signal(n, signal.SIG_IGN)\n" + _SPIN),
    _time("E18-regex", "re.match(r'(a+)+$', 'a' * 24 + 'b')"),
    _time("E19-power", "sum(1 for n in [3 ** (3 ** 12)] if n % 7)\n" + _SPIN),
    _time("E22-collisions", "class K(str):\n    __hash__ = lambda s: 1\n{K(n): 0 for n in range(3000)}\n" + _SPIN),
    _time("E25-decimal", "import decimal\ndecimal.getcontext().prec = 40000\ndecimal.Decimal(2).sqrt()\n" + _SPIN),
    _time("E30-at-exit", "class Late:\n    def __del__(self): time.sleep(0.5)\nLate()"),
    _time("E30-thread", "import threading\nthreading.Thread(target=time.sleep, args=(0.5,)).start()"),
    _time("E35-closed-output", "os.close(1); os.close(2)\n" + _SPIN, control=""),
    _time("E35-closed-channel", "os.close(3)\n" + _SPIN, control=""),
    _time("E35-shut-channel", "channel().shutdown(2)\n" + _SPIN, control=""),
    _time("E35-closed-all", "os.closerange(0, 4096)\n" + _SPIN, control=""),
    _time(
        "E36-trickle-of-frames",
        "c = channel()\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: c.sendall(frame(op='noise'))",
        status=("timeout", "killed"),  # each frame counts, too: a fast machine is over that limit first
        limit=("wall", None),
    ),
    _time(
        "E36-trickle-of-output",
        "end = time.monotonic() + 0.5\nwhile time.monotonic() < end: os.write(1, b'x')",
        policy={**SHORT, "output_bytes": 64 * MIB},
    ),
    _time("E36-half-frame", "channel().sendall(b'\\0\\0\\1\\0{')\n" + _SPIN, control=""),
    _flood("E13-flood", "for _ in range(4096): print('x' * 1023)"),
    _flood("E14-no-newline", "for _ in range(4096): sys.stdout.write('x' * 1024)"),
    _flood("E15-stderr", "for _ in range(4096): sys.stderr.write('x' * 1024)"),
    _flood("E15-children", "for _ in range(4): subprocess.run([sys.executable, '-c', 'print(\"x\" * (1 << 20))'])"),
    Case(
        "E08-threads",
        "import threading\nfor _ in range(40): threading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n"
        "print('DONE')",
        status="error",
        limit=("processes", None),
        says="thread",
        control="raised",
        crowds=True,
        policy={"processes": 16},
    ),
    Case(
        "E07-forks",
        "n = 0\ntry:\n    while n < 60:\n        if os.fork() == 0: time.sleep(1); os._exit(0)\n        n += 1\n"
        "finally: print('DONE' if n == 60 else 'stopped')",
        status=("error", "memory"),
        limit=("processes", "memory", None),
        control="raised",
        crowds=True,
        policy={"processes": 16},
    ),
    Case(
        "D24-vfork-bomb",
        "n = 0\ntry:\n    while n < 60: subprocess.Popen(['sleep', '1']); n += 1\n"
        "finally: print('DONE' if n == 60 else 'stopped')",
        status=("error", "memory"),
        limit=("processes", "memory", None),
        control="raised",
        crowds=True,
        policy={"processes": 16},
    ),
    Case(
        "E09-descriptors",
        "held = [open('/dev/null') for _ in range(5000)]",
        status="error",
        says="Too many open files",
        control="",
    ),
    Case(
        "E10-fill-work",
        "with open('fill', 'wb') as f:\n    for _ in range(64): f.write(bytes(1 << 20))\nprint('DONE')",
        status="error",
        limit=("disk", None),
        control="raised",
    ),
    Case(
        "E10-many-fills",
        "for n in range(8):\n    with open(f'fill{n}', 'wb') as f:\n        for _ in range(4): f.write(bytes(1 << 20))\n"
        "print('DONE')",
        status="error",
        limit="disk",
        control="raised",
    ),
    Case(
        "E11-files",
        "for n in range(2000): open(f'f{n}', 'w').close()\nprint('DONE')",
        status="error",
        limit="files",
        says="No space left",
        control="raised",
        policy={"files": 500},
    ),
    Case(
        "E11-files-in-tmp",
        "for n in range(2000): open(f'/tmp/f{n}', 'w').close()\nprint('DONE')",
        status="error",
        limit=None,
        says="No space left",
        control="raised",
        policy={"files": 500},
    ),
    Case(
        "E12-sparse",
        "with open('sparse', 'wb') as f: f.truncate(1 << 27)\nprint('DONE')",
        status="error",
        says="File too large",
        control="raised",
    ),
    Case(
        "E12-terabyte",
        "with open('sparse', 'wb') as f: f.truncate(1 << 40)",
        status="error",
        says="File too large",
        control="",
    ),
    Case("E16-recursion", "def f(): f()\nf()", status="error", says="RecursionError", control=""),
    Case(
        "E17-deep-recursion",
        "sys.setrecursionlimit(10 ** 9)\ndef f(n): return [f(n + 1)]\nimport json\njson.dumps([f(0)])",
        status=("killed", "error", "memory", "timeout"),
        limit=(None, "memory", "wall"),
        control="",
    ),
    Case("E17-deep-json", "import json\njson.loads('[' * 10 ** 6)", status="error", says="RecursionError", control=""),
    Case(
        "E17-no-core-file",
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "if (pid := os.fork()) == 0: ctypes.string_at(0)\n"
        "print('LEAK' if os.WCOREDUMP(os.waitpid(pid, 0)[1]) else 'no core file')",
        says="no core file",
    ),
    Case("E20-digits", "int('9' * 10 ** 7)", status="error", says="ValueError", control=""),
    Case("E20-text", "str(10 ** 10 ** 4)", status="error", says="ValueError", control=""),
    Case("E21-string", "held = 'a' * 10 ** 10", status="error", says="MemoryError", control=""),
    Case("E21-repeat", "held = [[]] * 10 ** 9", status="error", says="MemoryError", control=""),
    Case(
        "E23-deep-source",
        "compile('(' * 10 ** 5 + ')' * 10 ** 5, 'x', 'eval')",
        status=("error", "killed"),
        control="",
    ),
    Case(
        "E29-pipes",
        "held = []\nwhile True:\n    r, w = os.pipe()\n    os.set_blocking(w, False)\n    held.append(w)\n"
        "    try:\n        while True: os.write(w, bytes(65536))\n    except BlockingIOError: pass\n",
        status=("error", "memory"),
        limit=(None, "memory"),
        control="",
    ),
    Case(
        "E29-epoll",
        "import select\nr, w = os.pipe()\nheld = []\n"
        "while True:\n    e = select.epoll()\n    held.append(e)\n    e.register(r)\n    e.register(w)",
        status="error",
        says="Too many open files",
        control="",
    ),
    Case("E31-turtle", "import turtle\nturtle.Turtle()", status="error", says="Error", control=""),
    Case("E31-heavy-imports", "import antigravity, this", status=("ok", "error"), control="", within=4),
]
