"""Makes a package set: resolve, lock, install from the lock, look at every file, rename into place."""

from __future__ import annotations

import base64
import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import ConfigError
from .compiling import compile_modules
from .pip import run_pip
from .requirements import digest_of, parse, platform
from .sets import (
    ABOUT,
    FILES,
    LOCK,
    SITE,
    UNFINISHED,
    Package,
    PackageSet,
    delete,
    entries,
    load_set,
    locked,
    sha256_of,
)

__all__ = ["OnStep", "install_packages"]

OnStep = Callable[[str], None]
"""Called with what is being done, in words that may hold names from the index."""
_STEP = re.compile(r"\s*(Downloading|Installing collected packages:) (.+)")
_MODULE = re.compile(r"([A-Za-z]\w*)(?:/.+)?\.(?:py|[\w\-.]*so)\Z", re.ASCII)
"""What the path of a file is imported as, at the top."""
_MODULES = 20


def install_packages(
    requirements: Iterable[str], folder: str | Path, *, on_step: OnStep = lambda what: None
) -> PackageSet:
    """The set that `requirements` (as pip reads them) make, from `folder`, where it is installed when it is not there.

    The same requirements on the same platform are the same set: found again it costs no network. To get newer versions
    remove it first. Raises `ConfigError` for requirements that cannot be met, `SandboxUnavailable` when the index
    cannot be reached, the disk is full, pip is missing, or the set is damaged.
    """
    wanted = parse(requirements)
    place = Path(folder).absolute()
    target = place / digest_of(wanted)
    if not target.exists():
        with locked(place, lambda: on_step("waiting for another installation")) as lock:
            if not target.exists():  # another process may have made it while we waited
                _make(wanted, target, lock, on_step)
    return load_set(target)


def _make(wanted: tuple[str, ...], target: Path, lock: int, on_step: OnStep) -> None:
    """Make the set beside its place, then rename it: whatever is killed and whenever, what bears the name is whole."""
    made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    try:
        _fill(made, target, wanted, lock, on_step)
        made.rename(target)
    finally:
        delete(made)


def _fill(made: Path, target: Path, wanted: tuple[str, ...], lock: int, on_step: OnStep) -> None:
    site, work = made / SITE, made / "work"
    work.mkdir()
    on_step(f"looking for {', '.join(wanted)}")
    steps = _steps(on_step)
    chosen = _resolve(wanted, work, lock, steps)
    packages = sorted((_package(item) for item in chosen), key=lambda package: package.name)
    (made / LOCK).write_text("".join(f"{package.lock}\n" for package in packages), "utf-8")
    options = ["--require-hashes", "--no-deps", "--no-compile", f"--target={site}", f"--requirement={made / LOCK}"]
    run_pip(options, work, lock, steps)
    delete(work)
    site.mkdir(exist_ok=True)  # there are packages without a file
    on_step("checking what was unpacked")
    _examine(site)
    _set_modes(site, 0o755)
    on_step("compiling, inside the jail")
    compile_modules(site, target / SITE, (name for name, _ in entries(site) if name.endswith(".py")))
    files = _sums(site)
    about = {
        "requirements": wanted,
        "packages": [asdict(package) for package in packages],
        "modules": _modules(site, {_folded(item["metadata"]["name"]) for item in chosen if item.get("requested")}),
        "platform": platform(),
        "size": sum(size for size, _ in files.values()),
    }
    (made / FILES).write_text(json.dumps(files), "utf-8")
    (made / ABOUT).write_text(json.dumps(about, indent=1), "utf-8")
    _set_modes(made, 0o555)


def _steps(on_step: OnStep) -> Callable[[str], None]:
    """Tells of the lines of pip that say what takes long."""

    def on_line(line: str) -> None:
        found = _STEP.match(line)
        if found and found[1] == "Downloading" and ".metadata" not in found[2]:
            on_step(f"downloading {found[2].rpartition('/')[2]}")
        elif found and found[1] != "Downloading":
            on_step(f"unpacking {found[2]}")

    return on_line


def _resolve(
    wanted: tuple[str, ...], work: Path, lock: int, on_line: Callable[[str], None]
) -> Sequence[dict[str, Any]]:
    """What pip would install (its installation report, version 0 or 1)."""
    report = work / "report.json"
    run_pip(["--dry-run", "--ignore-installed", f"--report={report}", *wanted], work, lock, on_line)
    return json.loads(report.read_text("utf-8"))["install"]


def _package(item: Mapping[str, Any]) -> Package:
    """One entry of the report, which must be a wheel of the index. Raises `ConfigError`."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    source: dict[str, Any] = item["download_info"]
    archive: dict[str, Any] = source.get("archive_info", {})
    sha256 = archive.get("hashes", {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    parts = urlsplit(str(source["url"]))
    try:
        name, version, _, _ = parse_wheel_filename(unquote(parts.path).rpartition("/")[2])
    except InvalidWheelFilename as error:
        raise ConfigError(f"pip found something other than a wheel: {error}") from None
    if item.get("is_direct") or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ConfigError(f"{name} comes without a sha256 from the index")
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return Package(name, str(version), sha256, bare)


def _sums(site: Path) -> dict[str, tuple[int, str]]:
    """Path, size and sha256 of every file. Raises `ConfigError` for what is no regular file."""
    sizes = dict(entries(site))
    odd = next((name for name, size in sizes.items() if size < 0), None)
    if odd:
        raise ConfigError(f"a package brings {odd}, which is no regular file")
    return {name: (size, sha256_of(site / name)) for name, size in sorted(sizes.items())}


def _examine(site: Path) -> None:
    """Raise `ConfigError` unless every file is what the list in its wheel says."""
    listed: dict[str, set[str]] = {}
    for _, name, sha256 in _records(site):
        listed.setdefault(name, set()).add(sha256)
    for name, (_, sha256) in _sums(site).items():
        if sha256 not in listed.get(name, {sha256}):  # two packages may bring a file of the same name
            raise ConfigError(f"a wheel is damaged: {name} is not what the list in it says")


def _records(site: Path) -> Iterator[tuple[str, str, str]]:
    """Package, path and sha256 of the files that wheels list (RECORD; packaging.python.org, "binary distribution")."""
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", errors="replace", newline="") as lines:
            for name, sum_, *_ in (row for row in csv.reader(lines) if len(row) > 1):
                if sum_.startswith("sha256="):
                    yield _folded(record.parent.name.split("-")[0]), name, _hexadecimal(sum_.removeprefix("sha256="))


def _hexadecimal(text: str) -> str:
    """A sum as RECORD has it, in base 64 without padding."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    except ValueError:
        return ""


def _modules(site: Path, asked: set[str]) -> list[str]:
    """What the packages `asked` for are imported as."""
    found = {match[1] for package, name, _ in _records(site) if package in asked and (match := _MODULE.match(name))}
    return sorted(found)[:_MODULES]


def _folded(name: str) -> str:
    """The name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _set_modes(top: Path, folders: int) -> None:
    """Let nobody write files and everybody read them, whatever the umask: in the jail root's programs are not root."""
    for name, _ in entries(top):
        file = top / name
        file.chmod(0o555 if file.stat().st_mode & 0o100 else 0o444)
    for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
        folder.chmod(folders)
