"""A container: made, hardened, attached to, ended. It holds one session and is never used for another."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..errors import SandboxUnavailable
from ..jail.server import boot
from ..policy import Policy
from .daemon import LABEL, Daemon, is_gone, owner, speaking
from .link import Link
from .profile import profile
from .rootfs import CODE, SITE

__all__ = ["LAYERS", "Container", "sweep"]

_USER = "65534:65534"
"""Nobody, as every system calls it."""
_OWN_MEMORY = 192 << 20
"""Bytes for the server and the warm process beside those of the session and of its files."""
_OWN_PROCESSES = 96
_OWN_FILES = 4096
LAYERS = (
    *("container", "container: no network", "container: no capabilities", "container: no-new-privs"),
    *("container: own seccomp profile", "container: read-only root", "container: not root", "container: control group"),
)
"""What the container adds to the wall in it."""
_ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
_COMMAND = ["python3", "-I", "-B", "-X", "utf8", "-c", boot(CODE, SITE)]
_ENVIRONMENT = {"LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108


class Container:
    """A running container with the server in it, to which `link` talks."""

    def __init__(
        self, daemon: Daemon, image: str, policy: Policy, runtime: str | None, reader: Mapping[str, int]
    ) -> None:
        self._daemon, self.notes = daemon, ()
        api = daemon.api
        with speaking("no container can be made"):
            made = api.create_container_from_config(_config(api, image, policy, runtime))
            self.id: str = made["Id"]
        self.notes = tuple(str(warning) for warning in made.get("Warnings") or ())
        try:
            with speaking("the container cannot be started"):
                self._attached: Any = api.attach_socket(self.id, params=_ATTACH)
                self.link = Link(_socket(self._attached), **reader, end=self._ended)
                api.start(self.id)
        except BaseException:
            self.remove()
            raise

    def _ended(self) -> None:
        """The stream has ended: end every process as well; the daemon then removes the container."""
        with suppress(SandboxUnavailable), speaking(""):
            self._daemon.api.kill(self.id)
        response: Any = getattr(self._attached, "_response", None)
        if response is not None:  # it holds what it was read with as well
            response.close()
        self._attached.close()

    def remove(self) -> None:
        """Remove it, whether it has been started or not."""
        with suppress(SandboxUnavailable), speaking(""):
            self._daemon.api.remove_container(self.id, force=True)

    def close(self) -> None:
        """End it. Safe to call twice."""
        self.link.close()


def _socket(attached: Any) -> socket.socket:
    """The plain socket below what the SDK gives, on which nothing times out."""
    stream: socket.socket = getattr(attached, "_sock", attached)
    stream.settimeout(None)
    return stream


def _config(api: Any, image: str, policy: Policy, runtime: str | None) -> dict[str, Any]:
    """What the daemon is asked for. Beside its image nothing of the host is in the container."""
    host: dict[str, Any] = api.create_host_config(
        auto_remove=True,
        cap_drop=["ALL"],
        ipc_mode="private",
        log_config={"type": "none", "config": {}},
        mem_limit=(memory := policy.memory_bytes + 2 * policy.disk_bytes + _OWN_MEMORY),
        memswap_limit=memory,
        nano_cpus=None if policy.cpus is None else round(policy.cpus * 1e9),
        network_mode="none",
        pids_limit=2 * (policy.processes + policy.history) + _OWN_PROCESSES,
        read_only=True,
        runtime=runtime,
        security_opt=["no-new-privileges:true", f"seccomp={profile()}"],
        tmpfs={"/tmp": _tmpfs(policy)},  # noqa: S108
    )
    # An unmasked /proc is what a nested one may be mounted over; a program sees its own only.
    host |= {"MaskedPaths": [], "ReadonlyPaths": [], "CgroupnsMode": "private"}
    config: dict[str, Any] = api.create_container_config(
        image,
        _COMMAND,
        hostname="sandsmith",
        user=_USER,
        stdin_open=True,
        detach=False,
        network_disabled=True,
        environment=_ENVIRONMENT,
        labels={f"{LABEL}.session": owner()},
        working_dir="/",
        host_config=host,
    )
    return {**config, "Entrypoint": []}


def _tmpfs(policy: Policy) -> str:
    """The folder, its changes when they are collected, and what the session writes elsewhere count each on its own."""
    return f"size={2 * policy.disk_bytes + (64 << 20)},nr_inodes={3 * policy.files + _OWN_FILES},mode=1777,nosuid,nodev"


def sweep(daemon: Daemon) -> None:
    """Remove the containers that processes of this machine left behind before they could be started."""
    with speaking("the daemon does not answer"):
        found = daemon.api.containers(all=True, filters={"label": f"{LABEL}.session"})
    for row in found:
        if is_gone(row["Labels"][f"{LABEL}.session"]):
            with suppress(SandboxUnavailable), speaking(""):
                daemon.api.remove_container(row["Id"], force=True)
