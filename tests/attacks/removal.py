"""The wall with a layer taken out: what each one holds alone. Reached from here only, by patching this process.

A program that gets through acts on this machine, so that a layer is only ever taken out for cases on its allow-list:
those that touch nothing but what was made for them (canaries, marks, listeners on loopback, a victim process).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import patch

from cases import Case

from sandbox.jail import cgroups, view
from sandbox.worker import zygote

NEVER = (
    *("B02-*", "D01-*", "D02-*", "D03-*", "D04-*", "D11-*", "D12-*", "D13-*", "D16-*", "D29-*", "D32-*", "D33-*"),
    *("E29-*", "F11-*", "H*", "I*", "J1[3-9]-*", "J3[013-8]-*"),
)
"""Mounts, reboots, clocks, signals to processes that a program finds, bombs: not even with a single layer missing."""
REACH = (
    *("A*", "B*", "C*", "D05-*", "D06-*", "D07-*", "D08-*", "D09-*", "D1[0457-9]-*", "D2[0-3]-*", "D25-*", "D28-*"),
    *("D30-*", "D31-*", "D34-*", "E28-memfd", "E28-message-queue", "E28-semaphores", "F*", "G*", "J0*", "J1[0-2]-*"),
    "J2*",
)
"""Looks, marks and calls. They succeed or fail at once."""
MEMORY = ("E01-*", "E02-*", "E03-*", "E26-*", "E28-shm", "E28-tmp")
"""400 MiB at most."""
TIME = ("E04-*", "E05-*", "E06-*", "E18-*", "E19-*", "E22-*", "E25-*", "E30-*", "E36-trickle-of-frames")
"""A second or two."""
OUTPUT = ("E13-*", "E14-*", "E15-*")
"""4 MiB."""
COUNTS = ("D24-*", "E07-forks", "E08-*", "E09-*", "E10-*", "E11-*", "E12-sparse")
"""60 processes, 40 threads, 5000 descriptors, 2000 files, 128 MiB of files at most."""

_HELPERS = """
import os, resource
from worker import kernel, landlock, monitor, root, runner, seccomp, zygote

def without_namespace(flag):
    real = kernel.unshare
    kernel.unshare = lambda flags: real(flags & ~flag) if flags & ~flag else None

def without_prctl(option):
    real = kernel.prctl
    skip = lambda got, *rest: 0 if got == option else real(got, *rest)
    kernel.prctl = landlock.prctl = seccomp.prctl = skip

def without_mount(name):
    real = kernel.mount
    kernel.mount = lambda source, *rest: None if source == name else real(source, *rest)

def without_limits(*names):
    real, kinds = resource.setrlimit, {getattr(resource, "RLIMIT_" + name) for name in names}
    resource.setrlimit = lambda kind, limits: None if kind in kinds else real(kind, limits)
"""
_NO_SESSION_PIDS = """
real_unshare, real_setns, calls = kernel.unshare, kernel.setns, []
def unshare(flags):
    if flags == kernel.CLONE_NEWPID:
        calls.append(flags)
        if len(calls) > 1:  # the first is that of the zygote itself
            return
    real_unshare(flags)
kernel.unshare = unshare
kernel.setns = lambda fd, kind: None
monitor._FirstProcess._others = lambda self: []  # it would kill every session's processes
monitor._FirstProcess._signal = lambda self, number: None
def keep(self):
    raise OSError("whose processes are whose?")
monitor._FirstProcess._clear = keep
"""
_MORE_OF_THE_HOST = """
real_build = root.build
def build(config):
    config["binds"] = sorted({*config["binds"], "/etc", "/home", "/var"})
    real_build(config)
