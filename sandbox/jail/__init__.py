"""The jail: full CPython in its own process, behind namespaces, seccomp, Landlock, limits and a cgroup. Linux only.

Covered and tested: reading and writing the host, network, other processes, resource exhaustion, what is left behind.
Not covered: bugs of the shared kernel, side channels through the CPU and the page cache. See `docs/sandbox.md`.
"""

from .doctor import Probe, doctor
from .launch import Jail
from .session import JailSession

__all__ = ["Jail", "JailSession", "Probe", "doctor"]
