"""A package index on loopback, and the wheels and source archives it serves, made here."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Index", "sdist", "serve", "wheel"]


def wheel(
    name: str,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    record: Mapping[str, str] | None = None,
) -> tuple[str, bytes]:
    """File name and bytes of a wheel. `record` overrides the sums that its list of files gives."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {r}\n" for r in requires)
    whole = {
        **({f"{name}.py": f"VERSION = {version!r}\n"} if files is None else files),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    sums = {path: record_sum(text) for path, text in whole.items()} | dict(record or {})
    whole[f"{info}/RECORD"] = "".join(f"{p},{s},{len(whole[p])}\n" for p, s in sums.items()) + f"{info}/RECORD,,\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in whole.items():
            archive.writestr(path, text)
    return f"{name}-{version}-{tag}.whl", data.getvalue()


def record_sum(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def sdist(name: str, version: str, canary: str) -> tuple[str, bytes]:
    """A source archive whose build writes the file `canary`; it brings its own builder, so that it needs no network."""
    builder = f"""
import pathlib
pathlib.Path({canary!r}).write_text("it ran")
def get_requires_for_build_wheel(settings=None): return []
def build_wheel(folder, settings=None, metadata=None): raise SystemExit("no wheel")
"""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "builder"\nbackend-path = ["."]\n',
        "builder.py": builder,
        "setup.py": f"open({canary!r}, 'w').write('it ran')\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", data.getvalue()


class Index:
    """What is served: `add` more at any time, `lie` about one, hold downloads back with `gate`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sums: dict[str, str] = {}
        self.requests: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.url = ""
        self.status = 0

    def add(self, *archives: tuple[str, bytes]) -> None:
        for name, data in archives:
            self.files[name] = data
            self.sums[name] = hashlib.sha256(data).hexdigest()

    def page(self, project: str) -> str:
        names = [n for n in self.files if n.split("-")[0].replace("_", "-").lower() == project]
        return "".join(f'<a href="/files/{n}#sha256={self.sums[n]}">{n}</a>\n' for n in names)

    def answer(self, path: str) -> bytes | None:
        self.requests.append(path)
        kind, _, name = path.strip("/").partition("/")
        if kind == "simple":
            return self.page(name).encode() or None
        self.waiting.set()
        self.gate.wait(30)
        return self.files.get(name)


@contextmanager
def serve() -> Iterator[Index]:
    """An index on a free port of loopback."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = index.answer(self.path)
            self.send_response(index.status or (404 if data is None else 200))
            self.send_header("Content-Type", "application/octet-stream" if "/files/" in self.path else "text/html")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            with suppress(OSError):  # pip was killed
                self.wfile.write(data or b"")

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield index
    finally:
        index.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
