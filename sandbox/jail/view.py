"""What of this host a jail shows: the interpreter, its libraries, the packages, the user's folder."""

from __future__ import annotations

import os
import random
import shutil
import ssl
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ..changes.nouns import withheld
from ..errors import ConfigError, SandboxUnavailable
from ..packages import SITE, installed_folders, load_set
from ..policy import Policy
from ..worker.network import PORT

__all__ = ["checked_folder", "copy", "environment", "layout", "may_read", "owner", "worker_ids", "write_protected"]

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/fonts", "/etc/alternatives")
_PREFIX_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
_DYNAMIC_UIDS = range(61184, 65520)
"""Users that no account has: the range systemd gives to services without one (systemd.exec(5), DynamicUser=)."""
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""In both cases: urllib and curl read http_proxy only so, others the other way."""


def worker_ids() -> tuple[int, int] | None:
    """User and group of the host that programs run as when we are root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    uid = random.choice(_DYNAMIC_UIDS)  # noqa: S311  # any free one will do
    return uid, uid


def environment(policy: Policy) -> dict[str, str]:
    """The whole environment of a program: nothing is inherited."""
    scripts = str(Path(sys.executable).parent)
    return {
        "HOME": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "PATH": f"{scripts}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": "/tmp",  # noqa: S108
        "USER": "user",
        "PYTHONWARNINGS": "ignore:FigureCanvasAgg is non-interactive:UserWarning",
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # it warns at every call that there is no /proc/cpuinfo
        **dict.fromkeys(_THREADS, "1"),
        **(dict.fromkeys(_PROXIES, f"http://127.0.0.1:{PORT}") if policy.allow_hosts else {}),
        **({"PYTHONPATH": str(policy.packages / SITE)} if policy.packages else {}),
        **policy.env,
    }


def layout(folder: Path | None, inputs: Path | None, policy: Policy) -> dict[str, Any]:
    """Binds, links and lower layers for the worker's `root.build`. Raises `ConfigError` for folders not there."""
    installed = installed_folders()
    packages = _importable(policy, installed)
    roots = {Path(p) for p in _SYSTEM} | _interpreter() | set(packages) | set(policy.read_only)
    roots |= _certificates() if policy.allow_hosts else set()
    links = {str(p): str(p.readlink()) for p in roots if p.is_symlink() and str(p) in _SYSTEM}
    binds = sorted({str(p) for p in roots if str(p) not in links and p.exists()})
    lowers = {name: str(path) for name, path in (("inputs", inputs), ("folder", folder)) if path is not None}
    covered = [str(p) for p in installed if p not in packages]  # a child of the program would find them
    return {
        "binds": _outermost(binds),
        "covered": covered,
        "links": links,
        "lowers": lowers,
        "paths": [str(p) for p in packages],
    }


def _importable(policy: Policy, installed: list[Path]) -> list[Path]:
    """The folders of packages that programs import from. Raises as `PackageSet.check`."""
    if policy.packages is None:
        return installed if policy.site_packages else []
    chosen = load_set(policy.packages)
    chosen.check()
    return [chosen.site]


def _interpreter() -> set[Path]:
    """The folders that the running interpreter lives in, those of its virtual environment included."""
    found: set[Path] = set()
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        found |= {Path(prefix) / part for part in _PREFIX_PARTS}
    executable = Path(sys.executable)
    found |= {executable.resolve().parent, Path(os.__file__).resolve().parent}
    return {p for p in found if p.exists()}


def _certificates() -> set[Path]:
    """Where the interpreter looks for the authorities it trusts; a link among them with what it leads to."""
    paths = ssl.get_default_verify_paths()
    found = {Path(p) for p in (paths.openssl_cafile, paths.openssl_capath)}
    return {p for p in found | {p.resolve() for p in found} if p.exists()}


def _outermost(paths: list[str]) -> list[str]:
    """Without the paths that lie below another one."""
    return [p for p in paths if not any(p.startswith(f"{other}/") for other in paths)]


