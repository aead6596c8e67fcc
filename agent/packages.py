"""Package sets in the user's cache folder: what `--with` installs, and the set that a run was recorded with."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sandbox import PackageSet, SandboxUnavailable
from sandbox import packages as sets

from .errors import ConfigError
from .settings import load_settings

__all__ = ["find_recorded", "install_packages", "packages_folder"]


def packages_folder() -> Path:
    """Where sets are kept."""
    return load_settings().cache_dir / "packages"


def install_packages(requirements: Iterable[str], *, on_step: sets.OnStep = lambda what: None) -> PackageSet:
    """`sandbox.install_packages` in the cache folder: `Policy(packages=install_packages(["pandas>=2"]).path)`."""
    return sets.install_packages(requirements, packages_folder(), on_step=on_step)


def find_recorded(recorded: PackageSet) -> Path:
    """The folder of an installed set that holds the very wheels of a recorded one. Raises `ConfigError`."""
    for path in [recorded.path, *sets.list_sets(packages_folder())]:
        with suppress(ConfigError, SandboxUnavailable):  # gone, or damaged
            if _locks(sets.load_set(path)) == _locks(recorded):
                return path
    exact = " ".join(map(str, recorded.packages))
    raise ConfigError("the packages of this run are not installed any more", hint=f"sandsmith packages add {exact}")


def _locks(found: PackageSet) -> list[str]:
    return [package.lock for package in found.packages]
