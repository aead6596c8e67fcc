"""Runs a program on a host that lacks something: `python masks.py MASK,... COMMAND ...`.

The masks are real: system calls fail in the program and in all that it starts as they do on such a host, and nothing
in the product knows of it.

`docker`      what Docker's default profile and capabilities forbid: namespaces, mounts
`landlock=N`  the kernel reports version N of Landlock; 0: it has none
`seccomp`     no filters of system calls
`cgroups`     no control groups (needs root)
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":  # run with -I
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sandbox.worker import kernel, seccomp
from sandbox.worker.seccomp import Instruction
from sandbox.worker.syscalls import machine, numbers

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO, ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
NEW_NAMESPACE = 0x7E020000
NAMESPACE_CALLS = "unshare setns mount umount2 pivot_root open_tree mount_setattr move_mount fsopen fsmount".split()
DOCKER_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
"""What moby gives to root in a container by default (capabilities(7) has the numbers)."""
NEW_LISTENER, NOTIF_RECEIVE, NOTIF_SEND = 8, 0xC0502100, 0xC0182101  # linux/seccomp.h


def mask_docker() -> None:
    table = numbers(machine())
    lines = [Instruction(LOAD, 0), Instruction(EQUAL, table["clone"], true="clone")]
    lines += [Instruction(EQUAL, table["clone3"], true="clone3")]
    lines += [Instruction(EQUAL, table[name], true="deny") for name in NAMESPACE_CALLS]
    lines += [
        Instruction(RETURN, ALLOW),
        Instruction(RETURN, ERRNO | errno.EPERM, label="deny"),
        Instruction(RETURN, ERRNO | errno.ENOSYS, label="clone3"),
        Instruction(LOAD, 16, label="clone"),
        Instruction(ANY_BIT, NEW_NAMESPACE, true="new"),
        Instruction(RETURN, ALLOW),
        Instruction(RETURN, ERRNO | errno.EPERM, label="new"),
    ]
    if os.geteuid() == 0:
        for capability in set(range(41)) - DOCKER_CAPABILITIES:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
    seccomp.install(seccomp.assemble(lines))


def mask_seccomp() -> None:
    lines = [Instruction(LOAD, 0), Instruction(EQUAL, numbers(machine())["seccomp"], true="deny")]
    lines += [Instruction(RETURN, ALLOW), Instruction(RETURN, ERRNO | errno.ENOSYS, label="deny")]
    seccomp.install(seccomp.assemble(lines))


def mask_cgroups() -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("none", "/sys/fs/cgroup", "tmpfs", kernel.MS_NODEV, "mode=555,size=4k")


def mask_landlock(version: int) -> socket.socket:
    """The question for the version goes to whoever holds the other end of the socket that comes back."""
    number = numbers(machine())["landlock_create_ruleset"]
    lines = [Instruction(LOAD, 0), Instruction(EQUAL, number, false="allow")]
    if version:  # flags: LANDLOCK_CREATE_RULESET_VERSION
        lines += [Instruction(LOAD, 32), Instruction(EQUAL, 1, false="allow"), Instruction(RETURN, ASK)]
    lines += [Instruction(RETURN, ERRNO | errno.ENOSYS), Instruction(RETURN, ALLOW, label="allow")]
    code = seccomp.assemble(lines)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    ours, theirs = socket.socketpair()
    if not version:
        kernel.syscall("seccomp", 1, 0, ctypes.create_string_buffer(program, len(program)))
        return ours
    if os.fork() == 0:  # the program goes on as the parent, so that it keeps its pid and its exit status
        ours.close()
        _, (listener,), _, _ = socket.recv_fds(theirs, 1, 1)
        answer(listener, version)
        os._exit(0)
    listener = kernel.syscall("seccomp", 1, NEW_LISTENER, ctypes.create_string_buffer(program, len(program)))
    socket.send_fds(ours, [b"x"], [listener])
    os.close(listener)
    return ours


def answer(listener: int, version: int) -> None:
    """Answer every question with `version` until nobody is left to ask (seccomp_unotify(2))."""
    os.setsid()
    for fd in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while not any(event & select.POLLHUP for _, event in poll.poll()):
        question = bytearray(80)
        try:
            fcntl.ioctl(listener, NOTIF_RECEIVE, question)
            fcntl.ioctl(listener, NOTIF_SEND, bytearray(question[:8] + struct.pack("qiI", version, 0, 0)))
        except OSError:
            continue  # the asker has died


def main() -> None:
    order = {"cgroups": 0, "docker": 1, "landlock": 2, "seccomp": 3}  # later ones forbid what earlier ones need
    for mask in sorted(filter(None, sys.argv[1].split(",")), key=lambda m: order[m.partition("=")[0]]):
        name, _, value = mask.partition("=")
        {
            "cgroups": mask_cgroups,
            "docker": mask_docker,
            "landlock": lambda value=value: mask_landlock(int(value)),
            "seccomp": mask_seccomp,
        }[name]()
    os.execvp(sys.argv[2], sys.argv[2:])


def command(masks: str, argv: list[str]) -> list[str]:
    """The command that runs `argv` behind `masks`."""
    return [sys.executable, "-I", str(Path(__file__).resolve()), masks, *argv]


def run(masks: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run the program `code` behind `masks`, as this user."""
    return subprocess.run(
        command(masks, [sys.executable, "-c", code]), capture_output=True, text=True, timeout=60, check=False
    )


if __name__ == "__main__":
    main()
