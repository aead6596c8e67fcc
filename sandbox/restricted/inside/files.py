"""Files: `open`, `Path` and a little of `os`, for what lies in the program's folder."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["FUNCTIONS", "PATH_FUNCTIONS", "Path", "begin", "find", "open_file"]

_folder = [""]
_inputs: dict[str, str] = {}
_read_only = [False]


def begin(folder: str, inputs: Mapping[str, str] = MappingProxyType({}), *, read_only: bool = False) -> None:
    """Say which folder is the program's, and which files from elsewhere are shown in it by their names."""
    _folder[0], _read_only[0] = os.path.realpath(folder), read_only
    _inputs.update(inputs)


def inside(path: Any) -> str:
    """The real path of a file of the folder. Raises `PermissionError` for another, `TypeError` for what is no path."""
    text = _text(path)
    if text in _inputs:
        return _inputs[text]
    real = os.path.realpath(os.path.join(_folder[0], text))
    if real != _folder[0] and not real.startswith(_folder[0] + os.sep):
        raise PermissionError(13, "only files in the working folder can be used here", text)
    return real


def _text(path: Any) -> str:
    text = path.as_posix() if isinstance(path, Path) else path
    if type(text) is not str:
        raise TypeError(f"a path must be a str or a Path, not {type(path).__name__}")
    return text


def checked(path: Any) -> str:
    """A path as the program wrote it, which is that of a file of the folder. Raises as `inside`."""
    return _inputs.get(_text(path)) or (inside(path) and _text(path))


def writable(path: Any) -> str:
    """As `checked`, for what is to be written. Raises `PermissionError` where nothing is."""
    if _read_only[0]:
        raise PermissionError(13, "files can only be read here", _text(path))
    return checked(path)


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Any:
    """The built-in `open`, for files of the folder."""
    path = writable(file) if set(mode) & set("wax+") else checked(file)
    return open(path, mode, buffering, encoding, errors, newline)


