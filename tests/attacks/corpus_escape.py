"""D: power over processes, namespaces, mounts and the kernel."""

from __future__ import annotations

from cases import HANGS, Case

_NEW = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000}
_SHELLCODE = """
import mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
print("LEAK", run(), flush=True)
"""

ESCAPE = [
    Case(
        "D01-signal-others",
        "for pid in targets(): attempt(os.kill, pid, 0 if pid == VICTIM else signal.SIGCHLD)",
        abi=6,
    ),
    Case("D01-kill-init", "attempt(os.kill, 1 if JAIL else VICTIM, 0)", abi=6),
    Case(
        "D02-kill-all",
        "try: JAIL and os.kill(-1, 9)\nexcept OSError: pass\nprint('still here')",
        says="still here",
        control="",
    ),
    Case("D03-stop-parent", "attempt(os.kill, os.getppid(), signal.SIGSTOP if JAIL else 0)", abi=6),
    Case("D04-kill-group", "os.killpg(0, 9)", status="killed", signal=9, control=""),
    Case("D05-ptrace-seize", 'for pid in targets(): attempt(call, "ptrace", 0x4206, pid, 0, 0)'),
    Case("D05-ptrace-traceme", 'attempt(call, "ptrace", 0, 0, 0, 0)'),
    Case(
        "D06-read-memory",
        "buffer = ctypes.create_string_buffer(39)\n"
        "local = ctypes.create_string_buffer(struct.pack('PN', ctypes.addressof(buffer), 39))\n"
        "remote = ctypes.create_string_buffer(struct.pack('PN', ADDRESS, 39))\n"
        'for pid in targets(): attempt(call, "process_vm_readv", pid, local, 1, remote, 1, 0)',
    ),
    Case(
        "D06-write-memory",
        "buffer = ctypes.create_string_buffer(b'owned')\n"
        "local = ctypes.create_string_buffer(struct.pack('PN', ctypes.addressof(buffer), 5))\n"
        "remote = ctypes.create_string_buffer(struct.pack('PN', ADDRESS + 64, 5))\n"
        'for pid in targets(): attempt(call, "process_vm_writev", pid, local, 1, remote, 1, 0)',
    ),
    Case("D07-open-memory", 'for pid in targets(): attempt(open, f"/proc/{pid}/mem", "r+b")'),
    Case(
        "D08-take-descriptor",
        "for pid in targets():\n"
        "    try: fd = os.pidfd_open(pid)\n"
        "    except OSError: continue\n"
        '    attempt(call, "pidfd_getfd", fd, 0, 0)',
    ),
    *(
        Case(
            f"D09-unshare-{name}",
            f'attempt(call, "unshare", {flag} if JAIL or os.getuid() == 0 else {flag | _NEW["user"]})',
        )
        for name, flag in _NEW.items()
    ),
    *(
        Case(
            f"D09-{name}",
            f'def start():\n    pid = call("clone", {flags}, 0, 0, 0, 0)\n    pid or os._exit(0)\n'
            "    os.waitpid(pid, 0)\n    return pid\nattempt(start)",
        )
        for name, flags in (("clone-user", 0x10000011), ("clone-high-bits", 0x1_1000_0011))
    ),
    Case(
        "D09-clone3",
        "args = ctypes.create_string_buffer(struct.pack('8Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0))\n"
        'def start():\n    pid = call("clone3", args, 64)\n    pid or os._exit(0)\n    return pid\nattempt(start)',
        says=" 38",
    ),
    Case("D10-join-namespace", 'for pid in targets(): attempt(os.open, f"/proc/{pid}/ns/mnt", os.O_RDONLY)'),
    Case(
        "D10-setns",
        'alone()\nfd = os.open("/proc/self/ns/mnt", 0) if not JAIL else 1\nattempt(call, "setns", fd, 0x20000)',
    ),
    Case("D11-mount-tmpfs", 'alone()\nattempt(call, "mount", b"none", b"/tmp", b"tmpfs", 0, None)'),
    Case("D11-mount-proc", 'alone()\nattempt(call, "mount", b"/usr", b"/tmp", None, 4096, None)'),
    Case(
        "D11-umount",
        'alone()\nif not JAIL: call("mount", b"n", b"/tmp", b"tmpfs", 0, None)\nattempt(call, "umount2", b"/tmp", 2)',
    ),
    Case("D11-fsopen", 'alone()\nattempt(call, "fsopen", b"tmpfs", 0)'),
    Case("D11-open-tree", 'alone()\nattempt(call, "open_tree", -100, b"/usr", 1)'),
    Case("D11-open-tree-path", 'attempt(call, "open_tree", -100, b"/usr", 0)'),
    Case(
        "D11-move-mount",
        'alone()\nfd = call("open_tree", -100, b"/usr", 1) if not JAIL else 1\n'
        'attempt(call, "move_mount", fd, b"", -100, b"/tmp", 4)',
    ),
    Case(
        "D11-mount-setattr",
        'alone()\nfd = call("open_tree", -100, b"/usr", 1) if not JAIL else 1\n'
        'attempt(call, "mount_setattr", fd, b"", 0x1000, struct.pack("4Q", 1, 0, 0, 0), 32)',
    ),
    Case("D12-chroot", 'alone()\nattempt(os.chroot, "/tmp")'),
    Case(
        "D13-pivot-root",
        'alone()\nif not JAIL:\n    call("mount", b"n", b"/tmp", b"tmpfs", 0, None)\nos.chdir("/tmp")\n'
        'attempt(call, "pivot_root", b".", b".")',
    ),
    Case("D15-bpf", 'attempt(call, "bpf", 0, struct.pack("5I", 2, 4, 4, 1, 0) + bytes(100), 120)'),
    Case(
        "D15-perf",
        'attributes = struct.pack("IIQQQQQ", 1, 128, 0, 0, 0, 0, 0b1100001) + bytes(80)\n'
        'attempt(call, "perf_event_open", attributes, 0, -1, -1, 0)',
    ),
    Case("D15-userfaultfd", 'attempt(call, "userfaultfd", 1)'),
    Case("D15-kcmp", 'attempt(call, "kcmp", os.getpid(), os.getpid(), 0, 0, 0)'),
    Case("D15-modify-ldt", 'attempt(call, "modify_ldt", 0, ctypes.create_string_buffer(64), 64)'),
    Case("D15-iopl", 'attempt(call, "iopl", 3)'),
    Case("D15-memfd-secret", 'attempt(call, "memfd_secret", 0)'),
    Case("D15-fanotify", 'attempt(call, "fanotify_init", 0x200, 0)'),
    Case("D15-numa", 'attempt(call, "get_mempolicy", None, None, 0, 0, 0)'),
    Case("D16-init-module", 'reach("init_module", 0, 0, b"")'),
    Case("D16-kexec", 'reach("kexec_load", 0, 1 << 30, 0, 0)'),
    Case("D16-reboot", 'reach("reboot", 0, 0, 0, 0)'),
    Case("D16-swapon", 'reach("swapon", b"/nothing", 0)'),
    Case("D16-acct", 'reach("acct", b"/nothing")'),
    Case("D16-set-clock", 'reach("clock_settime", 99, 0)\nreach("settimeofday", 1, 1)'),
    *(
        Case(
            f"D17-{name}",
            "fd = 0\nif not JAIL:\n    import fcntl, pty, termios\n    os.setsid()\n    fd = pty.openpty()[1]\n"
            "    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)\n"
            f'attempt(call, "ioctl", fd, {request}, ctypes.create_string_buffer(b"x"))',
        )
        for name, request in (("tiocsti", 0x5412), ("tiocsti-high-bits", 0x1_0000_5412))
    ),
    Case("D17-tioclinux", 'reach("ioctl", 0, 0x541C, b"\\6")\nreach("ioctl", 0, 1 << 40 | 0x541C, b"\\6")'),
    Case("D17-terminals", 'attempt(os.open, "/dev/ptmx", os.O_RDWR)'),
    Case("D18-executable-data", 'attempt(call, "personality", 0x0400000)'),
    Case("D18-no-randomization", 'attempt(call, "personality", 0x0040000 | 1 << 40)'),
    Case("D19-dumpable", 'attempt(call, "prctl", 4, 1, 0, 0, 0)'),
    Case("D19-securebits", 'attempt(call, "prctl", 28, 0, 0, 0, 0)'),
    Case("D19-mm", 'reach("prctl", 35, 99, 0, 0, 0)'),
    Case("D19-ptracer", 'reach("prctl", 0x59616D61, -1, 0, 0, 0)'),
    Case("D20-int80", _SHELLCODE, status="killed", signal=31),
    Case(
        "D20-x32",
        "try: call(0x40000000 + 39)\nexcept OSError: pass\nprint('LEAK survived', flush=True)",
        status="killed",
        signal=31,
    ),
    Case("D20-unknown-call", "try: call(1000)\nexcept OSError as e: print(e.errno)", says="38", control=""),
    Case("D21-setuid", "attempt(os.setuid, 0)"),
    Case("D21-setgroups", "attempt(os.setgroups, [0])"),
    Case(
        "D21-capset",
        'header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1, 1, 0, 0, 0, 0)\n'
        'attempt(call, "capset", header, data)',
    ),
    Case(
        "D21-no-capabilities",
        "text = subprocess.check_output(['cat', '/proc/self/status'], text=True)\n"
        "caps = {k: v.strip() for k, _, v in (l.partition(':') for l in text.splitlines()) if k.startswith('Cap')}\n"
        "print('LEAK' if any(int(v, 16) for v in caps.values()) else 'none', caps)",
    ),
    Case(
        "D21-setuid-program",
        "import shutil\nprint(subprocess.run([shutil.which('su') or 'su', '-c', 'id'],\n"
        "    capture_output=True, stdin=subprocess.DEVNULL).returncode != 0)",
        says="True",
        control="",
    ),
    Case(
        "D22-own-program",
        "import shutil\nshutil.copy(shutil.which('cat'), 'own')\n"
        "reveal(lambda: subprocess.check_output(['./own', CANARY], stderr=subprocess.DEVNULL))",
        refusals=("CalledProcessError",),
    ),
    Case("D22-execveat", 'reach("execveat", -1, b"", None, None, 0x1000)'),
    Case("D22-child", "reveal(lambda: subprocess.check_output(['cat', CANARY]))", refusals=("CalledProcessError",)),
    Case(
        "D23-preload",
        "reveal(lambda: subprocess.check_output(['cat', CANARY], env={'LD_PRELOAD': '/ws/work/evil.so', **os.environ}))",
        refusals=("CalledProcessError",),
    ),
    Case("D25-realtime", "attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))"),
    Case("D25-batch", "attempt(os.sched_setscheduler, 0, os.SCHED_BATCH, os.sched_param(0))"),
    Case("D25-nice", "attempt(os.setpriority, os.PRIO_PROCESS, 0, -5)"),
    Case("D25-lock-memory", 'attempt(call, "mlockall", 1)'),
    Case("D28-subreaper", 'attempt(call, "prctl", 36, 1, 0, 0, 0)'),
    Case("D29-stop-self", "os.kill(os.getpid(), signal.SIGSTOP)", **HANGS, control=""),
    Case(
        "D30-seccomp-listener",
        'code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))\n'
        'program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))\nlibc.prctl(38, 1, 0, 0, 0)\n'
        'attempt(call, "seccomp", 1, 8, program)',
    ),
    Case(
        "D31-limits-of-others",
        "import resource\nfor pid in targets(): attempt(resource.prlimit, pid, resource.RLIMIT_CORE, (0, 0))",
    ),
    Case(
        "D32-signal-by-descriptor",
        "for pid in targets(): attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0))",
        abi=6,
    ),
    Case("D33-host-name", 'alone()\nif not JAIL: call("unshare", 0x04000000)\nattempt(socket.sethostname, "owned")'),
    Case("D33-quota", 'reach("quotactl", 0x800002 << 8, b"/dev/vda", 0, None)'),
    Case(
        "D34-raise-limits",
        "import resource\nattempt(resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))",
        refusals=("ValueError",),
    ),
    Case("D34-landlock-undo", 'reach("landlock_create_ruleset", None, 0, 1)'),
]
