"""The seccomp profile of the container: what a program may call, and what building the wall in there takes besides.

A program is held to less by its own filter. The profile is made from that filter's table, so that both speak of the
same calls. Source: https://docs.docker.com/engine/security/seccomp/
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from typing import Any

from ..worker import seccomp

__all__ = ["profile"]

_FOR_THE_WALL = """
    capset landlock_add_rule landlock_create_ruleset landlock_restrict_self mount mount_setattr move_mount open_tree
    pivot_root seccomp sethostname setns umount2 unshare
""".split()
"""Namespaces, mounts and filters, in a user namespace: there are no capabilities outside of it."""
_WITH_OTHER_ARGUMENTS = "clone fcntl mknod mknodat prctl prlimit64 socketpair".split()
"""Calls that a program may make with some arguments, and the wall with others."""
_IOCTL = (*seccomp.IOCTL, 0xB702, 0xC0502100, 0xC0182101)
"""NS_GET_PARENT, and how the one who listens to a filter reads and answers."""
_QUERY = 0xFFFFFFFF


def profile() -> str:
    """The profile as the JSON text that a daemon takes."""
    allowed = {*seccomp.ALLOWED, *_FOR_THE_WALL, *_WITH_OTHER_ARGUMENTS}
    rules = [
        _allow(sorted(allowed)),
        _allow(["personality"], (0, _QUERY)),
        *(_allow(["ioctl"], (1, request)) for request in _IOCTL),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS, "args": []},
    ]
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": errno.EPERM,
            "archMap": [{"architecture": name, "subArchitectures": []} for name in architectures],
            "syscalls": rules,
        }
    )


def _allow(names: Sequence[str], argument: tuple[int, int] | None = None) -> dict[str, Any]:
    """Allow the calls, where `argument` (its index and value) is given only with that one."""
    tests = [] if argument is None else [{"index": argument[0], "value": argument[1], "op": "SCMP_CMP_EQ"}]
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": tests}
