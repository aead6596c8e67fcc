"""Images that containers are made of: a Python, the package `sandbox`, and the packages that programs import.

An image is found by a label that names the code in it, and a container is made from its id: what a name stands for
may change meanwhile. From a base image of a registry, or, where none is reachable, from what is on this machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import IO, Any

from ..errors import ConfigError, SandboxUnavailable
from ..packages import SITE as SET_SITE
from ..packages import install_packages, installed_folders, unmet
from ..text import clean
from . import rootfs
from .daemon import LABEL, Daemon, connect, speaking

__all__ = ["DATA", "Image", "build_image", "find_image", "list_images", "remove_image"]

OnStep = Callable[[str], None]
DATA = ("matplotlib", "numpy", "openpyxl", "pandas", "scikit-learn", "scipy")
"""What an image has of the packages that are installed here, where nobody says which."""
_NAME = "sandsmith"
_BASE = f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
_HINT = "make one: sandsmith image build"
_COMPILE = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"{rootfs.CODE}/sandbox"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of ours."""

    id: str
    tags: tuple[str, ...]
    base: str
    """What it was made from: the name and digest of an image, or `this machine`."""
    packages: tuple[str, ...]
    """`name==version` of what programs can import."""
    size: int
    """Bytes."""
    current: bool
    """Whether the code in it is that of this version."""
    created: str


def list_images(daemon: Daemon) -> list[Image]:
    """The images of ours that the daemon has, the youngest first. Raises `SandboxUnavailable`."""
    with speaking("the images cannot be listed"):
        rows = daemon.api.images(filters={"label": f"{LABEL}.code"})
    now = _digest()
    found = [_read(row, now) for row in sorted(rows, key=lambda row: row["Created"], reverse=True)]
    return sorted(found, key=lambda image: not image.current)


def _read(row: Mapping[str, Any], now: str) -> Image:
    labels: Mapping[str, str] = row["Labels"]
    return Image(
        row["Id"],
        tuple(tag for tag in row.get("RepoTags") or () if tag != "<none>:<none>"),
        clean(labels.get(f"{LABEL}.base", ""), 300),
        tuple(clean(labels.get(f"{LABEL}.packages", ""), 10_000).split()),
        row["Size"],
        labels[f"{LABEL}.code"] == now,
        str(row["Created"]),
    )


def find_image(daemon: Daemon) -> Image:
    """The image that containers are made of. Raises `SandboxUnavailable` when there is none."""
    images = list_images(daemon)
    if not images:
        raise SandboxUnavailable("there is no image for containers", hint=_HINT)
    if not images[0].current:
        raise SandboxUnavailable("the image for containers is of another version of sandsmith", hint=_HINT)
    return images[0]


def remove_image(daemon: Daemon, image: Image) -> None:
    """Remove an image. Raises `SandboxUnavailable`, also while a container of it runs."""
    with speaking("the image cannot be removed"):
        daemon.api.remove_image(image.id, force=len(image.tags) > 1)


def build_image(
    packages: Sequence[str] | None = None,
    *,
    base: str | None = None,
    tag: str = "latest",
    on_step: OnStep = lambda text: None,
) -> Image:
    """Make the image `sandsmith:tag`, with `packages` (requirements; None: those of `DATA` that are installed here).
    One that had the name before is removed.

    `base`: the image to start from, where not `python:X.Y-slim` of a registry or, without one, this machine.
    Raises `ConfigError` for packages that cannot be had and a base that is not there, `SandboxUnavailable`.
    """
    daemon = connect()
    try:
        on_step(f"looking for the base image {base or _BASE}")
        start = _base(daemon, base)
        on_step("packages")
        with _gathered(packages) as (site, pins):
            labels = {"code": _digest(), "base": start or "this machine", "packages": " ".join(pins)}
            labels = {f"{LABEL}.{name}": value for name, value in labels.items()}
            make = _from_machine if start is None else _from_base
            made = make(daemon, site, labels, start or "", f"{_NAME}:{tag}", on_step)
        images = list_images(daemon)
        for image in images:
            if image.id != made and not image.tags:
                with suppress(SandboxUnavailable):  # a session may still run in it
                    remove_image(daemon, image)
        return next(image for image in images if image.id == made)
    finally:
        daemon.close()


def _base(daemon: Daemon, name: str | None) -> str | None:
    """The base by its digest, or by its id if it comes from no registry; None for this machine."""
    wanted = name or _BASE
    if wanted == "none":
        return None
    try:
        found = _pulled(daemon, wanted)
    except SandboxUnavailable as error:
        if name is None:
            return None
        raise ConfigError(str(error), hint="--base none makes the image from this machine") from None
    digests: list[str] = found.get("RepoDigests") or []
    return digests[0] if digests else found["Id"]


