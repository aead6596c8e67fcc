"""Each layer of the wall carries weight: what it denies when it stands alone, and what only it denies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import users
from arena import Arena
from corpus import BY_ID
from removal import LAYERS as LAYERS_OF_THE_JAIL
from removal import allowed

from sandbox import SandboxUnavailable, open_sandbox
from sandbox.jail import cgroups
from sandbox.worker.landlock import abi

pytestmark = [
    pytest.mark.jail,
    pytest.mark.skipif(abi() < 6, reason="the matrix is that of Landlock 6 or newer"),
]

PROBES = {
    "read": "open(CANARY)",
    "write": "open(OUTSIDE + '/probe', 'w')",
    "fifo": "os.open(GRANTED + '/fifo', os.O_WRONLY | os.O_NONBLOCK)",
    "tcp": "socket.create_connection(('127.0.0.1', TCP), 1)",
    "abstract": "socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT)",
    "path": "socket.socket(socket.AF_UNIX).connect(GRANTED + '/stream')",
    "signal": "os.kill(VICTIM, 0)",
    "ptrace": "kernel.syscall('ptrace', 0x4206, VICTIM, 0, 0)",
    "keyring": "kernel.syscall('keyctl', 0, -3, 1)",
    "io_uring": "kernel.syscall('io_uring_setup', 4, ctypes.create_string_buffer(120))",
    "unshare": "kernel.unshare(kernel.CLONE_NEWUSER)",
}
LAYERS = {
    "nothing": "",
    "seccomp": "seccomp.install()",
    "landlock": "landlock.restrict(('/dev/shm',), ('/dev/null',))",
    "namespaces": """
uid, gid = os.getuid(), os.getgid()
if uid:
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        open("/proc/self/" + name, "w").write(text)
kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID)
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
root.build({"binds": [GRANTED], "covered": [], "links": {}, "lowers": {}, "owner": None})
""",
}
DENIED = {
    "nothing": set(),
    "seccomp": {"tcp", "abstract", "path", "ptrace", "keyring", "io_uring", "unshare"},
    "landlock": {"write", "fifo", "tcp", "abstract", "signal", "ptrace"},
    "namespaces": {"read", "write", "tcp", "abstract", "signal", "ptrace"},
}
MISSED = {
    "root: only what is granted": "A02-canary",
    "root: layers covered": "A22-hidden-layers",
    "root: /proc of processes only": "A14-proc-version",
    "pid namespace (of a session)": "J09-processes-of-others",
    "uts namespace": "F09-host-name",
    "cgroup namespace": "F10-cgroup-path",
    "capabilities dropped": "D21-no-capabilities",
    "seccomp": "C15-splice",
    "Landlock": "B16-fifo",
    "descriptors closed": "F02-descriptors",
    "environment from scratch": "F01-environment",
    "rlimits: memory (AS)": "E01-huge-allocation",
    "rlimits: files (NOFILE, FSIZE)": "E12-sparse",
    "rlimits: kernel objects (MEMLOCK, MSGQUEUE, SIGPENDING, CORE)": "J32-timers",
    "cgroup: memory": "E02-list",
    "cgroup: processes": "E07-forks",
    "rlimits: processes (NPROC)": "E08-threads",
    "sizes of the view": "E10-many-fills",
    "wall clock": "E05-sleep",
    "output budget": "E13-flood",
}
"""Layers that stop an attack which nothing else stops, and one such attack. `benchmarks/layers.py` shows them all."""
STAND_INS = (
    ("C03-udp", "seccomp + net namespace", ("root", "user")),
    ("C02-localhost", "seccomp + net namespace + Landlock", ("root", "user")),
    ("C13-segment-of-the-host", "seccomp + ipc namespace", ("root", "user")),
    ("B01-granted", "Landlock + root: read-only binds", ("user",)),
    ("B01-granted", "Landlock + root: read-only binds + real unprivileged user", ("root",)),
)
"""An attack, layers of which each one stops it, and the users for whom that is so."""
CHILD = """
import ctypes, encodings.idna, os, socket, sys
sys.path.insert(0, WORKER)
from worker import kernel, landlock, root, seccomp
{layer}
for name, probe in {probes!r}.items():
    try:
        eval(probe)
    except OSError:
        print(name)
