"""What a program may use: one frozen object of limits and permissions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from .errors import ConfigError
from .network import Host, why_refused
from .tiers import TIERS, Tier

__all__ = ["Policy"]

_MIB = 1024 * 1024
_HTTPS = 443
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and permissions of one session. Everything not granted here is denied.

    Raises `ConfigError` for values that no host could enforce (zero, negative, not finite).
    """

    wall_seconds: float = 30.0
    """Seconds on the clock for one execution; then it is killed with status `timeout`."""
    cpu_seconds: float = 60.0
    """CPU seconds for one process of the program; beyond it, `timeout`."""
    cpus: float | None = None
    """CPUs that all processes of a session may use together, 0.5 for half of one; None for all there are. Needs a
    control group: where none can be made, `SandboxUnavailable`."""
    memory_bytes: int = 2048 * _MIB
    """Memory of all processes of a session together, its files in memory included; beyond it, `memory`."""
    processes: int = 64
    """Processes and threads alive at once; beyond it, fork fails inside the program. It sees a quarter as many
    processors at most, since pools start a process or thread for each."""
    history: int = 20
    """Steps of a session that can be undone. Each holds a frozen copy of its process, which takes the memory that was
    changed since; where memory gets short the oldest are dropped. 0: none, and no copy before an execution whose
    effects stay whatever comes of it."""
    output_bytes: int = 1 * _MIB
    """Bytes on stdout and stderr together; beyond it, `output`."""
    disk_bytes: int = 512 * _MIB
    """Bytes the program may write in its view of the folder; beyond it, writes fail with ENOSPC."""
    files: int = 20_000
    """Files and folders the program may create or change; beyond it, ENOSPC."""
    source_bytes: int = 1 * _MIB
    """Largest program that is accepted at all."""
    value_chars: int = 20_000
    """The text of the last expression's value and of an error is cut to this many characters."""
    displays: int = 20
    """Figures kept from one execution; further ones are left out, and `Execution.notes` says so."""
    display_bytes: int = 4 * _MIB
    """Bytes of one figure as PNG; a larger one is left out."""
    displays_bytes: int = 16 * _MIB
    """Bytes of all figures of one execution together; what does not fit any more is left out."""
    display_pixels: int = 40_000_000
    """Width times height of one figure, which whoever shows it has to hold; a larger one is left out."""
    site_packages: bool = True
    """Whether the packages installed beside this one (numpy, pandas, ...) can be imported."""
    packages: Path | None = None
    """The folder of a package set (`install_packages(...).path`), which can be imported from in the place of those."""
    preload: tuple[str, ...] = ()
    """Modules to import once, in the warm process that every session is forked from: pandas takes 0.8 s to import and
    then nothing. They must not start threads, and run with the powers of that process: name trusted ones only."""
    read_only: tuple[Path, ...] = ()
    """Further folders that the program may read, at their own paths."""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Environment variables to set inside; nothing is inherited."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that the program may reach, each `NAME` or `NAME:PORT` (443 where none is said); kept as `name:port`.
    Without any there is no network. With some there is a proxy, which the environment names: see `sandbox.network`."""
    traffic_bytes: int = 256 * _MIB
    """Bytes to and from those hosts in one execution; beyond it, connections are cut."""
    minimum_tier: Tier = "landlock"
    """The weakest wall to accept (see `sandbox.tiers`); where the host allows less, `SandboxUnavailable`."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and (not math.isfinite(value) or value <= 0) and (item.name, value) != ("history", 0):
                raise ConfigError(f"Policy.{item.name} must be a positive number, not {value!r}")
        if self.minimum_tier not in TIERS:
            raise ConfigError(f"Policy.minimum_tier: {self.minimum_tier!r} is none of {', '.join(TIERS)}")
        for name, value in self.env.items():
            if not _ENV_NAME.match(name) or "\0" in value:
                raise ConfigError(f"Policy.env: {name!r} is no environment variable that can be set")
        for name in self.preload:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ConfigError(f"Policy.preload: {name!r} is not the name of a module")
        for folder in self.read_only:
            if not folder.is_absolute() or not folder.is_dir():
                raise ConfigError(f"Policy.read_only: {folder} is not an absolute path of a folder")
        if self.packages is not None and not (self.packages.is_absolute() and self.packages.is_dir()):
            raise ConfigError(f"Policy.packages: {self.packages} is not an absolute path of a folder")
        object.__setattr__(self, "allow_hosts", _spelled(self.allow_hosts))


def _spelled(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Each host once and in one spelling. Raises `ConfigError`."""
    found: dict[str, None] = {}
    for text in (hosts,) if isinstance(hosts, str) else hosts:
        try:
            host = Host.parse(text, _HTTPS)
        except ValueError as error:
            raise ConfigError(f"Policy.allow_hosts: {text!r} {error}", hint="name it as NAME or NAME:PORT") from None
        if host.is_address and (why := why_refused(host.name)):
            raise ConfigError(f"Policy.allow_hosts: {why}", hint="no program is connected to private addresses")
        found[str(host)] = None
    return tuple(found)
