"""What a program may use: one frozen object of limits and permissions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from .errors import ConfigError

__all__ = ["Policy"]

_MIB = 1024 * 1024
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
    memory_bytes: int = 2048 * _MIB
    """Memory of all processes of a session together, its files in memory included; beyond it, `memory`."""
    processes: int = 64
    """Processes and threads alive at once; beyond it, fork fails inside the program."""
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
    """Figures kept from one execution."""
    site_packages: bool = True
    """Whether the packages installed beside this one (numpy, pandas, ...) can be imported."""
    read_only: tuple[Path, ...] = ()
    """Further folders that the program may read, at their own paths."""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Environment variables to set inside; nothing is inherited."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and (not math.isfinite(value) or value <= 0):
                raise ConfigError(f"Policy.{item.name} must be a positive number, not {value!r}")
        for name, value in self.env.items():
            if not _ENV_NAME.match(name) or "\0" in value:
                raise ConfigError(f"Policy.env: {name!r} is no environment variable that can be set")
        for folder in self.read_only:
            if not folder.is_absolute() or not folder.is_dir():
                raise ConfigError(f"Policy.read_only: {folder} is not an absolute path of a folder")
