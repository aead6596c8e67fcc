"""What seccomp denies on top of the policy where there are no namespaces: a program is one process, alone.

The policy of `seccomp.py` is made for a program in namespaces of its own, where it may fork, and where the processes,
owners and attributes that it can name are its own. Without them it shares processes and, as a plain user, file owners
with its user. Landlock guards what is opened; what it does not look at is denied here: starting processes, signals and
priorities of others, owners, modes, times and attributes of files. This filter goes below the policy and can only take
away. Sources: landlock(7) "current limitations", seccomp(2), fcntl(2), clone(2).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from .seccomp import Instruction, assemble
from .syscalls import machine, numbers

__all__ = ["ALONE", "ATTRIBUTES", "compile_filter", "policy"]

ALONE = frozenset(
    """
    chmod chown execve fchmod fchmodat fchown fchownat fork futimesat ioprio_set lchown pidfd_open
    pidfd_send_signal tkill utime utimensat utimes vfork
    """.split()
)
"""Denied with EPERM."""
ATTRIBUTES = frozenset(
    """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr
    removexattr setxattr
    """.split()
)
"""Denied as a file system without extended attributes does, which programs expect."""

_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG = 1  # or the program could outlive its supervisor
_FCNTL_SIGNALS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX have the kernel send a signal to anyone
_PRIO_PROCESS = 0

_LD, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ARGS = 16


def _when(index: int, values: Sequence[int], name: str, *, allowed: bool) -> list[Instruction]:
    """The answer for a call whose argument is one of `values`: allowed, or denied; the other one for all others."""
    tests = [Instruction(_JEQ, value, true=f"{name}.{index}") for value in values]
    yes, no = (_ALLOW, _ERRNO | errno.EPERM) if allowed else (_ERRNO | errno.EPERM, _ALLOW)
    load = Instruction(_LD, _ARGS + 8 * index)
    return [load, *tests, Instruction(_RET, no), Instruction(_RET, yes, label=f"{name}.{index}")]


def _checked(pid: int) -> dict[str, list[Instruction]]:
    """Calls that are allowed for some arguments only. What the kernel takes as an int is compared by its low word."""
    return {
        "clone": [
            Instruction(_LD, _ARGS),
            Instruction(_JSET, _CLONE_THREAD, true="clone.thread"),
            Instruction(_RET, _ERRNO | errno.EPERM),
            Instruction(_RET, _ALLOW, label="clone.thread"),
        ],
        "fcntl": _when(1, _FCNTL_SIGNALS, "fcntl", allowed=False),
        "kill": _when(0, (0, pid), "kill", allowed=True),  # 0: its own group, which nobody else can join
        "prctl": _when(0, (_PR_SET_PDEATHSIG,), "prctl", allowed=False),
        "rt_sigqueueinfo": _when(0, (pid,), "rt_sigqueueinfo", allowed=True),
        "sched_setaffinity": _when(0, (0, pid), "sched_setaffinity", allowed=True),
        "setpriority": [
            Instruction(_LD, _ARGS),
            Instruction(_JEQ, _PRIO_PROCESS, false="setpriority.others"),
            *_when(1, (0, pid), "setpriority", allowed=True),
            Instruction(_RET, _ERRNO | errno.EPERM, label="setpriority.others"),
        ],
        "tgkill": _when(0, (pid,), "tgkill", allowed=True),
    }


def policy(architecture: str, pid: int) -> list[Instruction]:
    """The filter of the process `pid`; that the architecture is this one is the policy's to check."""
    table = numbers(architecture)
    checked = {name: body for name, body in _checked(pid).items() if name in table}
    jumps = {name: name for name in checked} | dict.fromkeys(ALONE, "deny") | dict.fromkeys(ATTRIBUTES, "unsupported")
    lines = [Instruction(_LD, 0)]
    lines += [Instruction(_JEQ, table[name], true=jumps[name]) for name in sorted(jumps.keys() & table.keys())]
    lines += [
        Instruction(_RET, _ALLOW),
        Instruction(_RET, _ERRNO | errno.EPERM, label="deny"),
        Instruction(_RET, _ERRNO | errno.EOPNOTSUPP, label="unsupported"),
    ]
    for name, (first, *rest) in checked.items():
        lines += [Instruction(first.code, first.k, first.true, first.false, label=name), *rest]
    return lines


def compile_filter(pid: int) -> bytes:
    """The filter of the process `pid` on this host."""
    return assemble(policy(machine(), pid))