def owner(folder: Path, ids: tuple[int, int] | None) -> list[int] | None:
    """Who owns `folder` and as whom to show that user inside, for an id-mapped mount."""
    if ids is None:
        return None
    info = folder.stat()
    return [info.st_uid, info.st_gid, *ids]


def write_protected(folder: Path | None, ids: tuple[int, int] | None, limit: int) -> list[str]:
    """Paths in `folder` that root may write and the program, which is not root, could not: its view opens them.

    At most `limit` entries are looked at. Empty for a plain user, whose programs may do what the user may.
    """
    if folder is None or ids is None:
        return []
    found: list[str] = []
    for path in islice(_entries(folder), limit):
        with suppress(OSError):
            info = path.lstat()
            wanted = 0o700 if stat.S_ISDIR(info.st_mode) else 0o600
            if not stat.S_ISLNK(info.st_mode) and info.st_mode & wanted != wanted:
                found.append(str(path.relative_to(folder)))
    return found


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below `folder` of which changes could be taken over."""
    for top, folders, files in os.walk(folder):
        here = Path(top)
        folders[:] = [name for name in folders if not withheld(str((here / name).relative_to(folder)))]
        yield from (here / name for name in (*folders, *files))


def copy(folder: Path | None, inputs: Path | None, target: Path, ids: tuple[int, int] | None, policy: Policy) -> Path:
    """A copy of `folder`, and of `inputs` over it, that belongs to `ids`, links as links. What the user cannot read is
    left out; as root, whose programs run as another one, what the owner of the folder cannot read.

    Raises `SandboxUnavailable` when it is too large.
    """
    left = policy.disk_bytes
    target.mkdir()
    for source in filter(None, (folder, inputs)):
        left = _copy_into(target, source, left, None if ids is None else source.stat())
        if left < 0:
            raise SandboxUnavailable(
                f"the folder {source} is too large to be copied ({policy.disk_bytes} bytes at most), "
                "and on this host it can only be shown as a copy",
                hint="name the files the task needs in a smaller folder; `sandsmith doctor` says what is missing here",
            )
    if ids is not None:
        _give_away(target, ids)
    return target


def _copy_into(target: Path, folder: Path, left: int, reader: os.stat_result | None) -> int:
    """Copy what is in `folder`, as long as there are bytes `left`; returns how many are then, or less than none.

    `reader`: only what the owner of this may read.
    """
    for top, folders, files in os.walk(folder):
        here = target / Path(top).relative_to(folder)
        here.mkdir(exist_ok=True)
        for name in [*files, *(f for f in folders if (Path(top) / f).is_symlink())]:
            source = Path(top) / name
            info = source.lstat()
            kind = stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)
            if not kind or (reader is not None and not may_read(reader, info)):
                continue
            left -= info.st_size
            if left < 0:
                return left
            with suppress(PermissionError):
                (here / name).unlink(missing_ok=True)
                shutil.copy2(source, here / name, follow_symlinks=False)
    return left


def may_read(reader: os.stat_result, file: os.stat_result) -> bool:
    """Whether the owner of `reader` may read `file`, as far as its mode says (inode(7))."""
    if file.st_uid == reader.st_uid:
        return True
    return bool(file.st_mode & (0o040 if file.st_gid == reader.st_gid else 0o004))


def _give_away(target: Path, ids: tuple[int, int]) -> None:
    """Have everything below `target` belong to `ids`, who may write what root could."""
    for top, folders, files in os.walk(target):
        for path in (Path(top) / name for name in (".", *folders, *files)):
            os.chown(path, *ids, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o600)


def checked_folder(workspace: str | Path | None) -> Path | None:
    """The workspace as an absolute path. Raises `ConfigError` when it is not a folder that can be read."""
    if workspace is None:
        return None
    folder = Path(workspace).expanduser().absolute()
    try:
        info = folder.stat()
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(info.st_mode):
        raise ConfigError(f"{folder} is not a folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"the folder {folder} cannot be used: no permission to read it")
    return folder
