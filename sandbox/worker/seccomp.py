"""The system calls a program may make: an allow-list compiled to a seccomp filter.

Everything not named is denied with EPERM; calls newer than our table get ENOSYS, so that the C library falls back;
a call of another architecture or of the x32 table kills the process. Arguments are compared by their low 32 bits,
which is all the kernel looks at for the ones checked here (see CVE-2019-10063).
Sources: seccomp(2), Linux `Documentation/userspace-api/seccomp_filter.rst`, moby's default profile.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from .kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall
from .syscalls import AUDIT_ARCH, LAST, machine, numbers

__all__ = ["ALLOWED", "Instruction", "assemble", "compile_policy", "install", "policy"]

ALLOWED: Final = frozenset(
    """
    access alarm arch_prctl brk capget chdir chmod chown clock_getres clock_gettime clock_nanosleep close
    close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 execve exit exit_group faccessat faccessat2 fadvise64 fallocate
    fchdir fchmod fchmodat fchown fchownat fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr
    fstat fstatfs fsync ftruncate futex futex_waitv futimesat get_robust_list get_thread_area getcpu getcwd
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getxattr ioprio_get ioprio_set kill lchown lgetxattr link linkat listxattr llistxattr
    lremovexattr lseek lsetxattr lstat madvise membarrier mkdir mkdirat mmap mprotect mremap msync munlock
    munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recvfrom recvmsg removexattr rename renameat renameat2 restart_syscall
    rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_yield select sendfile sendmsg sendto
    set_robust_list set_thread_area set_tid_address setitimer setpgid setpriority setrlimit setsid setsockopt
    setxattr shutdown sigaltstack signalfd signalfd4 stat statfs statx symlink symlinkat sync_file_range sysinfo
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes
    vfork wait4 waitid write writev
    """.split()
)
"""Left out although harmless in the kernel's eyes: inotify shows which shared files, `/usr/bin` included, the host
opens; memory of memfd and System V objects is nowhere counted without a control group."""

_NEW_NAMESPACE = 0x7E020080  # CLONE_NEW* of clone(2), time namespaces included
_PRCTL = (1, 2, 3, 15, 16, 21, 23, 27, 29, 30, 38, 39, 41, 42, 0x53564D41)
"""Names, death signals, timer slack, queries, no_new_privs, huge pages, VMA names; nothing that widens access."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 0x40049409)
"""TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX FIOASYNC FICLONE; so neither TIOCSTI nor TIOCLINUX."""
_FCNTL_DENIED = (1024, 1026)  # F_SETLEASE, F_NOTIFY reach other users of a shared inode
_AF_UNIX, _SOCK_KIND, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 0xF, 1, 5
_S_IFMT = 0xF000
_FILE_KINDS = (0, 0x8000, 0x1000, 0xC000)  # regular files, fifos and sockets; no devices

_LD, _JEQ, _JGE, _JSET, _JA, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x05, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARGS = 0, 4, 16
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class Instruction:
    """One classic BPF instruction; jumps name labels until `assemble` resolves them."""

    code: int
    k: int = 0
    true: str = ""
    false: str = ""
    label: str = ""


def assemble(lines: Sequence[Instruction]) -> bytes:
    """The `struct sock_filter` array for `lines`. Raises `ValueError` for a jump that is backward or too far."""
    where = {line.label: i for i, line in enumerate(lines) if line.label}

    def offset(label: str, i: int) -> int:
        return where[label] - i - 1 if label else 0

    def encode(i: int, line: Instruction) -> bytes:
        if line.code == _JA:
            return struct.pack("HBBI", line.code, 0, 0, offset(line.true, i))
        jumps = offset(line.true, i), offset(line.false, i)
        if not all(0 <= jump <= 255 for jump in jumps):
            raise ValueError(f"jump out of range at {i}: {line}")
        return struct.pack("HBBI", line.code, *jumps, line.k & 0xFFFFFFFF)

    return b"".join(encode(i, line) for i, line in enumerate(lines))


def _argument(index: int) -> Instruction:
    return Instruction(_LD, _ARGS + 8 * index)


def _only(index: int, values: Sequence[int], name: str) -> list[Instruction]:
    """Allow the call when the argument is one of `values`."""
    tests = [Instruction(_JEQ, v, true=f"{name}.yes") for v in values]
    return [_argument(index), *tests, _deny(), _allow(f"{name}.yes")]


