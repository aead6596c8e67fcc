"""A folder of large files, each verified against a pinned SHA-256 and only ever there as a whole.

A file is written under another name in the same folder, synced, checked and then renamed, while a lock is held: what
bears the final name is complete, whatever was killed and whenever. A stamp beside a file says that its bytes were
verified as long as size, time of change and inode stay the same, so that a gigabyte is not hashed at every start.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from agent.errors import ModelUnavailable

from .base import OnProgress

__all__ = ["CHUNK", "WrongSum", "chunks_of", "is_verified", "locked", "sha256_of", "verify", "write_verified"]

CHUNK = 1 << 20
"""Bytes read, hashed and written at once."""


class WrongSum(ModelUnavailable):
    """The bytes are not the published ones."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder, which is created when missing, against other processes. Waits for them; freed when we die."""
    import fcntl  # not on Windows

    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / ".lock").open("wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as e:
            raise _unwritable(folder, e) from e
        yield


def write_verified(
    file: Path, chunks: Iterable[bytes], *, size: int, sha256: str, what: str, on_progress: OnProgress | None
) -> None:
    """Make `file` of `chunks`; the caller holds the lock of its folder.

    Raises `WrongSum` when the sum of all bytes is not `sha256`, `ModelUnavailable` when the file cannot be written;
    then, as after any other interruption, no file is there.
    """
    _remove_leftovers(file)
    free = os.statvfs(file.parent)
    if size > free.f_bavail * free.f_frsize:
        raise _no_room(file, size)
    with _temporary_beside(file) as out:
        found = _copy(chunks, out, file, size, what, on_progress)
        if found != sha256:
            raise WrongSum(
                f"{what}: these are not the published bytes of {file.name} (SHA-256 {found}, expected {sha256})",
                hint="whoever carries them has damaged them; try again later or from elsewhere",
            )
        with _writing(file):
            out.flush()
            os.fsync(out.fileno())
            Path(out.name).replace(file)
    _write_stamp(file, sha256)


def verify(file: Path, *, sha256: str, hint: str, on_progress: OnProgress | None = None) -> None:
    """Raise `ModelUnavailable`, with `hint`, unless the file holds the bytes of that sum."""
    if is_verified(file, sha256):
        return
    found = sha256_of(file, on_progress)
    if found != sha256:
        raise ModelUnavailable(
            f"{file} is damaged or another file (SHA-256 {found}, expected {sha256})", hint=f"delete it; {hint}"
        )
    _write_stamp(file, sha256)


def is_verified(file: Path, sha256: str) -> bool:
    """Whether the bytes of `file` were verified before and it has not been touched since."""
    try:
        return json.loads(_stamp_of(file).read_text("utf-8")) == _stamp(file, sha256)
    except (OSError, ValueError):
        return False


def sha256_of(file: Path, on_progress: OnProgress | None = None) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    digest, done = hashlib.sha256(), 0
    size = file.stat().st_size
    with file.open("rb") as source:
        for chunk in chunks_of(source):
            digest.update(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress("checking the model's file", done / size)
    return digest.hexdigest()


def chunks_of(source: IO[bytes]) -> Iterator[bytes]:
    """All bytes of `source`, a chunk at a time."""
    while chunk := source.read(CHUNK):
        yield chunk


@contextmanager
def _temporary_beside(file: Path) -> Generator[IO[bytes]]:
    """A new file that is removed again unless it was renamed."""
    with _writing(file):
        out = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed below, also where closing fails)
            dir=file.parent, prefix=f".{file.name}.", suffix=".part", delete=False
        )
    try:
        yield cast(IO[bytes], out)
    finally:
        with contextlib.suppress(OSError):  # On a full disk closing fails once more, on what is still buffered.
            out.close()
        Path(out.name).unlink(missing_ok=True)


def _copy(
    chunks: Iterable[bytes], out: IO[bytes], file: Path, size: int, what: str, on_progress: OnProgress | None
) -> str:
    digest, done = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        with _writing(file):
            out.write(chunk)
        done += len(chunk)
        if on_progress is not None:
            on_progress(what, min(1.0, done / size))
    return digest.hexdigest()


@contextmanager
def _writing(file: Path) -> Generator[None]:
    try:
        yield
    except OSError as e:
        raise _no_room(file, None) if e.errno in (errno.ENOSPC, errno.EDQUOT) else _unwritable(file, e) from e


def _remove_leftovers(file: Path) -> None:
    """Remove what a killed process left. Nobody else is writing here: the lock is ours."""
    for part in file.parent.glob(f".{file.name}.*.part"):
        part.unlink(missing_ok=True)


def _stamp_of(file: Path) -> Path:
    return file.with_name(file.name + ".verified")


def _stamp(file: Path, sha256: str) -> dict[str, int | str]:
    stat = file.stat()
    return {"sha256": sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def _write_stamp(file: Path, sha256: str) -> None:
    # A folder that cannot be written costs a check at each start, no more. A torn stamp is no JSON, so none.
    with contextlib.suppress(OSError):
        _stamp_of(file).write_text(json.dumps(_stamp(file, sha256)), "utf-8")


def _no_room(file: Path, size: int | None) -> ModelUnavailable:
    needed = f" ({size / 1e9:.2f} GB)" if size else ""
    return ModelUnavailable(
        f"no room in {file.parent} for {file.name}{needed}",
        hint="free some space, or set SANDSMITH_CACHE_DIR to a folder on a larger disk",
    )


def _unwritable(file: Path, error: OSError) -> ModelUnavailable:
    return ModelUnavailable(
        f"cannot write {file}: {error.strerror or error}", hint="set SANDSMITH_CACHE_DIR to a folder with room"
    )
