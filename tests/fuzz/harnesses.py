"""One function for each reader of hostile bytes: it takes any bytes, and raises when something does not hold."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from sandbox import ConfigError, Policy, claims
from sandbox.changes import Changes, collect
from sandbox.jail.figures import Figures, size_of
from sandbox.text import clean, decode, printable
from sandbox.worker import wire

__all__ = ["HARNESSES", "SEEDS"]

BAD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_LIMIT = 4096


def frames(data: bytes) -> None:
    """The frame reader: the first byte says where the stream is cut."""
    step, stream = (data[0] or 1, data[1:]) if data else (1, b"")
    whole = _heard([stream])
    assert _heard([stream[i : i + step] for i in range(0, len(stream), step)]) == whole
    for message in whole[0]:
        json.dumps(message)


def _heard(pieces: list[bytes]) -> tuple[list[object], bool]:
    reader, messages = wire.FrameReader(_LIMIT, 100), []
    try:
        for piece in pieces:
            messages += reader.feed(piece)
            assert len(reader._buffer) <= _LIMIT + 4  # pyright: ignore[reportPrivateUsage]
    except wire.ProtocolError:
        return [], True
    return messages, False


def messages(data: bytes) -> None:
    """What is made of a message: claims of an error, of a value, a figure."""
    try:
        message = wire.decode(data)
    except wire.ProtocolError:
        return
    problem = claims.problem(message, 50)
    assert problem is not None
    texts = (problem.type, problem.message, problem.source, problem.traceback)
    assert all(len(text) <= 50 and not BAD.search(text) for text in texts)
    assert len(problem.notes) <= 8 and not any(BAD.search(note) for note in problem.notes)
    claims.text(message.get("value"), 50), claims.exit_code(message.get("exit_code"))
    _check(_taken(message))


def pictures(data: bytes) -> None:
    """The bytes of a figure: as they stand, and as what the first chunk holds, with its right checksum."""
    chunk = b"IHDR" + data[:13]
    made = b"\0\0\0\r" + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[13:] + b"\0\0\0\0IEND\xaeB`\x82"
    for body in (data, made):
        text = base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
        _check(_taken({"op": "display", "mime": "image/png", "data": text}))


def _taken(message: dict[str, object]) -> Figures:
    figures = Figures(Policy(display_bytes=1000, display_pixels=10_000))
    figures.take(message)
    return figures


def _check(figures: Figures) -> None:
    assert len(figures.kept) + len(figures.notes) == 1
    for kept in figures.kept:
        width, height = size_of(kept.data)
        assert len(kept.data) <= 1000 and 0 < width * height <= 10_000
    assert not any(BAD.search(note) or "\n" in note for note in figures.notes)


def texts(data: bytes) -> None:
    """Text that is shown: the first byte is the limit."""
    limit, rest = (data[0], data[1:]) if data else (0, b"")
    for text in (rest.decode("utf-8", "replace"), _wide(rest)):
        cleaned = clean(text, limit)
        assert len(cleaned) <= limit and not BAD.search(cleaned) and clean(cleaned, limit) == cleaned
        assert not BAD.search(printable(text)) and "\n" not in printable(text)
    assert not BAD.search(decode(rest, limit))


def _wide(data: bytes) -> str:
    """Two bytes a character, lone surrogates and all."""
    return "".join(chr(unit[0]) for unit in struct.iter_unpack("<H", data[: len(data) // 2 * 2]))


def trees(data: bytes) -> None:
    """The collector: the bytes are read as steps that build an upper layer, three or more bytes each."""
    base = Path(tempfile.mkdtemp(prefix="sandsmith-fuzz-"))
    try:
        for name in ("folder/a", "upper", "store"):
            (base / name).mkdir(parents=True)
        (base / "folder" / "a" / "b").write_text("the user's")
        (base / "secret").write_text("SECRET")
        _build(base / "upper", data[:300], base / "secret")
        fd = os.open(base / "upper", os.O_RDONLY | os.O_DIRECTORY)
        try:
            changes = collect(
                fd, folder=base / "folder", inputs=None, store=base / "store", max_bytes=500, max_files=20
            )
        finally:
            os.close(fd)
        _check_changes(changes, base)
    finally:
        shutil.rmtree(base)


def _build(top: Path, data: bytes, secret: Path) -> None:
    """`kind, where, length, name...`: each step makes one thing, in one of the directories made so far."""
    folders, at = [top], 0
    while at + 3 <= len(data):
        kind, where, length = data[at : at + 3]
        name = data[at + 3 : at + 3 + length % 16]
        at += 3 + length % 16
        path = folders[where % len(folders)] / os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"0") or b"a")
        try:
            _STEPS[kind % len(_STEPS)](path, secret)
        except OSError:
            continue
        if path.is_dir() and not path.is_symlink():
            folders.append(path)


def _write(path: Path) -> None:
    with path.open("xb") as file:
        file.write(os.fsencode(path.name) * 9)


def _sparse(path: Path, secret: Path) -> None:
    with path.open("xb") as file:
        file.truncate(1 << 40)


_STEPS: tuple[Callable[[Path, Path], object], ...] = (
    lambda path, secret: path.mkdir(),
    lambda path, secret: _write(path),
    lambda path, secret: path.symlink_to(secret),
    lambda path, secret: path.symlink_to(secret.parent),
    lambda path, secret: os.link(secret, path),
    lambda path, secret: os.mkfifo(path),
    lambda path, secret: os.mknod(path, 0o20666, 0),
    lambda path, secret: os.setxattr(path, "user.overlay.opaque", b"y", follow_symlinks=False),
    lambda path, secret: os.setxattr(path, "user.overlay.redirect", b"/", follow_symlinks=False),
    lambda path, secret: os.setxattr(path, "user.overlay.metacopy", b"", follow_symlinks=False),
    lambda path, secret: path.chmod(0o7777, follow_symlinks=False) if not path.is_symlink() else None,
    _sparse,
)


def _check_changes(changes: Changes, base: Path) -> None:
    stored = list((base / "store" / "files").iterdir())
    assert len(changes) <= 20 and sum(path.stat().st_size for path in stored) <= 500
    assert not any(b"SECRET" in path.read_bytes() for path in stored)
    assert Changes.load(changes.store) == changes
    changes.apply()
    changes.undo()
    assert (base / "folder" / "a" / "b").read_text() == "the user's"
    assert [p.name for p in (base / "folder").rglob("*")] == ["a", "b"]
    assert (base / "secret").read_text() == "SECRET"


def manifests(data: bytes) -> None:
    """A manifest as somebody else may have left it, over no folder."""
    with tempfile.TemporaryDirectory(prefix="sandsmith-fuzz-") as name:
        Path(name, "changes.json").write_bytes(data)
        try:
            changes = Changes.load(Path(name))
            if changes.folder is None:
                json.dumps(changes.to_json())
                changes.summary()
        except ConfigError:
            return


HARNESSES: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (frames, messages, pictures, texts, trees, manifests)
}


def _framed(body: bytes) -> bytes:
    return b"\3" + struct.pack(">I", len(body)) + body


SEEDS: dict[str, tuple[bytes, ...]] = {
    "frames": (
        _framed(b"{}"),
        _framed(b'{"op":"result","id":1,"value":[1,2.5,null,true,"\\ud800"]}') + _framed(b"{}")[1:],
        *(_framed(body) for body in (b"[]", b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 30 + b"}", b"\xff")),
        _framed(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"),
        b"\1\xff\xff\xff\xff",
    ),
    "messages": (
        b'{"type":"E","message":"m\\u001b[31m","line":3,"source":"x","traceback":"t","notes":["a","b"]}',
        b'{"value":"v","exit_code":true,"mime":"image/png","data":"iVBORw0KGgo="}',
        b'{"problem":"\\u202e","mime":"image/svg+xml","notes":{"a":1},"line":1e9}',
    ),
    "pictures": (
        b"",
        b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\0IEND\xaeB`\x82",
        b"\0\0\0\1\0\0\0\1\x08\2\0\0\0",
        b"\0\0\0\rIHDR\0\1\x86\xa0\0\1\x86\xa0\x08\2\0\0\0\0\0\0\0\0\0\0\0IEND\xaeB`\x82",
    ),
    "texts": (
        b"\x64\x1b]52;c;QUJD\x07plain\x1b[2Jtext",
        b"\x20" + "\u202eabc\u2066\ufff9\U000e0041\x9b31m\r\n".encode(),
        b"\x0a" + b"x" * 300,
        b"\xff\x1b\0]\0000\0\xd8\0\xdc",
    ),
    "trees": (
        b"\0\0\1a\1\1\1b\2\0\1c\4\0\1d\5\0\1e",
        b"\0\0\1a\7\0\1a\1\1\1z",
        b"\6\0\1a\1\0\4.git\1\0\3\x1b]0\x0b\0\1s",
        b"\0\0\1x" * 30,
    ),
    "manifests": (
        b'{"version":1,"folder":null,"items":[],"skipped":[{"path":"a","reason":"b"}]}',
        b'{"version":1,"folder":null,"items":[{"path":"a","kind":"created","is_dir":true,"size":0,"mode":493,'
        b'"sha256":"","content":null,"before":null}],"skipped":[]}',
        b'{"version":1',
        b"[" * 5000,
    ),
}
