"""A root file system from what is on this machine, so that an image can be made where no registry is reachable.

It holds the running interpreter with its standard library below /usr/local, the shared libraries that it, the packages
and a few everyday commands need, time zones, and nothing else of the machine.
"""

from __future__ import annotations

import io
import os
import py_compile
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..errors import SandboxUnavailable

__all__ = ["CODE", "SITE", "Contents", "code", "compiled", "machine", "write_tar"]

Contents = dict[str, "Path | bytes"]
"""What lies at each path of the image: a file of this machine, or bytes."""

CODE = "/opt/sandsmith"
"""Where the image has the package `sandbox`."""
SITE = f"{CODE}/site-packages"
"""Where it has the packages that programs import."""
_PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_ETC: Contents = {
    "/etc/passwd": b"root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}
_BYTECODE = f".{sys.implementation.cache_tag}.pyc"
_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
_LEFT_OUT = frozenset(
    ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages")
)
_COMMANDS = """
    awk bash basename cat chmod cp cut date dirname echo env expr false find grep gzip head hostname id ls mkdir mktemp
    mv printf pwd rm sed seq sh sleep sort stat tail tar tee test touch tr true uname uniq wc which xargs
""".split()
_DATA = ("/usr/share/zoneinfo", "/usr/lib/locale/C.utf8", "/etc/localtime", "/etc/mime.types", "/etc/ld.so.cache")
_MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FOUND = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$")
_AT_ONCE = 200


def code() -> Contents:
    """The package `sandbox` as it is here, without what compiled it; the same bytes give the same image."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*.py"))
    return {f"{CODE}/sandbox/{path.relative_to(package)}": path for path in files}


def compiled(contents: Mapping[str, Path | bytes]) -> Contents:
    """The bytecode of the modules in `contents`, for an image with this interpreter, where nobody could write it."""
    found: Contents = {}
    with tempfile.TemporaryDirectory() as place:
        for target, source in contents.items():
            path = Path(target)
            cached = path.parent / "__pycache__" / f"{path.stem}{_BYTECODE}"
            made = Path(place) / "made.pyc"
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(source), str(made), dfile=target, doraise=True, invalidation_mode=mode)
            found[str(cached)] = made.read_bytes()
    return found


def machine(packages: Contents) -> Contents:
    """The interpreter, libraries and data of this machine that a program with these `packages` needs.

    Raises `SandboxUnavailable` where they cannot be found out.
    """
    interpreter = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    found: Contents = {f"/usr/local/bin/{name}": interpreter for name in ("python3", _PYTHON)}
    found |= {f"/usr/local/lib/{_PYTHON}/{name}": path for name, path in _tree(stdlib, _LEFT_OUT)}
    found |= {f"/usr/bin/{name}": path for name in _COMMANDS if (path := _command(name))}
    for data in map(Path, _DATA):
        if data.is_dir():
            found |= {f"{data}/{name}": path for name, path in _tree(data)}
        elif data.is_file():
            found[str(data)] = data.resolve()
    found |= _ETC
    own = frozenset(str(path) for path in packages.values() if isinstance(path, Path))
    return found | _libraries([*found.values(), *packages.values()], own)


def _tree(folder: Path, left_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path]]:
    """Each file below `folder` by its relative path, what links lead to in their place."""
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("config-"))
        for name in sorted(files):
            if name.startswith("_tkinter.") or (name.endswith(".pyc") and not name.endswith(_BYTECODE)):
                continue
            path = Path(top) / name
            if path.is_file() and os.access(path, os.R_OK):
                yield str(path.relative_to(folder)), path


def _command(name: str) -> Path | None:
    """A command of this machine that is a program, and no script."""
    for folder in ("/usr/bin", "/bin"):
        path = Path(folder) / name
        with suppress(OSError):
            if _is_elf(path):
                return path.resolve()
    return None


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(files: Iterable[Path | bytes], own: frozenset[str]) -> Contents:
    """The shared libraries that `files` need, but those that are their `own`. Raises `SandboxUnavailable`."""
    programs = sorted({str(f) for f in files if isinstance(f, Path) and _may_link(f) and _is_elf(f)})
    needed: set[str] = set()
    for start in range(0, len(programs), _AT_ONCE):
        try:
            done = subprocess.run(
                ["ldd", *programs[start : start + _AT_ONCE]], capture_output=True, text=True, timeout=120, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable(
                f"no image can be made from this machine: ldd: {error}",
                hint="name a base image: --base python:3.11-slim",
            ) from None
        needed |= {match[1] for line in done.stdout.splitlines() if (match := _FOUND.search(line.strip()))}
    home = Path(next(path for path in needed if "/libc.so" in path)).resolve().parent
    return {
        _placed(path, home): Path(path).resolve() for path in sorted(needed) if str(Path(path).resolve()) not in own
    }


def _may_link(path: Path) -> bool:
    return ".so" in path.name or path.stat().st_mode & stat.S_IXUSR != 0


def _placed(path: str, home: Path) -> str:
    """Where the image has a library: where this machine has it, or beside the C library if that is no place of the
    system, since programs see those places only."""
    folder = Path(path).parent.resolve()
    if Path("/usr") in folder.parents or str(folder) in _MERGED:
        return str(folder / Path(path).name)
    return str(home / Path(path).name)


def write_tar(contents: Mapping[str, Path | bytes], out: IO[bytes], *, whole: bool) -> None:
    """Write the archive of `contents`, all of it root's and readable by all; of a `whole` root file system, with the
    folders and links that every one has."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        made = _add_skeleton(tar) if whole else set[str]()
        for target, source in sorted(contents.items()):
            for folder in _new_folders(target, made):
                tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
            _add(tar, target, source)


def _add_skeleton(tar: tarfile.TarFile) -> set[str]:
    """Add the folders and links that every system has; the folders that are there then."""
    for name in _FOLDERS:
        tar.addfile(_entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
    for path in map(Path, _MERGED):
        if path.is_symlink():
            link = _entry(path.name, tarfile.SYMTYPE, 0o777)
            link.linkname = str(path.readlink())
            tar.addfile(link)
    return {f"/{name}" for name in _FOLDERS}


def _new_folders(target: str, made: set[str]) -> list[str]:
    """The folders above `target` that are not in `made` yet, which they then are."""
    missing = [str(path).lstrip("/") for path in reversed(Path(target).parents) if str(path) not in {*made, "/"}]
    made |= {f"/{name}" for name in missing}
    return missing


def _add(tar: tarfile.TarFile, target: str, source: Path | bytes) -> None:
    if isinstance(source, bytes):
        entry = _entry(target, tarfile.REGTYPE, 0o644)
        entry.size = len(source)
        tar.addfile(entry, io.BytesIO(source))
        return
    with source.open("rb") as file:
        info = os.fstat(file.fileno())
        entry = _entry(target, tarfile.REGTYPE, 0o755 if info.st_mode & stat.S_IXUSR else 0o644)
        entry.size, entry.mtime = info.st_size, int(info.st_mtime)  # bytecode names the time of its source
        tar.addfile(entry, file)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.mode = kind, mode
    return entry