root.build = build
"""
_ENVIRONMENT = view.environment
_PUT = cgroups._put  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Layer:
    """One layer, and how to take it out."""

    inside: str = ""
    """Source that the launcher runs before it builds the wall, after `_HELPERS`."""
    host: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    """Functions of the host's side to replace, by dotted name."""
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Limits that are too wide to be felt."""
    cases: Sequence[str] = REACH
    """The allow-list, as patterns of ids. `NEVER` goes before it."""
    needs: str = ""
    """`root`, `cgroup` or `no cgroup`: elsewhere there is no such layer."""

    def is_here(self) -> bool:
        group = cgroups.version() > 0
        return {"root": os.geteuid() == 0, "cgroup": group, "no cgroup": not group, "": True}[self.needs]


def _without_files(start: str) -> dict[str, Callable[..., Any]]:
    """Leaves the files of a control group alone whose names begin with `start`."""
    return {"sandbox.jail.cgroups._put": lambda path, value: None if path.name.startswith(start) else _PUT(path, value)}


LAYERS: dict[str, Layer] = {
    "pid namespace (of a session)": Layer(_NO_SESSION_PIDS),
    "net namespace": Layer("without_namespace(kernel.CLONE_NEWNET)"),
    "ipc namespace": Layer("without_namespace(kernel.CLONE_NEWIPC)"),
    "uts namespace": Layer(
        "without_namespace(kernel.CLONE_NEWUTS)\nzygote.socket.sethostname = lambda name: None  # not the host's"
    ),
    "cgroup namespace": Layer("without_namespace(kernel.CLONE_NEWCGROUP)", needs="cgroup"),
    "root: only what is granted": Layer(_MORE_OF_THE_HOST),
    "root: read-only binds": Layer("root._READ_ONLY = kernel.MOUNT_ATTR_NOSUID"),
    "root: layers covered": Layer("without_mount('covered')"),
    "root: /proc of processes only": Layer(
        "real = kernel.mount\nkernel.mount = lambda *a: real(*a[:-1], '') if a[-1] == 'subset=pid' else real(*a)"
    ),
    "real unprivileged user": Layer(host={"sandbox.jail.view.worker_ids": lambda: None}, needs="root"),
    "capabilities dropped": Layer("kernel.drop_capabilities = kernel.drop_bounding_set = lambda **how: None"),
    "no_new_privs": Layer("without_prctl(38)"),
    "seccomp": Layer("seccomp.install = lambda *code, **kind: os.eventfd(0)"),
    "Landlock": Layer("landlock.enter = os.close"),
    "dumpable off": Layer(
        "real_prctl = kernel.prctl\nkernel.prctl = lambda option, *rest: 0 if (option, *rest) == (4, 0)"
        " else real_prctl(option, *rest)",
        cases=(*REACH, "E17-no-core-file"),
    ),
    "death with the parent": Layer("without_prctl(1)"),
    "descriptors closed": Layer("kernel.close_from = lambda first: None"),
    "environment from scratch": Layer(
        host={"sandbox.jail.view.environment": lambda policy: {**os.environ, **_ENVIRONMENT(policy)}}
    ),
    "rlimits: memory (AS)": Layer("without_limits('AS')", cases=MEMORY),
    "rlimits: files (NOFILE, FSIZE)": Layer("without_limits('NOFILE', 'FSIZE')", cases=(*COUNTS, "D34-*")),
    "rlimits: processes (NPROC)": Layer("without_limits('NPROC')", cases=COUNTS, needs="no cgroup"),
    "rlimits: kernel objects (MEMLOCK, MSGQUEUE, SIGPENDING, CORE)": Layer(
        "without_limits('MEMLOCK', 'MSGQUEUE', 'SIGPENDING', 'CORE')",
        cases=("C13-*", "D25-lock-memory", "E17-no-core-file", "E28-m*", "J32-*"),
    ),
    "cgroup: memory": Layer(host=_without_files("memory."), cases=MEMORY, needs="cgroup"),
    "cgroup: processes": Layer(host=_without_files("pids."), cases=COUNTS, needs="cgroup"),
    "sizes of the view": Layer(policy={"disk_bytes": 1 << 30, "files": 10_000}, cases=("E10-*", "E11-*", "E12-sparse")),
    "wall clock": Layer(policy={"wall_seconds": 20}, cases=TIME),
    "output budget": Layer(policy={"output_bytes": 64 << 20}, cases=OUTPUT),
}
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("seccomp", "net namespace"),
    ("seccomp", "net namespace", "Landlock"),
    ("seccomp", "Landlock"),
    ("seccomp", "ipc namespace"),
    ("seccomp", "capabilities dropped"),
    ("seccomp", "no_new_privs"),
    ("Landlock", "root: read-only binds"),
    ("Landlock", "root: read-only binds", "real unprivileged user"),
    ("Landlock", "pid namespace (of a session)"),
    ("Landlock", "dumpable off"),
    ("real unprivileged user", "root: only what is granted"),
    ("root: layers covered", "capabilities dropped"),
    ("rlimits: memory (AS)", "cgroup: memory"),
)
"""Layers that stand in for each other."""


def allowed(case: Case, layers: Iterable[str]) -> bool:
    """Whether `case` may be played with these layers missing: it is on the list of each, or of one of a pair."""
    if any(fnmatchcase(case.id, pattern) for pattern in NEVER):
        return False
    return any(fnmatchcase(case.id, pattern) for layer in layers for pattern in LAYERS[layer].cases)


@contextmanager
def removed(layers: Sequence[str]) -> Generator[Mapping[str, Any]]:
    """Take `layers` out of every jail that is started and every session that is opened meanwhile.

    Gives the limits that the policy must have for it.
    """
    source = "".join(f"{LAYERS[layer].inside}\n" for layer in layers)
    boot = zygote.boot

    def patched(package: str, fd: int, name: str, *more: str) -> str:
        head, _, tail = boot(package, fd, name, *more).partition("del sys.path[0]\n")
        assert tail, "the boot source has changed"
        return f"{head}{_HELPERS}{source}del sys.path[0]\n{tail}"

    with ExitStack() as stack:
        stack.enter_context(patch.object(zygote, "boot", patched))
        for layer in layers:
            for name, function in LAYERS[layer].host.items():
                stack.enter_context(patch(name, function))
        yield {name: value for layer in layers for name, value in LAYERS[layer].policy.items()}
