"""Each layer of the wall carries weight: what it denies when it stands alone, and what only it denies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import users
from arena import Arena

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
root.build({"binds": [GRANTED], "links": {}, "lowers": {}, "owner": None})
""",
}
DENIED = {
    "nothing": set(),
    "seccomp": {"tcp", "abstract", "path", "ptrace", "keyring", "io_uring", "unshare"},
    "landlock": {"write", "fifo", "tcp", "abstract", "signal", "ptrace"},
    "namespaces": {"read", "write", "tcp", "abstract", "signal", "ptrace"},
}
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