class Path:
    """What programs use of `pathlib.Path`, for files of the folder."""

    __slots__ = ("_pure", "_text")

    def __init__(self, *parts: Any) -> None:
        self._pure = pathlib.PurePosixPath(*map(_text, parts))
        self._text = str(self._pure)

    @classmethod
    def cwd(cls) -> Path:
        return cls(_folder[0])

    name = property(lambda self: self._pure.name)
    stem = property(lambda self: self._pure.stem)
    suffix = property(lambda self: self._pure.suffix)
    suffixes = property(lambda self: self._pure.suffixes)
    parts = property(lambda self: self._pure.parts)

    @property
    def parent(self) -> Path:
        return Path(str(self._pure.parent))

    @property
    def parents(self) -> tuple[Path, ...]:
        return tuple(Path(str(pure)) for pure in self._pure.parents)

    def __truediv__(self, other: Any) -> Path:
        return Path(self, other)

    def __rtruediv__(self, other: Any) -> Path:
        return Path(other, self)

    def joinpath(self, *others: Any) -> Path:
        return Path(self, *others)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Path({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self._pure == other._pure

    def __lt__(self, other: Path) -> bool:
        return self._pure < other._pure

    def __hash__(self) -> int:
        return hash(self._pure)

    def with_suffix(self, suffix: str) -> Path:
        return Path(str(self._pure.with_suffix(suffix)))

    def with_name(self, name: str) -> Path:
        return Path(str(self._pure.with_name(name)))

    def with_stem(self, stem: str) -> Path:
        return Path(str(self._pure.with_stem(stem)))

    def relative_to(self, other: Any) -> Path:
        return Path(str(self._pure.relative_to(_text(other))))

    def is_relative_to(self, other: Any) -> bool:
        return self._pure.is_relative_to(_text(other))

    def is_absolute(self) -> bool:
        return self._pure.is_absolute()

    def match(self, pattern: str) -> bool:
        return self._pure.match(pattern)

    def as_posix(self) -> str:
        return self._text

    def resolve(self) -> Path:
        return Path(inside(self))

    absolute = resolve

    def exists(self) -> bool:
        return _exists(self)

    def is_file(self) -> bool:
        return _asked(os.path.isfile)(self)

    def is_dir(self) -> bool:
        return _asked(os.path.isdir)(self)

    def stat(self) -> os.stat_result:
        return os.stat(checked(self))

    def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
        return open_file(self, mode, *args, **options)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with open_file(self, "r", -1, encoding, errors) as file:
            return file.read()

    def read_bytes(self) -> bytes:
        with open_file(self, "rb") as file:
            return file.read()

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        with open_file(self, "w", -1, encoding, errors, newline) as file:
            return file.write(data)

    def write_bytes(self, data: bytes) -> int:
        with open_file(self, "wb") as file:
            return file.write(data)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        open_file(self, "a" if exist_ok else "x").close()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if parents:
            os.makedirs(writable(self), exist_ok=exist_ok)
        elif not (exist_ok and self.is_dir()):
            os.mkdir(writable(self))

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            os.unlink(writable(self))

    def rmdir(self) -> None:
        os.rmdir(writable(self))

    def rename(self, target: Any) -> Path:
        os.rename(writable(self), writable(target))
        return Path(target)

    replace = rename

    def iterdir(self) -> Iterator[Path]:
        return (self / name for name in os.listdir(checked(self)))

    def glob(self, pattern: str) -> Iterator[Path]:
        first = inside(self)
        return (
            self / str(found.relative_to(first)) for found in pathlib.Path(first).glob(pattern) if _is_inside(found)
        )

    def rglob(self, pattern: str) -> Iterator[Path]:
        return self.glob(f"**/{pattern}")


def _is_inside(path: pathlib.Path) -> bool:
    try:
        inside(str(path))
    except PermissionError:
        return False
    return True


def _asked(function: Callable[[str], bool]) -> Callable[[Any], bool]:
    """A question about a path, to which the answer is no where the program may not look."""

    def ask(path: Any) -> bool:
        try:
            return function(inside(path))
        except PermissionError:
            return False

    return ask


def _at(function: Callable[[str], Any], check: Callable[[Any], str] = checked) -> Callable[[Any], Any]:
    return lambda path: function(check(path))


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *paths: function(*map(_text, paths))


_exists = _asked(os.path.exists)


def _listdir(path: Any = ".") -> list[str]:
    return os.listdir(checked(path))


def _makedirs(name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
    os.makedirs(writable(name), exist_ok=exist_ok)


def _rename(src: Any, dst: Any) -> None:
    os.rename(writable(src), writable(dst))


def _walk(top: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    first, shown = inside(top), _text(top)
    for folder, folders, files in os.walk(first):
        yield os.path.normpath(os.path.join(shown, os.path.relpath(folder, first))), folders, files


def _relpath(path: Any, start: Any = ".") -> str:
    return os.path.relpath(inside(path), inside(start))


def find(pattern: str, *, recursive: bool = False) -> list[str]:
    """`glob.glob`, for files of the folder."""
    if os.path.isabs(pattern) or ".." in pattern.split("/"):
        raise PermissionError(13, "only files in the working folder can be used here", pattern)
    found = glob.glob(pattern, root_dir=_folder[0], recursive=recursive)
    return [name for name in found if _is_inside(pathlib.Path(name))]


FUNCTIONS: dict[str, Any] = {
    "getcwd": lambda: _folder[0],
    "listdir": _listdir,
    "makedirs": _makedirs,
    "mkdir": _at(os.mkdir, writable),
    "remove": _at(os.unlink, writable),
    "unlink": _at(os.unlink, writable),
    "rmdir": _at(os.rmdir, writable),
    "rename": _rename,
    "replace": _rename,
    "stat": _at(os.stat),
    "walk": _walk,
    "sep": os.sep,
    "linesep": os.linesep,
}
"""What there is of `os`."""
PATH_FUNCTIONS: dict[str, Any] = {
    "exists": _exists,
    "isfile": _asked(os.path.isfile),
    "isdir": _asked(os.path.isdir),
    "getsize": _at(os.path.getsize),
    "getmtime": _at(os.path.getmtime),
    "abspath": inside,
    "realpath": inside,
    "relpath": _relpath,
    "sep": os.sep,
    **{
        name: _of_text(getattr(os.path, name))
        for name in ("join", "basename", "dirname", "split", "splitext", "normpath", "isabs")
    },
}
"""What there is of `os.path`."""