"""


@pytest.fixture(scope="module")
def arena():
    arena = Arena()
    yield arena
    arena.close()


def _denied(arena: Arena, layer: str) -> set[str]:
    facts = {**arena.facts(), "WORKER": str(users.REPOSITORY / "sandbox")}
    lines = [f"{name} = {value!r}" for name, value in facts.items()]
    program = "\n".join(lines) + CHILD.format(layer=LAYERS[layer], probes=PROBES)
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("layer", LAYERS)
def test_what_a_layer_denies_alone(arena, layer):
    assert _denied(arena, layer) == DENIED[layer]


def test_every_layer_denies_what_no_other_does():
    for layer in set(LAYERS) - {"nothing"}:
        others = set().union(*(DENIED[other] for other in LAYERS if other != layer))
        assert DENIED[layer] - others, layer
    assert set().union(*DENIED.values()) | {"path"} == set(PROBES)


def _without(world: Any, layers: str, case: str) -> list[str]:
    """What the whole jail, without some layers, lets the case achieve."""
    reply = world.ask(case=case, without=layers)
    if "skip" in reply:
        pytest.skip(reply["skip"])
    assert "achieved" in reply, reply
    return reply["achieved"]


@pytest.mark.parametrize("layer", MISSED)
def test_an_attack_that_only_this_layer_stops(world, layer):
    """That the whole wall stops it is in `test_attacks.py`."""
    assert _without(world, layer, MISSED[layer])


@pytest.mark.parametrize(("case", "layers", "who"), STAND_INS)
def test_layers_stand_in_for_each_other(world, request, case, layers, who):
    if request.node.callspec.params["world"] not in who:
        pytest.skip("for another user")
    names = layers.split(" + ")
    for last in names:
        others = " + ".join(name for name in names if name != last)
        assert not _without(world, others, case), f"{last} does not stop it"
    assert _without(world, layers, case)


def test_without_no_new_privs_nothing_starts(world):
    """seccomp and Landlock refuse to be installed: the jail fails closed."""
    assert "could not be closed" in world.ask(case="A02-canary", without="no_new_privs")["closed"]


def test_no_dangerous_case_is_played_without_a_layer():
    for layers in ([name] for name in LAYERS_OF_THE_JAIL):
        played = {id for id, case in BY_ID.items() if allowed(case, layers)}
        assert not {id for id in played if id.partition("-")[0] in ("B02", "D02", "D11", "D16", "J17", "J19")}, layers


@pytest.mark.skipif(not cgroups.version(), reason="no control groups for this user")
def test_no_session_opens_without_the_limits_it_was_promised(monkeypatch):
    with open_sandbox("jail") as box:
        before = set(os.listdir("/proc/self/fd"))
        monkeypatch.setattr(cgroups, "create", lambda *limits: None)
        with pytest.raises(SandboxUnavailable, match="control group"):
            box.open()
        assert set(os.listdir("/proc/self/fd")) == before


def test_a_socket_in_the_workspace_is_not_the_hosts(tmp_path: Path):
    """Whatever seccomp says: overlayfs shows another inode than the one that a server of the host listens on."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(tmp_path / "server"))
    with server, open_sandbox("jail", workspace=tmp_path) as box, box.open() as session:
        run = session.execute(
            "import socket, os\n"
            "print(os.stat('server').st_mode & 0o170000 == 0o140000)\n"
            "try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nexcept PermissionError: print('denied')"
        )
        assert run.stdout == "True\ndenied\n"
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(10)