def _pulled(daemon: Daemon, name: str) -> dict[str, Any]:
    """What the daemon knows of an image, fetched if it can be. Raises `SandboxUnavailable` where it is not there."""
    try:
        with speaking(f"{name} cannot be pulled"):
            daemon.api.pull(name)
    except SandboxUnavailable as error:
        with suppress(SandboxUnavailable), speaking(""):
            return daemon.api.inspect_image(name)
        raise error
    with speaking(f"{name} cannot be pulled"):
        return daemon.api.inspect_image(name)


# -- packages ------------------------------------------------------------------------------------------------------


@contextmanager
def _gathered(packages: Sequence[str] | None) -> Generator[tuple[rootfs.Contents, list[str]]]:
    """The files of packages by where the image has them, and what was pinned. Raises `ConfigError`."""
    wanted = _installed(DATA) if packages is None else list(packages)
    missing = unmet(wanted, installed_folders())
    if not missing:
        found = _closure(wanted)
        yield _files(found), sorted(f"{one.name}=={one.version}" for one in found)
        return
    with tempfile.TemporaryDirectory(prefix="sandsmith-image-") as place:
        chosen = install_packages(wanted, Path(place))
        site = chosen.path / SET_SITE
        paths = sorted(path for path in site.rglob("*") if path.is_file())
        files: rootfs.Contents = {f"{rootfs.SITE}/{path.relative_to(site)}": path for path in paths}
        yield files, sorted(f"{one.name}=={one.version}" for one in chosen.packages)


def _installed(names: Sequence[str]) -> list[str]:
    return [name for name in names if _distribution(name) is not None]


def _distribution(name: str) -> Distribution | None:
    with suppress(PackageNotFoundError):
        return distribution(name)
    return None


def _closure(wanted: Sequence[str]) -> list[Distribution]:
    """The packages and all that they need, as they are installed here."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Distribution] = {}
    todo = list(wanted)
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        one = _distribution(name) if applies and name not in found else None
        if one is not None:
            found[name] = one
            todo += one.requires or []
    return [found[name] for name in sorted(found)]


def _files(packages: Sequence[Distribution]) -> rootfs.Contents:
    found: rootfs.Contents = {}
    for package in packages:
        for file in package.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and not file.is_absolute() and path.is_file():
                found[f"{rootfs.SITE}/{file}"] = path
    return found


# -- making --------------------------------------------------------------------------------------------------------


def _from_machine(
    daemon: Daemon, site: rootfs.Contents, labels: Mapping[str, str], _: str, name: str, on_step: OnStep
) -> str:
    """Import a root file system that was put together here; the id of the image."""
    on_step("a root file system from this machine")
    code = rootfs.code()
    contents = {**rootfs.machine(site), **site, **code, **rootfs.compiled(code)}
    with _archive(contents, whole=True) as file:
        on_step(f"importing {file.seek(0, 2) / 1e6:.0f} MB")
        file.seek(0)
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", *(f"LABEL {k}={json.dumps(v)}" for k, v in labels.items())]
        with speaking("the image cannot be imported"):
            said = daemon.api.import_image_from_data(file, repository=name, changes=changes)
    return _last_id(said)


def _from_base(
    daemon: Daemon, site: rootfs.Contents, labels: Mapping[str, str], base: str, name: str, on_step: OnStep
) -> str:
    """Build upon a base; the id of the image."""
    on_step(f"building upon {base}")
    lines = [f"FROM {base}", "USER 0", "COPY opt /opt", f"RUN {json.dumps(_COMPILE)}"]
    lines += [f"LABEL {name}={json.dumps(value)}" for name, value in labels.items()]
    contents: rootfs.Contents = {**site, **rootfs.code(), "/Dockerfile": "\n".join(lines).encode()}
    with _archive(contents, whole=False) as file, speaking("the image cannot be built"):
        said = daemon.api.build(
            fileobj=file, custom_context=True, tag=name, rm=True, forcerm=True, decode=True, network_mode="none"
        )
        for line in said:
            if "error" in line:
                raise SandboxUnavailable(f"the image cannot be built: {clean(str(line['error']), 500)}")
        return daemon.api.inspect_image(name)["Id"]


@contextmanager
def _archive(contents: rootfs.Contents, *, whole: bool) -> Generator[IO[bytes]]:
    with tempfile.TemporaryFile(prefix="sandsmith-image-") as file:
        rootfs.write_tar(contents, file, whole=whole)
        file.seek(0)
        yield file


def _last_id(said: str | bytes) -> str:
    """The id in the last line of what the daemon said of an import. Raises `SandboxUnavailable`."""
    text = said.decode() if isinstance(said, bytes) else said
    last: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    if "status" not in last or not str(last["status"]).startswith("sha256:"):
        raise SandboxUnavailable(f"the image cannot be imported: {clean(str(last.get('error')), 500)}")
    return last["status"]


def _digest() -> str:
    """Of the code in an image, and what starts it."""
    digest = hashlib.sha256()
    for target, source in sorted(rootfs.code().items()):
        data = source if isinstance(source, bytes) else source.read_bytes()
        digest.update(f"{target}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
