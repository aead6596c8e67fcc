"""What a case of the attack corpus is, and the words that its programs share."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

MARK: Final = f"escaped-from-the-jail-{os.getpid()}"
"""Name of every file that a program tries to leave behind; another attacker at the same time has another."""

SHORT: Final[Mapping[str, Any]] = MappingProxyType({"wall_seconds": 0.4})
"""Long enough for a program to come to the point where it takes too long, on a busy machine, too."""
HANGS: Final[Mapping[str, Any]] = MappingProxyType({"status": "timeout", "limit": "wall", "signal": 9, "policy": SHORT})
"""What becomes of a program that does not end."""

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
    refusals: tuple[str, ...] = ()
    """How this attack may be refused besides `REFUSALS`: an exception's name, or `E...` of errno."""


REFUSALS: Final = {"EPERM", "EACCES", "ENOENT", "ENOSYS", "EROFS", "EXDEV", "ESRCH"}
"""What a wall answers. Anything else would say that the attack itself is at fault, and has tried nothing."""


def objections(case: Case, run: Mapping[str, Any]) -> list[str]:
    """How the outcome differs from what the case demands."""
    found = ["it got through"] if "LEAK" in run["stdout"] else []
    found += [f"{n}: {run[n]}" for n in ("status", "limit") if not _one_of(getattr(case, n), run[n])]
    found += [f"{n}: {run[n]}" for n in ("signal", "exit_code") if getattr(case, n) not in (None, run[n])]
    found += [f"refused by {word}" for word in _refused_by(run["stdout"]) - REFUSALS - set(case.refusals)]
    if case.control in ("host", "sibling") and case.status == "ok" and not run["stdout"]:
        found.append("it does not tell what it has tried")
    return found + ([] if case.says in run["said"] else [f"says nothing of {case.says!r}"])


def _one_of(wanted: Any, got: Any) -> bool:
    return got in (wanted if isinstance(wanted, tuple) else (wanted,))


def _refused_by(stdout: str) -> set[str]:
    """What the program's attempts were answered with: names of errno, or of exceptions that have none."""
    answers = re.findall(r"^denied (\w+) ?(-?\d*)\n", stdout, re.MULTILINE)
    return {errno.errorcode.get(int(code), code) if code else kind for kind, code in answers}


PRELUDE: Final = r"""
import ctypes, errno, hashlib, os, re, signal, socket, struct, subprocess, sys, time
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
    try:
        seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except PermissionError:  # one process, behind Landlock alone
        seen = []
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
