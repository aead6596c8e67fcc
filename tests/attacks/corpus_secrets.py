"""A, F: what a program could learn about the host, its user, and other sessions."""

from __future__ import annotations

from cases import Case

_SCAN_MEMORY = r"""
import gc
reader, writer = os.pipe2(os.O_NONBLOCK)
def page(address):
    "The page at `address`, or nothing: writing from an address that is not mapped fails with EFAULT."
    libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return os.read(reader, 4096) if libc.write(writer, address, 4096) == 4096 else b""
todo = {id(o) & ~4095 for o in gc.get_objects()} | {ctypes.addressof(ctypes.c_char.in_dll(libc, "environ")) & ~4095}
todo |= {id(v) & ~4095 for o in gc.get_objects() if type(o) is dict for v in list(o.values())[:50]}
seen, last, found = set(), b"", False
while todo and not found and len(seen) < 60_000:
    at = todo.pop()
    for step in (4096, -4096):
        address, last = at, b""
        while address not in seen and address > 0:
            data = page(address)
            if not data:
                break
            seen.add(address)
            both = last[-64:] + data if step > 0 else data + last[:64]
            if b"canary-" in both and secret(both):
                found = True
                break
            last = data
            address += step
print(len(seen) > 500, "pages")
"""

READ = [
    Case("A01-shadow", 'attempt(open, "/etc/shadow")'),
    Case("A01-real-accounts", 'attempt(__import__("pwd").getpwnam, "daemon")', refusals=("KeyError",)),
    Case("A02-ssh-key", "reveal(read, KEY)"),
    Case("A02-canary", "reveal(read, CANARY)"),
    Case(
        "A03-tree",
        'known = "bin dev etc lib lib32 lib64 libx32 proc sbin tmp usr ws .layers .lower".split() + SHOWN\n'
        'strange = set(os.listdir("/")) - set(known)\n'
        'print("LEAK" if strange else "only the jail", strange)',
    ),
    Case("A04-environ-of-others", 'for pid in targets(): attempt(lambda: read(f"/proc/{pid}/environ")[0])'),
    Case("A04-first-process", 'if JAIL: attempt(open, "/proc/1/environ")\nelse: attempt(open, "/proc/self/environ")'),
    Case("A05-own-environ", 'reveal(subprocess.check_output, ["cat", "/proc/self/environ"])'),
    Case("A06-parent-maps", 'attempt(open, f"/proc/{os.getppid()}/maps")'),
    Case("A06-memory-of-others", 'for pid in targets(): attempt(open, f"/proc/{pid}/mem", "rb")'),
    Case("A07-symlink", 'os.symlink(CANARY, "link")\nreveal(read, "link")'),
    Case(
        "A07-accounts",
        'os.symlink("/etc/passwd", "link")\nprint("LEAK" if b"daemon" in read("link") else "not those of the host")',
    ),
    Case("A08-proc-root", 'reveal(read, "/proc/self/root" + CANARY)'),
    Case("A08-root-of-others", 'for pid in targets(): reveal(read, f"/proc/{pid}/root{CANARY}")'),
    Case(
        "A09-reopen-descriptors",
        'for fd in range(1024): reveal(read, f"/proc/self/fd/{fd}") if fd > 2 else 0',
        refusals=("ENXIO",),
    ),
    Case(
        "A09-descriptors-of-others",
        "for pid in targets():\n"
        '    attempt(lambda: [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")][0])',
    ),
    Case("A10-dot-dot", 'reveal(read, "../" * 30 + CANARY)'),
    Case("A10-cwd-of-others", 'for pid in targets(): attempt(os.listdir, f"/proc/{pid}/cwd")'),
    Case(
        "A11-open-by-handle",
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))\n"
        "mount = ctypes.c_int()\n"
        'try: call("name_to_handle_at", -100, GRANTED.encode(), handle, ctypes.byref(mount), 0)\n'
        "except OSError: struct.pack_into('Iiq', handle, 0, 8, 1, 2)  # the root inode of many file systems\n"
        'attempt(call, "open_by_handle_at", os.open(GRANTED, 0), handle, os.O_RDONLY)',
    ),
    Case(
        "A12-name-to-handle",
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))\n"
        'attempt(call, "name_to_handle_at", -100, b"/usr", handle, ctypes.byref(ctypes.c_int()), 0)',
    ),
    Case(
        "A13-fchdir",
        'for fd in range(3, 1024):\n    try: os.fchdir(fd)\n    except OSError: continue\n    print("LEAK", fd)\nprint("tried")',
    ),
    *(
        Case(f"A14-{path.strip('/').replace('/', '-')}", f"attempt(open, {path!r}, 'rb')")
        for path in (
            *(
                "/proc/kcore",
                "/proc/kallsyms",
                "/proc/version",
                "/proc/meminfo",
                "/proc/cpuinfo",
                "/proc/sys/kernel/osrelease",
            ),
            *("/proc/cmdline", "/dev/kmsg", "/dev/mem", "/dev/tty0", "/proc/net/tcp", "/proc/sysvipc/shm"),
        )
    ),
    Case("A14-sys", 'attempt(os.listdir, "/sys/kernel")'),
    Case("A15-run", 'attempt(os.listdir, "/run")\nattempt(os.stat, "/var/run/docker.sock")'),
    Case("A16-metadata", "attempt(socket.create_connection, ('169.254.169.254', 80), 0.5)", control=""),
    Case("A17-files-of-a-sibling", 'attempt(open, WORK + "/sibling.txt")', control="sibling"),
    Case(
        "A18-leftovers",
        'attempt(open, os.environ["TMPDIR"] + "/sibling")\nattempt(open, "/dev/shm/sibling")',
        control="sibling",
    ),
    Case("A19-keyctl", 'attempt(call, "keyctl", 0, -3, 1)'),
    Case("A19-add-key", 'attempt(call, "add_key", b"user", b"escape", b"x", 1, -2)'),
    Case("A20-own-memory", _SCAN_MEMORY, within=6),
    Case("A21-file-of-another-owner", 'attempt(open, WORK + "/theirs.txt")'),
    Case("A22-hidden-layers", 'for p in ("/.layers", "/.lower"): attempt(lambda: os.listdir(p)[0])', control=""),
    Case(
        "A23-layers-through-pid-1",
        'for fd in range(64): reveal(os.listdir, f"/proc/1/fd/{fd}/upper")',
        control="",
    ),
]

