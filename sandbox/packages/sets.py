"""A package set on disk: what is in it, whether it is whole, and which there are.

<digest>/
    site-packages/     what programs import, and nothing else is shown to them
    requirements.txt   the lock: name, version and sha256 of every wheel
    set.json           what was asked for, for which platform, and what came of it
    files.json         size and sha256 of every file in site-packages
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SandboxUnavailable
from .requirements import digest_of, parse, platform, split

__all__ = [
    "ABOUT",
    "FILES",
    "LOCK",
    "SITE",
    "UNFINISHED",
    "Package",
    "PackageSet",
    "delete",
    "delete_set",
    "entries",
    "find_set",
    "list_sets",
    "load_set",
    "locked",
    "no_room",
    "sha256_of",
]

SITE, LOCK, ABOUT, FILES = "site-packages", "requirements.txt", "set.json", "files.json"
UNFINISHED = ".part-"
"""How the name of a folder begins that is being made or removed."""


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel of a set."""

    name: str
    version: str
    sha256: str
    url: str
    """Where it came from, without credentials."""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def lock(self) -> str:
        """Its line in a requirements file, which admits these bytes and no others."""
        return f"{self} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class PackageSet:
    """An installed set. It belongs to the interpreter and machine it was made for."""

    path: Path
    requirements: tuple[str, ...]
    """What was asked for."""
    packages: tuple[Package, ...]
    """Everything that came of it, sorted by name."""
    modules: tuple[str, ...]
    """What the packages that were asked for are imported as."""
    platform: str
    size: int
    """Bytes of all files."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def site(self) -> Path:
        """The folder that programs import from."""
        return self.path / SITE

    def check(self) -> None:
        """Compare names and sizes of all files with those that were installed, in milliseconds.

        Raises `SandboxUnavailable` when they differ, `ConfigError` for a set of another interpreter.
        """
        if self.platform != platform():
            hint = f"install it again with this one: sandsmith packages add {' '.join(map(repr, self.requirements))}"
            raise ConfigError(f"the package set {self.name} is for Python {self.platform}", hint=hint)
        self._compare({name: size for name, (size, _) in self._files().items()})

    def verify(self) -> None:
        """Compare every byte with what was installed. Raises as `check`."""
        self.check()
        for name, (_, sha256) in self._files().items():
            if sha256_of(self.site / name) != sha256:
                raise _damaged(self.path, f"{name} has changed")

    def to_json(self) -> dict[str, Any]:
        """The set as plain data: what a run keeps of it."""
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PackageSet:
        """The set that `to_json` wrote. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls(
            path=Path(data["path"]),
            requirements=tuple(map(str, data["requirements"])),
            packages=tuple(Package(**package) for package in data["packages"]),
            modules=tuple(map(str, data["modules"])),
            platform=str(data["platform"]),
            size=int(data["size"]),
        )

    def _files(self) -> dict[str, tuple[int, str]]:
        try:
            return {name: (int(size), str(sha)) for name, (size, sha) in _read(self.path / FILES).items()}
        except (TypeError, ValueError):
            raise _damaged(self.path, f"{FILES} cannot be read") from None

    def _compare(self, expected: Mapping[str, int]) -> None:
        try:
            found = dict(entries(self.site))
        except OSError as error:
            raise _damaged(self.path, str(error)) from None
        for name in sorted(expected.keys() | found.keys()):
            if found.get(name) != expected.get(name):
                what = "is missing" if name not in found else "has changed" if name in expected else "was added"
                raise _damaged(self.path, f"{name} {what}")


def load_set(path: Path) -> PackageSet:
    """The set in the folder `path`. Raises `ConfigError` when there is none, `SandboxUnavailable` for a damaged one."""
    if not (path / ABOUT).is_file():
        raise ConfigError(f"{path} is no package set", hint="`sandsmith packages list` lists them")
    about = _read(path / ABOUT)
    try:
        return PackageSet.from_json({**about, "path": path})
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"{ABOUT} cannot be read") from None


def list_sets(folder: Path) -> list[Path]:
    """The folders of the sets in `folder`, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def find_set(folder: Path, ref: str) -> Path:
    """The folder of the set meant by `ref`: its name, the beginning of it, or what was asked for.

    Raises `ConfigError` when there is none, or more than one.
    """
    there = list_sets(folder)
    found = [path for path in there if path.name.startswith(ref)] if ref else []
    if not found:
        wanted = digest_of(parse(split(ref)))
        found = [path for path in there if path.name == wanted]
    if len(found) == 1:
        return found[0]
    what = f"{ref!r} is the beginning of {len(found)} package sets" if found else f"there is no package set {ref!r}"
    raise ConfigError(what, hint="`sandsmith packages list` lists them")


def delete_set(path: Path) -> None:
    """Remove a set; a program that uses it now loses its packages. Raises `SandboxUnavailable`."""
    with locked(path.parent):
        doomed = path.with_name(f"{UNFINISHED}{path.name}")  # from here on it is no set, whenever we are killed
        path.rename(doomed)
        delete(doomed)


@contextmanager
def locked(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Generator[int]:
    """Hold `folder`, made when missing, against other processes, and remove what dead ones left; yields the descriptor.

    Whoever inherits the descriptor holds the folder too. Raises `SandboxUnavailable`, also for an `OSError` inside.
    """
    import fcntl  # not on Windows

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in folder.glob(f"{UNFINISHED}*"):
                delete(leftover)
            yield lock.fileno()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> SandboxUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_room(folder)
    hint = "set SANDSMITH_CACHE_DIR to a folder that you can write"
    return SandboxUnavailable(f"cannot keep packages in {folder}: {error.strerror or error}", hint=hint)


def no_room(folder: Path) -> SandboxUnavailable:
    """The disk is full."""
    hint = "free some space, or set SANDSMITH_CACHE_DIR to a folder on a larger disk"
    return SandboxUnavailable(f"no room for the packages in {folder}", hint=hint)


def delete(path: Path) -> None:
    """Remove a folder, write-protected or not; one that is not there is fine. Raises `OSError`."""
    for top, _, _ in os.walk(path):
        Path(top).chmod(0o700)
    if path.exists():
        shutil.rmtree(path)


def entries(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Path and size of every file below `folder`; what is neither file nor folder has size -1. Raises `OSError`."""
    with os.scandir(folder) as found:
        for entry in found:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from entries(Path(entry.path), f"{name}/")
            else:
                yield name, entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else -1


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict):
        raise _damaged(file.parent, f"{file.name} cannot be read")
    return data  # pyright: ignore[reportUnknownVariableType]


def _damaged(path: Path, why: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"the package set in {path} is damaged: {why}",
        hint=f"`sandsmith packages remove {path.name}`, then install it again",
    )