def _never(index: int, values: Sequence[int], name: str) -> list[Instruction]:
    """Allow the call unless the argument is one of `values`."""
    tests = [Instruction(_JEQ, v, true=f"{name}.no") for v in values]
    return [_argument(index), *tests, _allow(), _deny(f"{name}.no")]


def _masked(index: int, mask: int, values: Sequence[int], name: str) -> list[Instruction]:
    """Allow the call when the argument's bits under `mask` are one of `values`."""
    tests = [Instruction(_JEQ, v, true=f"{name}.yes") for v in values]
    return [_argument(index), Instruction(_AND, mask), *tests, _deny(), _allow(f"{name}.yes")]


def _allow(label: str = "") -> Instruction:
    return Instruction(_RET, _ALLOW, label=label)


def _deny(label: str = "", code: int = errno.EPERM) -> Instruction:
    return Instruction(_RET, _ERRNO | code, label=label)


def _checked() -> dict[str, list[Instruction]]:
    """Calls that are allowed for some arguments only."""
    return {
        "clone": _masked(0, _NEW_NAMESPACE, (0,), "clone"),
        "clone3": [_deny(code=errno.ENOSYS)],  # its flags lie in memory; the C library falls back to clone
        "fcntl": _never(1, _FCNTL_DENIED, "fcntl"),
        "ioctl": _only(1, _IOCTL, "ioctl"),
        "mknod": _masked(1, _S_IFMT, _FILE_KINDS, "mknod"),
        "mknodat": _masked(2, _S_IFMT, _FILE_KINDS, "mknodat"),
        "personality": _only(0, (0xFFFFFFFF,), "personality"),
        "prctl": _only(0, _PRCTL, "prctl"),
        "prlimit64": _only(0, (0,), "prlimit64"),  # the caller's own limits, not those of pid 1
        # A datagram socket of a pair could still send to any socket whose path it sees, one of the host included.
        "socketpair": [
            _argument(0),
            Instruction(_JEQ, _AF_UNIX, false="socketpair.other"),
            *_masked(1, _SOCK_KIND, (_SOCK_STREAM, _SOCK_SEQPACKET), "socketpair"),
            _deny("socketpair.other"),
        ],
    }


def policy(architecture: str) -> list[Instruction]:
    """The filter of a program's processes on `architecture`."""
    table = numbers(architecture)
    checked = {name: body for name, body in _checked().items() if name in table}
    actions = {table[name]: "allow" for name in ALLOWED if name in table}
    actions |= {table[name]: name for name in checked}
    lines = [
        Instruction(_LD, _ARCH),
        Instruction(_JEQ, AUDIT_ARCH[architecture], false="kill"),
        Instruction(_LD, _NR),
        Instruction(_JGE, _X32, true="kill"),
        Instruction(_JGE, LAST + 1, true="enosys"),
        Instruction(_JA, true="tree"),
        Instruction(_RET, _KILL, label="kill"),
        _deny("enosys", errno.ENOSYS),
    ]
    lines += _tree(_ranges(actions), "tree")
    lines += [_allow("allow"), _deny("deny")]
    for name, body in checked.items():
        lines += _labelled(body, name)
    return lines


def _labelled(body: list[Instruction], label: str) -> list[Instruction]:
    first = body[0]
    return [Instruction(first.code, first.k, first.true, first.false, label), *body[1:]]


def _ranges(actions: dict[int, str]) -> list[tuple[int, str]]:
    """`(first number, action)` of each run of equal actions, in order."""
    runs: list[tuple[int, str]] = []
    for nr in range(LAST + 1):
        action = actions.get(nr, "deny")
        if not runs or runs[-1][1] != action:
            runs.append((nr, action))
    return runs


def _tree(runs: list[tuple[int, str]], label: str) -> list[Instruction]:
    """A binary search over `runs`; long jumps keep it independent of the filter's size."""
    if len(runs) == 1:
        return [Instruction(_JA, true=runs[0][1], label=label)]
    middle = len(runs) // 2
    low, high = f"{label}<{middle}", f"{label}>{middle}"
    return [
        Instruction(_JGE, runs[middle][0], false=low, label=label),
        Instruction(_JA, true=high),
        *_tree(runs[:middle], low),
        *_tree(runs[middle:], high),
    ]


@cache
def compile_policy() -> bytes:
    """The filter of this host's architecture, assembled once."""
    return assemble(policy(machine()))


def install() -> None:
    """Confine this process and all it will start by the policy, for ever. Raises `OSError`."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    code = compile_policy()
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    syscall("seccomp", 1, 0, ctypes.create_string_buffer(fprog, len(fprog)))  # SECCOMP_SET_MODE_FILTER