LEARN = [
    Case("F01-environment", "reveal(str, dict(os.environ))"),
    Case(
        "F01-only-known-names",
        "known = set('HOME LANG LC_ALL MPLBACKEND PATH PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE TMPDIR USER'\n"
        "    ' PYTHONWARNINGS LC_CTYPE JOBLIB_MULTIPROCESSING TORCH_CPP_LOG_LEVEL'.split())\n"
        "strange = {n for n in os.environ if n not in known and not n.endswith('_NUM_THREADS')}\n"
        "print('LEAK' if strange else 'known only', strange)",
    ),
    Case(
        "F02-descriptors",
        "open_ones = []\n"
        "for fd in range(4096):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: continue\n"
        "    open_ones.append(fd)\n"
        "print('LEAK' if set(open_ones) - {0, 1, 2, 3} else 'stdio and the channel', open_ones)",
    ),
    Case("F03-stdin", "print('at its end:', repr(sys.stdin.read()))", says="at its end: ''", control=""),
    Case("F04-command-lines", 'for p in os.listdir("/proc"): reveal(read, f"/proc/{p}/cmdline") if p.isdigit() else 0'),
    Case(
        "F05-modules-of-the-host",
        "strange = [m for m in sys.modules if m.split('.')[0] in ('sandbox', 'agent', 'prompts', 'pytest', 'arena')]\n"
        "print('LEAK' if strange else 'none', strange)",
        control="",
    ),
    Case(
        "F06-frames",
        "f, found = sys._getframe(), False\n"
        "while f:\n"
        "    found |= secret(repr({k: v for k, v in f.f_locals.items() if k != 'f'})[:1_000_000])\n"
        "    f = f.f_back\n"
        "if not JAIL: secret(str(dict(os.environ)))\nprint('looked')",
    ),
    Case("F07-code-of-a-sibling", _SCAN_MEMORY, control="sibling", within=6),
    Case("F08-page-cache", 'attempt(call, "mincore", id(0) & ~4095, 4096, ctypes.create_string_buffer(1))'),
    Case(
        "F09-host-name",
        "names = {socket.gethostname(), os.uname().nodename}\nprint('LEAK' if HOSTNAME in names else 'another', names)",
    ),
    Case("F09-machine-id", 'attempt(open, "/etc/machine-id")'),
    Case("F09-hardware", 'attempt(os.listdir, "/sys/class/net")\nattempt(open, "/proc/net/dev")'),
    Case(
        "F10-cgroup-path",
        'text = subprocess.check_output(["cat", "/proc/self/cgroup"], text=True)\n'
        "print('LEAK' if 'sandsmith' in text else 'no path of the host')",
        control="",
    ),
    Case(
        "F10-mounts",
        'text = subprocess.check_output(["cat", "/proc/self/mountinfo"], text=True)\n'
        "print('LEAK' if OUTSIDE in text or os.path.dirname(KEY) in text else 'only what is granted')",
        control="",
    ),
    Case(
        "F10-watching-the-host",
        'attempt(lambda: call("inotify_add_watch", call("inotify_init1", 0), b"/usr/bin", 0x20))',
    ),
    Case("F11-kernel-log", 'attempt(call, "syslog", 10, None, 0)'),
    Case("F11-adjtimex", 'attempt(call, "adjtimex", ctypes.create_string_buffer(512))'),
]
