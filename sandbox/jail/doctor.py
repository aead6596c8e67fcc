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


_DETAIL = {
    "full": "namespaces, and a control group for memory and processes",
    "namespaces": "namespaces; no control group, so memory is watched every 50 ms",
    "landlock": "no namespaces: one process behind Landlock and seccomp, which cannot fork or exec",
}
_FEATURES = {
    "user namespace": "kernel.unshare(kernel.CLONE_NEWUSER)",
    "namespaces": "os.geteuid() and kernel.unshare(kernel.CLONE_NEWUSER); kernel.unshare(kernel.CLONE_NEWNS | "
    "kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP)",
    "seccomp": "seccomp.install()\ntry: socket.socket()\n"
    "except PermissionError: pass\nelse: raise OSError('not enforced')",
    "Landlock": "landlock.restrict((), ())\ntry: open('/dev/null', 'w')\n"
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
    s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", THE_PORT))
def command(p):
    return open(f"/proc/{p}/cmdline", "rb").read()
def processes():  # but those of the jail itself, which all have begun as the same command
    return [p for p in os.listdir("/proc") if p.isdigit() and command(p) != command("self")]
def fork():
    if os.fork() == 0:
        os._exit(0)
    return os.wait()
def status(key):
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith(key))
common = {
    "reading a file outside": attempt(lambda: open(THE_FILE).read()),
    "reading /etc/shadow": attempt(lambda: open("/etc/shadow").read()),
    "writing to /usr": attempt(lambda: open("/usr/canary", "w")),
    "connecting to this host": attempt(connect),
    "seeing processes": attempt(lambda: [processes(), 1 / len(processes())]),
    "the environment of another process": attempt(lambda: open(f"/proc/{THE_HOST}/environ").read(1)),
    "signals to another process": attempt(lambda: os.kill(THE_HOST, 0)),
    "the environment of this shell": os.environ.get("SANDSMITH_CANARY"),
    "becoming root": attempt(lambda: os.setuid(0)),
    "a new user namespace": ctypes.CDLL(None).unshare(0x10000000) == 0 or None,
    "capabilities": None if int(status("CapPrm"), 16) == 0 and int(status("CapEff"), 16) == 0 else "some",
    "running without seccomp": None if status("Seccomp") == "2" else "yes",
    "gaining privileges by exec": None if status("NoNewPrivs") == "1" else "yes",
}
"""
_APART = """{
    "capabilities that exec could give": None if int(status("CapBnd"), 16) == 0 else "some",
}"""
_ALONE = """{
    "starting a process": attempt(fork),
    "running another program": attempt(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "listing the root folder": attempt(lambda: os.listdir("/")),
    "changing the mode of a file outside": attempt(lambda: os.chmod(THE_FILE, 0o644)),
    "changing the priority of another process": attempt(lambda: os.setpriority(os.PRIO_PROCESS, THE_HOST, 19)),
}"""
"""What a program can do in namespaces, where it harms nobody, and must not without them."""
_LIMITS = {
    "time": ("while True: pass", "timeout"),
    "memory": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"),
    "output": ("while True: print('x' * 1000)", "output"),
}


def doctor() -> list[Probe]:
    """Probe this host and attack a jail on it; takes a few seconds. The tier that was reached comes first."""
    platform = _platform()
    if not platform.ok:
        return [platform]
    features = [_feature(name, code) for name, code in _FEATURES.items()]
    reached, *held = _jail()
    return [reached, platform, *features, _cgroups(), *held]


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
    return Probe(name, done.returncode == 0, words[-1] if words else "works", needed=name in ("seccomp", "Landlock"))


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
            tier = jail.receipt.tier or ""
            yield Probe("tier", True, f"{tier}: {_DETAIL[tier]}")
            yield Probe("jail", True, "built: " + ", ".join(jail.receipt.layers))
            yield from (Probe("weaker", False, note, needed=False) for note in jail.receipt.notes)
            yield from _attacks(jail)
            yield from (_limit(jail, name, *case) for name, case in _LIMITS.items())
    except Fault as error:
        yield Probe("tier", False, f"none: {error} {error.hint}".strip())
    finally:
        del os.environ["SANDSMITH_CANARY"]


def _attacks(jail: Any) -> Iterator[Probe]:
    """Attacks that succeed outside: the file, the listener and the variable are there."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as canary:
        facts = {"THE_PORT": server.getsockname()[1], "THE_FILE": canary.name, "THE_HOST": os.getpid()}
        code = "\n".join([*(f"{name} = {value!r}" for name, value in facts.items()), _ATTACK])
        code += f"print(json.dumps({{**common, **{_ALONE if jail.receipt.tier == 'landlock' else _APART}}}))"
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
