"""The Docker daemon: what it is, and its errors as ours."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SandboxUnavailable
from ..text import clean

__all__ = ["LABEL", "Daemon", "connect", "is_gone", "owner", "speaking"]

LABEL = "dev.sandsmith"
"""What the labels of our images and containers begin with."""
_OLDEST = (1, 41)
"""The API of Docker 20.10: profiles that name new system calls, and which of them are not allowed with which error."""
_SECONDS = 60
_START = "start it (systemctl start docker), or say where one is (DOCKER_HOST)"
_ROOM = "make room: docker system df, docker image prune"


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that can be asked."""

    api: Any
    """`docker.APIClient`: the daemon's own words, where the other client hides what is needed here."""
    version: str
    runtimes: tuple[str, ...]
    seccomp: bool

    def close(self) -> None:
        self.api.close()


def connect() -> Daemon:
    """The daemon that DOCKER_HOST names, or the one of this machine. Raises `SandboxUnavailable`."""
    try:
        docker: Any = importlib.import_module("docker")
    except ImportError as error:
        raise SandboxUnavailable(f"the Docker SDK cannot be imported: {error}", hint="pip install docker") from None
    with speaking("Docker cannot be reached"):
        api = docker.from_env(timeout=_SECONDS).api
        api.trust_env = False  # each request would read the environment, which other threads may change meanwhile
        try:
            return _known(api, api.version(), api.info())
        except BaseException:
            api.close()
            raise


def _known(api: Any, version: dict[str, Any], info: dict[str, Any]) -> Daemon:
    """Raises `SandboxUnavailable` for a daemon that cannot build the wall."""
    name = clean(str(version.get("Version")), 100)
    if _numbers(str(version.get("ApiVersion"))) < _OLDEST:
        raise SandboxUnavailable(f"Docker {name} is too old", hint="Docker 20.10 or newer is needed")
    if version.get("Os") != "linux":
        raise SandboxUnavailable(
            f"Docker runs {version.get('Os')} containers here", hint="have it run Linux containers"
        )
    seccomp = any("seccomp" in str(option) for option in info.get("SecurityOptions") or ())
    return Daemon(api, name, tuple(sorted(info.get("Runtimes") or {})), seccomp)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


@contextmanager
def speaking(what: str) -> Generator[None]:
    """Have what the daemon, or the way to it, answers raised as `SandboxUnavailable`, which begins with `what`."""
    errors: Any = importlib.import_module("docker.errors")
    transport: Any = importlib.import_module("requests.exceptions")
    try:
        yield
    except (errors.DockerException, transport.RequestException) as error:
        why, hint = _explained(error)
        raise SandboxUnavailable(f"{what}: {why}", hint=hint) from None


def _explained(error: Exception) -> tuple[str, str]:
    """What was wrong, and what to do about it."""
    text = clean(str(getattr(error, "explanation", None) or error), 500)
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return "no permission for its socket", "join the group docker (which is as good as root), or run as root"
    if any(isinstance(cause, (FileNotFoundError, ConnectionError)) for cause in causes) or "Errno 111" in text:
        return "no daemon answers", _START
    if "no space left" in text:
        return text, _ROOM
    return text, "`docker info` tells more"


def _causes(error: BaseException) -> Generator[BaseException]:
    """An error, and those that it came of: the SDK has them as arguments and contexts."""
    todo: list[Any] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [*one.args, one.__context__, one.__cause__]


def owner() -> str:
    """Names this process among all that may have used the daemon; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}/{_life(os.getpid())}"
    except OSError:
        return ""


def is_gone(name: str) -> bool:
    """Whether the process that `owner` has named so was of this machine and is no more."""
    mine, theirs = owner().rsplit("/", 1), name.rsplit("/", 1)
    if len(theirs) != 2 or mine[0] != theirs[0]:
        return False
    pid = theirs[1].partition("-")[0]
    try:
        return _life(int(pid)) != theirs[1]
    except (OSError, ValueError):
        return True


def _life(pid: int) -> str:
    """The number of a process and when it began (proc_pid_stat(5)): numbers come again."""
    return f"{pid}-{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
