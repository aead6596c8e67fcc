"""What a case of the attack corpus is, and the words that its programs share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

MARK: Final = "escaped-from-the-jail"
"""Name of every file that a program tries to leave behind."""

Control = Literal["host", "sibling", "mark", "raised", ""]


@dataclass(frozen=True)
class Case:
    """One attack. Inside, no program may print LEAK; `control` says where the same program must succeed."""

    id: str
    program: str
    status: str | tuple[str, ...] = "ok"
    limit: str | tuple[str, ...] | None = None
    signal: int | None = None
    exit_code: int | None = None
    control: Control = "host"
    """`host`: as a plain process it prints LEAK. `sibling`: in another session it prints LEAK. `mark`: as a plain
    process it leaves `MARK` behind. `raised`: with roomy limits it prints DONE. Empty: harmless anyway."""
    says: str = ""
    """What stdout, stderr or the error must hold."""
    policy: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    crowds: bool = False
    """It uses up the limit on processes, which without control groups all sessions of a sandbox share."""
    on_error: Literal["rollback", "keep"] = "keep"
    abi: int = 0
    """Version of Landlock below which the attack is harmless but goes through."""
    within: float = 4.0
    """Seconds after which the host must have its answer."""


PRELUDE: Final = r"""
import ctypes, errno, hashlib, os, re, signal, socket, struct, subprocess, sys, time
JAIL = os.path.isdir("/ws/work")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(name, *args):
    "A raw system call; raises OSError."
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    got = libc.syscall(ctypes.c_long(NR[name] if isinstance(name, str) else name), *words)
    if got < 0:
        raise OSError(ctypes.get_errno(), str(name))
    return got

def attempt(act, *args, **options):
    "LEAK when `act` goes through."
    try:
        got = act(*args, **options)
    except Exception as error:
        print("denied", type(error).__name__, getattr(error, "errno", ""))
        return None
    print("LEAK", str(got)[:80])
    return got

def reach(name, *args):
    "LEAK when a call with senseless arguments gets as far as the kernel's own checks of them."
    try:
        got = call(name, *args)
    except OSError as error:
        past = error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS)
        print("LEAK" if past else "denied", name, error.errno)
    else:
        print("LEAK", name, got)

def secret(data):
    "LEAK when one of the planted secrets is in `data`; programs know only how they look and their hashes."
    data = data if isinstance(data, bytes) else str(data).encode()
    for found in set(re.findall(rb"canary-[0-9a-f]{32}", data)):
        if hashlib.sha256(found).hexdigest() in SECRETS:
            print("LEAK a secret")
            return True
    return False

def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)

def reveal(act, *args):
    "LEAK when what `act` returns holds a secret."
    try:
        if not secret(act(*args)):
            print("nothing there")
    except Exception as error:
        print("denied", type(error).__name__, getattr(error, "errno", ""))

def targets():
    "Other processes: one made for this outside, every one there is inside."
    if not JAIL:
        return [VICTIM]
    seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [VICTIM, *(pid for pid in {1, os.getppid(), *seen} if pid not in (0, os.getpid()))]

def alone():
    "Outside only: hide what follows from the rest of the machine, and get the power that root would have."
    if not JAIL:
        call("unshare", 0x20000 | (0 if os.getuid() == 0 else 0x10000000))
        if os.getuid() == 0:
            call("mount", b"none", b"/", None, 0x4000 | 0x40000, None)

def frame(**message):
    import json
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body

def channel():
    return socket.socket(fileno=os.dup(3))
"""


def source(case: Case, facts: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    """The whole program: facts about the world outside, the shared words, the attack."""
    named = set(re.findall(r'"(\w+)"', case.program)) | {"unshare", "mount"}
    table = {name: numbers[name] for name in sorted(named & numbers.keys())}
    lines = [f"{name} = {value!r}" for name, value in {**facts, "NR": table, "MARK": MARK}.items()]
    return "\n".join(lines) + PRELUDE + case.program
