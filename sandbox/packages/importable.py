"""Which packages programs can import: from the folders beside this interpreter, or from a set."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .sets import load_set

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["fits_python", "import_folders", "installed_folders", "pins", "unmet"]


def import_folders(packages: Path | None) -> list[Path]:
    """Where programs import from: the set in `packages`, or what is installed beside this interpreter."""
    return installed_folders() if packages is None else [load_set(packages).site]


def installed_folders() -> list[Path]:
    """The folders of installed packages that this interpreter itself imports from."""
    paths = (Path(p) for p in sys.path if p)
    return [p for p in paths if p.name in ("site-packages", "dist-packages") and p.is_dir()]


def fits_python(specifier: str) -> bool:
    """Whether this interpreter is one of those that `specifier` (`>=3.11`) admits. Raises `ConfigError` for no such."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains("{}.{}.{}".format(*sys.version_info[:3]), prereleases=True)
    except InvalidSpecifier as error:
        raise ConfigError(f"{specifier!r} names no versions of Python: {str(error).splitlines()[0]}") from None


def pins(modules: Iterable[str], folders: Sequence[Path]) -> tuple[str, ...]:
    """`name==version` of the packages in `folders` that bring these modules, by their top-level names."""
    wanted = set(modules)
    found = {_name(d): d.version for d in _there(folders) if wanted & set(_modules(d))}
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def unmet(requirements: Iterable[str], folders: Sequence[Path]) -> dict[str, str]:
    """Those of the requirements that what is in `folders` does not meet, with the version that is there, or nothing.

    Raises `ConfigError` for what is no requirement.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    there = {_name(d): d.version for d in reversed(list(_there(folders)))}
    found: dict[str, str] = {}
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise ConfigError(f"{text!r} is no requirement: {str(error).splitlines()[0]}") from None
        version = there.get(canonicalize_name(wanted.name), "")
        applies = wanted.marker is None or wanted.marker.evaluate()
        if applies and not (version and wanted.specifier.contains(version, prereleases=True)):
            found[text] = version
    return found


def _there(folders: Sequence[Path]) -> Iterable[Distribution]:
    from importlib.metadata import distributions  # takes time to load

    return distributions(path=[str(folder) for folder in folders])


def _name(distribution: Distribution) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(distribution.name)


def _modules(distribution: Distribution) -> Iterator[str]:
    """The top-level names that a distribution brings, by the list of its files."""
    for file in distribution.files or ():
        top = file.parts[0]
        if len(file.parts) > 1 and not top.endswith((".dist-info", ".egg-info", ".data", ".libs")):
            yield top
        elif len(file.parts) == 1 and top.endswith((".py", ".so")):
            yield top.partition(".")[0]
