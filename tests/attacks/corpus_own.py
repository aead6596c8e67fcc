"""J: attacks on this very construction. G: programs that escape restricted Python, run as plain Python in the jail."""

from __future__ import annotations

from cases import HANGS, Case

_ALL_PIDS = "others = [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]\n"
_SHELLCODE = """
import mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("b8%scd80c3"))  # mov eax, NR; int 0x80; ret
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
print("LEAK", run(), flush=True)
"""

OWN = [
    # -- the layers below the view
    Case(
        "J01-layers-by-path-descriptor",
        "for top in ('/.layers', '/.lower'):\n"
        "    fd = os.open(top, os.O_PATH)\n"
        "    for name in ('upper', 'kept', 'kept/upper', 'work', 'folder'):\n"
        "        attempt(os.listdir, f'/proc/self/fd/{fd}/{name}')\n"
        "    attempt(os.fchdir, fd)",
        control="",
    ),
    Case("J02-layers-remade", "for top in ('/.layers', '/.lower'): attempt(os.mkdir, top + '/upper')", control=""),
    Case(
        "J03-overlay-attributes-by-name",
        "os.mkdir('d')\n"
        "for name in ('opaque', 'redirect', 'whiteout', 'metacopy', 'origin', 'upper', 'nlink'):\n"
        "    for prefix in ('trusted.overlay.', 'security.'): attempt(os.setxattr, 'd', prefix + name, b'y')",
        control="",
        refusals=("EOPNOTSUPP",),
    ),
    Case(
        "J04-file-capability",
        "open('f', 'w').close()\nattempt(os.setxattr, 'f', 'security.capability', struct.pack('5I', 0x02000001, 1, 0, 0, 0))",
    ),
    Case(
        "J05-own-process-files",
        "names = ('oom_score_adj', 'coredump_filter', 'clear_refs', 'timerslack_ns', 'comm', 'setgroups', 'mem')\n"
        "for name in names: attempt(open, f'/proc/self/{name}', 'w')",
    ),
    Case("J06-entropy", "attempt(open, '/dev/urandom', 'wb')\nattempt(open, '/dev/random', 'wb')"),
    Case(
        "J07-handles-of-the-view",
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))\n"
        'attempt(call, "name_to_handle_at", -100, WORK.encode(), handle, ctypes.byref(ctypes.c_int()), 1 << 9)',
    ),
    Case(
        "J09-processes-of-others",
        "seen = [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid())]\n"
        "print('LEAK' if len(seen) > 1 else 'pid 1, the template and this one', seen[:9])",
    ),
    # -- the frozen copy, pid 1, and what they hold
    Case(
        "J10-trace-the-frozen-copy",
        'for pid in targets(): attempt(call, "ptrace", 0x4206, pid, 0, 0)',
        on_error="rollback",
    ),
    Case(
        "J11-open-the-frozen-copy",
        "for pid in targets():\n"
        "    for name in ('mem', 'maps', 'environ', 'fd/3', 'root/ws', 'cwd/.', 'ns/pid'):\n"
        "        attempt(os.open, f'/proc/{pid}/{name}', os.O_RDONLY)",
        on_error="rollback",
        refusals=("ENXIO",),
    ),
    Case(
        "J12-limit-the-frozen-copy",
        "import resource\nfor pid in targets(): attempt(resource.prlimit, pid, resource.RLIMIT_CPU)",
        on_error="rollback",
    ),
    Case(
        "J13-kill-pid-1-by-its-group",
        "group = os.getpgid(1 if JAIL else VICTIM)\nattempt(os.killpg, group, 0) if group else print('it has none in here')",
        abi=6,
    ),
    Case(
        "J14-signal-of-a-descriptor",
        "import fcntl\nr, w = os.pipe()\n"
        "for pid in (1, *others) if JAIL else ():\n"
        "    try:\n"
        "        fcntl.fcntl(r, 8, pid); fcntl.fcntl(r, 10, signal.SIGKILL)  # F_SETOWN, F_SETSIG\n"
        "        fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\n"
        "        os.write(w, b'x'); os.read(r, 1)\n"
        "    except OSError: pass\n"
        "time.sleep(0.1)\nprint('pid 1', os.stat('/proc/1').st_uid >= 0)".replace(
            "import fcntl\n", "import fcntl\n" + _ALL_PIDS
        ),
        says="pid 1 True",
        control="",
    ),
    Case(
        "J15-children-of-pid-1",
        "for number in (9, 15, 17, 0):\n"
        '    pid = call("clone", 0x8000 | number, 0, 0, 0, 0)  # CLONE_PARENT\n'
        "    pid or os._exit(0)\n"
        "time.sleep(0.1)\nprint('pid 1', os.path.exists('/proc/1'))",
        says="pid 1 True",
        control="",
    ),
    Case(
        "J16-zombies-for-pid-1",
        "for _ in range(60):\n"
        "    try: pid = os.fork()\n"
        "    except OSError: break\n"
        "    if pid == 0:\n"
        "        try: os.fork()\n"
        "        finally: os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "print('done')",
        says="done",
        control="",
        crowds=True,
    ),
    Case(
        "J17-stop-everything",
        "if os.fork() == 0:\n    os.setsid()\n    while True:\n"
        "        try: os.kill(-1, signal.SIGSTOP)\n        except OSError: pass\n"
        "time.sleep(60)",
        **HANGS,
        control="",
        on_error="rollback",
    ),
    Case(
        "J18-undead",
        "libc.prctl(1, 0)\nif os.fork() == 0:\n    os.setsid(); libc.prctl(1, 0); time.sleep(60)\n'end'",
        says="end",
        control="",
    ),
    Case(
        "J19-chain-of-forks",
        "for _ in range(8):\n    if os.fork() == 0:\n        while True:\n"
        "            try:\n                if os.fork(): os._exit(0)\n            except OSError: pass\n"
        "time.sleep(60)",
        status=("timeout", "memory"),
        limit=("wall", "memory"),
        control="",
        crowds=True,
        on_error="rollback",
        within=8,
    ),
    # -- the filter and the rules
    Case("J20-another-filter", 'attempt(call, "prctl", 22, 2, ctypes.create_string_buffer(64), 0, 0)', control=""),
    Case(
        "J21-strict-mode",
        'if os.fork() == 0:\n    attempt(call, "prctl", 22, 1, 0, 0, 0)\n    sys.stdout.flush()\nelse: os.wait()',
        control="",
    ),
    Case("J22-another-domain", 'reach("landlock_restrict_self", -1, 0)\nreach("landlock_add_rule", -1, 1, 0, 0)'),
    Case(
        "J23-rings-by-x32",
        "try: call(0x40000000 | 425, 4, 0)\nexcept OSError: pass\nprint('LEAK survived', flush=True)",
        status="killed",
        signal=31,
    ),
    Case("J24-rings-by-int80", _SHELLCODE % "a9010000", status="killed", signal=31),
    Case("J25-socket-by-int80", _SHELLCODE % "67010000", status="killed", signal=31),
    Case(
        "J26-clone-into-vm",
        'def start():\n    pid = call("clone", 0x10000000 | 0x20000000 | 17, 0, 0, 0, 0)\n    pid or os._exit(0)\n'
        "    os.waitpid(pid, 0)\n    return pid\nattempt(start)",
    ),
    Case("J27-process-madvise", 'reach("process_madvise", -1, None, 0, 4, 0)\nreach("process_mrelease", -1, 0)'),
    Case(
        "J28-quiet-copy",
        'r, w = os.pipe()\nattempt(call, "vmsplice", w, struct.pack("PN", id(b"x"), 8), 1, 0)',
        control="host",
    ),
    # -- limits, sideways
    Case(
        "J30-socket-buffers",
        "held = []\nwhile True:\n    one, two = socket.socketpair()\n    held += [one, two]\n"
        "    one.setblocking(False)\n    one.setsockopt(1, 7, 1 << 30)\n"
        "    try:\n        while True: one.send(bytes(1 << 16))\n    except BlockingIOError: pass",
        status=("error", "memory", "timeout"),
        limit=(None, "memory", "wall"),
        control="",
    ),
    Case(
        "J31-descriptors-in-flight",
        "import array\nheld = []\nwhile True:\n    one, two = socket.socketpair()\n    held += [one, two]\n"
        "    for _ in range(200): one.sendmsg([b'x'], [(1, 1, array.array('i', [0] * 200))])",
        status=("error", "killed"),
        control="",
    ),
    Case(
        "J32-timers",
        "n, kind = 0, ctypes.create_string_buffer(64)\nid_ = ctypes.c_int()\n"
        'try:\n    while n < 5000: call("timer_create", 1, None, ctypes.byref(id_)); n += 1\n'
        "except OSError as e: print('stopped', e.errno)\nprint('LEAK' if n >= 5000 else 'limited')",
    ),
    Case(
        "J33-threads-at-the-end",
        "import threading\n"
        "for _ in range(25): threading.Thread(target=lambda: time.sleep(60), daemon=True).start()\n'end'",
        says="end",
        control="",
    ),
    Case("J34-name", "libc.prctl(15, b'\\x1b[31m\\n) R 1')\n'end'", says="end", control=""),
    Case(
        "J35-vfork",
        'pid = os.posix_spawn("/bin/true", ["true"], {})\nos.waitpid(pid, 0)\nfor _ in range(50): subprocess.run(["true"])\n"end"',
        says="end",
        control="",
    ),
    Case(
        "J36-deaf-to-the-end",
        "for n in signal.valid_signals() - {9, 19}:\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: pass",
        **HANGS,
        control="",
    ),
    Case(
        "J37-watchdog",
        "import faulthandler\nfaulthandler.dump_traceback_later(0.1, exit=True)\ntime.sleep(60)",
        status="error",
        exit_code=1,
        control="",
    ),
    Case(
        "J38-flood-after-the-end",
        "import threading\nthreading.Thread(target=lambda: [os.write(1, b'x' * 4096) for _ in range(10 ** 9)], daemon=True).start()\n'end'",
        status=("ok", "output"),
        limit=(None, "output"),
        control="",
    ),
]


