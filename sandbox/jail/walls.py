"""The walls that a jail can be built with, one per kind of host: what each needs, and what its receipt says.

`Namespaces` is tried first. Where the kernel, or who configured it, refuses a step of it, `Landlock` is tried, unless
the policy demands more. Where that cannot be built either there is no jail. Which tier was reached is in the receipt.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from ..errors import SandboxUnavailable
from ..execution import Receipt
from ..policy import Policy
from ..tiers import Tier, reaches
from ..worker import kernel, landlock
from . import cgroups
from .channel import HINTS, NotHere
from .landlock_session import LandlockSession, make_folder
from .session import JailSession
from .slot import Slot, Slots

__all__ = ["WATCHED", "Landlock", "Namespaces", "Wall", "require", "require_landlock_alone", "require_seccomp"]

_LANDLOCK_FLOOR = 4
"""The version that can deny TCP (Linux 6.7); before the third one, truncate(2) goes through."""
_SECCOMP_GET_ACTION_AVAIL, _KILL_PROCESS = 2, b"\0\0\0\x80"
_WAY_TO_GROUPS = "run as root, or where systemd delegates control groups to you; or accept the tier namespaces"
_WAY_OUT = (
    "allow user namespaces, or run sandsmith in a container that may make them: docker run --security-opt "
    "seccomp=unconfined --security-opt systempaths=unconfined, with --user 1000 or, as root, --cap-add SYS_ADMIN "
    "(and --security-opt apparmor=unconfined where AppArmor is in use)"
)
WATCHED = "no cgroup: memory is watched every 50 ms, not by the kernel"


class Wall(Protocol):
    """One way to build."""

    zygote: str
    """The worker's module that builds it."""
    ahead: bool
    """Whether a session can be made before its caller asks."""

    @property
    def tier(self) -> Tier: ...

    def settings(self) -> dict[str, Any]:
        """What its zygote needs to know beyond the policy and the layout."""
        ...

    def receipt(self, policy: Policy, notes: Sequence[str]) -> Receipt:
        """The layers around every session, and what does not hold."""
        ...

    def open(
        self,
        zygote: socket.socket,
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
        slots: Slots,
    ) -> JailSession:
        """A fresh session, in one of the `slots` that are free where they can be used again."""
        ...


class Namespaces:
    """Namespaces and a root of its own, seccomp, Landlock; the tier `full` where control groups can be made."""

    zygote = "zygote"
    ahead = True

    @property
    def tier(self) -> Tier:
        return "full" if cgroups.version() else "namespaces"

    def settings(self) -> dict[str, Any]:
        return {}

    def receipt(self, policy: Policy, notes: Sequence[str]) -> Receipt:
        hosts = policy.allow_hosts
        layers = ["user-namespace", "pid-namespace", "mount-namespace", "net-namespace", "ipc-namespace"]
        layers += ["uts-namespace", "cgroup-namespace", "pivot-root", "overlayfs", "no-capabilities", "no-new-privs"]
        layers += [f"network: proxy to {', '.join(hosts)}"] if hosts else []
        return _receipt(self.tier, layers, notes)

    def open(
        self,
        zygote: socket.socket,
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
        slots: Slots,
    ) -> JailSession:
        slot = slots.take() or Slot(zygote, policy)
        return JailSession(slot, slots.give_back, policy, receipt, folder, inputs)


class Landlock:
    """One process behind Landlock and seccomp, on copies of the folder that lie in `place`."""

    zygote = "landlock_zygote"
    ahead = False  # a copy shows the folder as it was when it was made
    tier: Tier = "landlock"

    def __init__(self, place: Path, ids: tuple[int, int] | None, why: str) -> None:
        self._place, self._ids, self._why = place, ids, why
        self._numbers = count()

    def settings(self) -> dict[str, Any]:
        self._place.chmod(0o711)  # the program's user has to pass; each session's folder in it is closed to others
        rehearsal = self._place / "rehearsal"
        try:
            make_folder(make_folder(rehearsal, self._ids) / "began", self._ids)
        except OSError as error:
            raise SandboxUnavailable(
                f"the jail cannot be built here: no folder for another user: {error.strerror}",
                hint=HINTS["unprivileged user"],
            ) from None
        return {"rehearsal": str(rehearsal)}

    def receipt(self, policy: Policy, notes: Sequence[str]) -> Receipt:
        weaker = (
            f"weaker wall, without namespaces ({self._why}): programs cannot fork or exec; names, sizes and times of "
            "the host's files can be seen; limits on disk, files and threads are watched every 50 ms",
            "the program works on a copy of the folder",
        )
        return _receipt(self.tier, ["one-process", "no-capabilities", "no-new-privs"], (*weaker, *notes))

    def open(
        self,
        zygote: socket.socket,
        policy: Policy,
        receipt: Receipt,
        folder: Path | None,
        inputs: Path | None,
        slots: Slots,
    ) -> JailSession:
        place = self._place / f"session-{next(self._numbers)}"
        return LandlockSession(zygote, policy, receipt, folder, inputs, place, self._ids)


def _receipt(tier: Tier, layers: Sequence[str], notes: Sequence[str]) -> Receipt:
    group = cgroups.version()
    common = ["seccomp", f"landlock-{landlock.abi()}", "rlimits", *([f"cgroup-v{group}"] if group else [])]
    return Receipt("jail", tier, (*layers, *common), (*(() if group else (WATCHED,)), *notes))


def require_seccomp() -> None:
    """Raises `SandboxUnavailable` where filters of system calls cannot be installed (seccomp(2))."""
    try:
        kernel.syscall("seccomp", _SECCOMP_GET_ACTION_AVAIL, 0, _KILL_PROCESS)
    except OSError as error:
        raise SandboxUnavailable(
            f"the jail cannot be built here: the kernel does not let system calls be filtered ({error.strerror})",
            hint="a kernel with CONFIG_SECCOMP_FILTER is needed; use another machine, or a virtual machine",
        ) from None


def require_landlock_alone(refused: NotHere, policy: Policy) -> None:
    """Raises `SandboxUnavailable` where Landlock cannot stand in for the namespaces that were `refused`: it is too old,
    or the policy allows hosts, which takes a network of the session's own."""
    if policy.allow_hosts:
        raise SandboxUnavailable(f"{refused}; without namespaces no host can be allowed", hint=refused.hint)
    if (version := landlock.abi()) < _LANDLOCK_FLOOR:
        raise SandboxUnavailable(
            f"{refused}; without namespaces Landlock {_LANDLOCK_FLOOR} is needed (Linux 6.7), and this kernel has "
            f"Landlock {version}",
            hint=_WAY_OUT,
        )


def require(minimum: Tier, reached: Tier, why: str) -> None:
    """Raises `SandboxUnavailable` when `reached` is below `minimum`; `why` it is not more."""
    if not reaches(reached, minimum):
        raise SandboxUnavailable(
            f"the tier {minimum} is demanded, and this host reaches {reached} at most: {why}",
            hint=_WAY_OUT if reached == "landlock" else _WAY_TO_GROUPS,
        )
