"""What this host can enforce: every line comes from a live probe, and the wall is tested by attacking it."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Fault
from ..policy import Policy
from . import cgroups

__all__ = ["Probe", "doctor"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was tried, and what came of it."""

    name: str
    ok: bool
    detail: str
    needed: bool = True
    """Whether the jail cannot be built, or does not hold, without it."""


_FEATURES = {
    "user namespace": "kernel.unshare(kernel.CLONE_NEWUSER)",
    "namespaces": "os.geteuid() and kernel.unshare(kernel.CLONE_NEWUSER); kernel.unshare(kernel.CLONE_NEWNS | "
    "kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP)",
    "seccomp": "seccomp.install()\ntry: socket.socket()\n"
    "except PermissionError: pass\nelse: raise OSError('not enforced')",
    "Landlock": "landlock.restrict((), ())\ntry: open('/tmp/x', 'w')\n"
    "except PermissionError: print('ABI', landlock.abi())\nelse: raise OSError('not enforced')",
}
"""Feature and the code that needs it, each run in a process of its own."""

_ATTACK = r"""
import ctypes, json, os, socket
def attempt(act):
    try:
        return repr(act())[:60]
    except BaseException as error:
        return None
def connect():
    s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", PORT))
def status(key):
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith(key))
json.dumps({
    "reading a file outside": attempt(lambda: open(CANARY).read()),
    "reading /etc/shadow": attempt(lambda: open("/etc/shadow").read()),
    "writing to /usr": attempt(lambda: open("/usr/canary", "w")),
    "connecting to this host": attempt(connect),
    "seeing processes": [p for p in os.listdir("/proc") if p.isdigit() and p not in ("1", str(os.getpid()))] or None,
    "the environment of this shell": os.environ.get("SANDSMITH_CANARY"),
    "becoming root": attempt(lambda: os.setuid(0)),
    "a new user namespace": ctypes.CDLL(None).unshare(0x10000000) == 0 or None,
    "capabilities": None if int(status("CapEff"), 16) == 0 and int(status("CapBnd"), 16) == 0 else "some",
    "running without seccomp": None if status("Seccomp") == "2" else "yes",
    "gaining privileges by exec": None if status("NoNewPrivs") == "1" else "yes",
})
"""
_LIMITS = {
    "time": ("while True: pass", "timeout"),
    "memory": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"),
    "output": ("while True: print('x' * 1000)", "output"),
}


def doctor() -> list[Probe]:
    """Probe this host and attack a jail on it; takes a few seconds."""
    probes = [_platform()]
    if not probes[0].ok:
        return probes
    probes += [_feature(name, code) for name, code in _FEATURES.items()]
    probes.append(_cgroups())
    probes += _jail()
    return probes


def _platform() -> Probe:
    detail = f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    return Probe("platform", sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"), detail)


def _feature(name: str, code: str) -> Probe:
    worker = Path(__file__).parent.parent
    source = (
        f"import os, socket, sys; sys.path.insert(0, {str(worker)!r})\nfrom worker import kernel, landlock, seccomp\n"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", source + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    words = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    needed = name != "user namespace" or os.geteuid() != 0
    return Probe(name, done.returncode == 0, words[-1] if words else "works", needed)


def _cgroups() -> Probe:
    version = cgroups.version()
    absent = "none that this user may make: memory is watched every 50 ms instead, processes are limited by rlimit"
    return Probe("control groups", version > 0, f"version {version}" if version else absent, needed=False)


def _jail() -> Iterator[Probe]:
    from .launch import Jail

    policy = Policy(wall_seconds=2, memory_bytes=256 << 20)
    os.environ["SANDSMITH_CANARY"] = "seen"
    try:
        with Jail(policy=policy) as jail:
            yield Probe("jail", True, "built: " + ", ".join(jail.receipt.layers))
            yield from _attacks(jail)
            yield from (_limit(jail, name, *case) for name, case in _LIMITS.items())
    except Fault as error:
        yield Probe("jail", False, f"{error} {error.hint}".strip())
    finally:
        del os.environ["SANDSMITH_CANARY"]


def _attacks(jail: Any) -> Iterator[Probe]:
    """Attacks that succeed outside: the file, the listener and the variable are there."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as canary:
        code = _ATTACK.replace("PORT", str(server.getsockname()[1])).replace("CANARY", repr(canary.name))
        code = code.replace("json.dumps(", "print(json.dumps(") + ")"
        with jail.open() as session:
            run = session.execute(code, on_error="keep")
    try:
        seen = json.loads(run.stdout)
    except ValueError:
        yield Probe("attacks", False, f"the attacks did not run: {run.status} {run.stderr[:200]}")
        return
    for name, leak in seen.items():
        yield Probe(name, leak is None, "denied" if leak is None else f"SUCCEEDED: {leak}")


def _limit(jail: Any, name: str, code: str, want: str) -> Probe:
    with jail.open() as session:
        run = session.execute(code, on_error="keep")
    return Probe(f"limit on {name}", run.status == want, f"{run.status} after {run.seconds:.1f} s")