def _escape(id: str, reach_os: str, *, needs: str = "import json") -> Case:
    """A way from public names of a harmless module to `os`: in the jail it leads to nothing that the jail does not show."""
    return Case(
        id,
        f"{needs}\nfound = {reach_os}\nprint('reached', found.__name__)\nreveal(lambda: found.popen('cat ' + CANARY).read())",
        says="reached",
    )


RESTRICTED = [
    Case("G01-format", "print('{0.__class__.__base__}'.format(1))\nreveal(read, CANARY)", says="object"),
    _escape("G10-frames", "sys._getframe().f_builtins['__import__']('os')"),
    Case("G21-open", "reveal(lambda: open(CANARY).read())"),
    Case("G22-exec", 'exec(\'attempt(open, OUTSIDE + "/" + MARK, "w")\')'),
    _escape("G23-json-codecs", "json.codecs.sys.modules['os']"),
    _escape("G24-re-enum", "re.enum.sys.modules['os']"),
    _escape("G25-textwrap", "textwrap.re.enum.sys.modules['os']", needs="import textwrap"),
    _escape("G26-statistics", "statistics.sys.modules['os']", needs="import statistics"),
    _escape("G27-scanner", "scanner.re.enum.sys.modules['os']", needs="from json.decoder import scanner"),
    Case(
        "G28-attrgetter",
        "import operator\nkinds = operator.attrgetter('__class__.__base__.__subclasses__')(1)()\n"
        "opener = next(k for k in kinds if k.__name__ == 'FileIO') if any(k.__name__ == 'FileIO' for k in kinds) else open\n"
        "print('reached', len(kinds) > 100)\nreveal(lambda: opener(CANARY).read())",
        says="reached True",
    ),
    Case(
        "G29-methodcaller",
        "import operator\nprint('reached', len(operator.methodcaller('__subclasses__')(object)) > 100)\nreveal(read, CANARY)",
        says="reached True",
    ),
    Case(
        "G30-type-hints",
        "import typing\ndef f(a: '__import__(\"os\")'): pass\n"
        "try: typing.get_type_hints(f)\nexcept TypeError: pass\n"
        "def g(a: 'reveal(read, CANARY)'): pass\ntyping.get_type_hints(g)",
    ),
    Case(
        "G31-inspect",
        "import inspect\nprint('reached', inspect.currentframe().f_globals is globals())\nreveal(read, CANARY)",
        says="reached True",
    ),
    Case(
        "G32-codecs",
        "import codecs\nreveal(lambda: codecs.open(CANARY).read())\nimport linecache\nreveal(linecache.getlines, CANARY)",
    ),
    Case(
        "G33-code-objects",
        "import types\nf = types.FunctionType(compile('reveal(read, CANARY)', 'x', 'exec'), globals())\nf()",
    ),
    Case(
        "G36-lying-strings",
        "class S(str):\n    startswith = lambda *a: True\n    __eq__ = lambda *a: True\n    __hash__ = str.__hash__\nreveal(read, S(CANARY))",
    ),
    Case(
        "G40-pickle",
        "import pickle\nclass E:\n    def __reduce__(self): return (os.system, ('touch ' + OUTSIDE + '/' + MARK,))\npickle.loads(pickle.dumps(E()))\nprint('LEAK' if os.path.exists(OUTSIDE + '/' + MARK) else 'inside only')",
    ),
    Case(
        "G42-noise",
        "class E:\n    def __hash__(self): raise ValueError\n    def __eq__(self, o): return True\n    def __del__(self): raise ValueError('noise')\nE()\nprint('end')",
        says="end",
        control="",
    ),
    Case(
        "G43-source",
        "for text in ('\\0', '\\ufeff1', '# coding: x\\n1', '\\x0c1', 'a' * 10 ** 6, '1\\r2'):\n    try: exec(compile(text, 'x', 'exec'))\n    except (SyntaxError, ValueError, NameError): pass\nprint('end')",
        says="end",
        control="",
    ),
]
