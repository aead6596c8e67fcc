"""Sessions in containers, on a real daemon, and the readers of what comes out of them, with forged words."""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors
import masks
import pytest

from agent.cli import main
from sandbox import ConfigError, Policy, Receipt, SandboxUnavailable, open_session
from sandbox.changes import collect
from sandbox.changes.beneath import tree
from sandbox.docker import Docker, answers, build_image, connect, container, doctor, find_image, image, remove_image
from sandbox.docker.daemon import LABEL, is_gone, owner, speaking
from sandbox.docker.folder import Receiver
from sandbox.docker.link import Link, demultiplexed
from sandbox.docker.profile import profile
from sandbox.worker import wire
from sandbox.worker.wire import ProtocolError

needs_docker = pytest.mark.docker
POLICY = Policy(wall_seconds=20, memory_bytes=512 << 20)


@pytest.fixture(scope="module")
def box() -> Iterator[Docker]:
    with Docker(policy=POLICY) as docker:
        yield docker


@pytest.fixture
def api() -> Iterator[Any]:
    daemon = connect()
    yield daemon.api
    daemon.close()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def ours(api: Any, owner_pid: int | None = None) -> list[dict[str, Any]]:
    """Containers that this process, or another, has running."""
    rows = api.containers(all=True, filters={"label": f"{LABEL}.session"})
    wanted = f"/{owner_pid or os.getpid()}-"
    return [row for row in rows if wanted in row["Labels"][f"{LABEL}.session"] and row["State"] != "removing"]


# -- sessions ----------------------------------------------------------------------------------------------------------


@needs_docker
def test_a_session_has_both_walls_around_it(box: Docker) -> None:
    with box.open() as session:
        run = session.execute("x = 6; x * 7")
        assert (run.value, run.receipt.kind, run.receipt.tier) == ("42", "docker", "full")
        assert {"container: no network", "container: own seccomp profile", "seccomp"} <= {*run.receipt.layers}
        assert any(layer.startswith("landlock-") for layer in run.receipt.layers)


@needs_docker
def test_the_container_is_hardened(box: Docker, api: Any) -> None:
    with box.open() as session:
        session.execute("1")
        seen = api.inspect_container(ours(api)[0]["Id"])
    host, config = seen["HostConfig"], seen["Config"]
    assert (host["NetworkMode"], host["CapDrop"], host["CapAdd"]) == ("none", ["ALL"], None)
    assert host["ReadonlyRootfs"] and host["AutoRemove"] and not host["Privileged"]
    assert not host["Binds"] and not seen["Mounts"] and list(host["Tmpfs"]) == ["/tmp"]
    assert "no-new-privileges:true" in host["SecurityOpt"] and f"seccomp={profile()}" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] > 0 and host["PidsLimit"] > 0 and host["LogConfig"]["Type"] == "none"
    assert (host["IpcMode"], config["User"], seen["Image"]) == ("private", "65534:65534", box.image.id)


OUTER = """
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno())
def attempt(act):
    try:
        act()
    except OSError:
        return "denied"
    return "done"
print(json.dumps({
    "network socket": attempt(socket.socket),
    "io_uring": attempt(lambda: call(425, 1, ctypes.create_string_buffer(200))),
    "keyring": attempt(lambda: call(248, b"user", b"x", b"y", 1, -2)),
    "writing": attempt(lambda: open(sys.argv[1] + "/written", "w")),
    "ptrace": attempt(lambda: call(101, 0, 0, 0, 0)),
}))
"""
"""What one who has got out of the jail would find; system calls of x86-64. It is done outside, as a control."""


@needs_docker
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_one_who_breaks_the_jail_is_in_a_container(box: Docker, api: Any, tmp_path: Path) -> None:
    outside = subprocess.run([sys.executable, "-c", OUTER, tmp_path], capture_output=True, text=True, check=True)
    assert {name for name, end in json.loads(outside.stdout).items() if end == "done"} >= {"network socket", "writing"}
    with box.open():
        made = api.exec_create(ours(api)[0]["Id"], ["python3", "-c", OUTER, "/usr"])
        inside = json.loads(api.exec_start(made["Id"]))
    assert set(inside.values()) == {"denied"}, inside


@needs_docker
def test_links_of_the_folder_are_data(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("host")
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "link").symlink_to(secret)
    (work / "folder").symlink_to(tmp_path)
    (work / "sub" / "fine").symlink_to("../data")
    (work / "data").write_text("mine")
    os.mkfifo(work / "pipe")
    with open_session("docker", workspace=work, policy=POLICY) as session:
        run = session.execute("import os; sorted(os.listdir()), os.readlink('link'), open('sub/fine').read()")
        assert run.value == repr((["data", "folder", "link", "sub"], str(secret), "mine"))
        for path in ("link", "folder/secret.txt"):
            assert session.execute(f"open({path!r}).read()").status == "error"
        session.execute("import os; os.symlink('/etc/passwd', 'new'); os.remove('link'); open('data', 'a').write('!')")
        changes = session.changes()
        assert {item.path: item.kind for item in changes} == {"data": "modified", "link": "deleted"}
        assert [(one.path, one.reason) for one in changes.skipped] == [("new", "a symbolic link")]
        changes.apply()
    assert (work / "data").read_text() == "mine!" and not (work / "link").is_symlink() and secret.read_text() == "host"


@needs_docker
def test_a_folder_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    policy = Policy(disk_bytes=2 << 20)
    with pytest.raises(SandboxUnavailable, match="too large"):
        open_session("docker", workspace=tmp_path, policy=policy)


@needs_docker
def test_a_container_is_never_used_again(box: Docker, api: Any) -> None:
    with box.open() as session:
        session.execute("1")
        first = {row["Id"] for row in ours(api)}
    with box.open() as session:
        session.execute("1")
        until(lambda: len(ours(api)) == 2)
        assert len({row["Id"] for row in ours(api)} - first) >= 1
    assert until(lambda: len(ours(api)) <= 1)


@needs_docker
def test_memory_that_is_taken_at_once_is_the_programs_fault(box: Docker) -> None:
    with box.open() as session:
        session.execute("x = 1")
        run = session.execute("a = bytearray(400 << 20); b = bytearray(400 << 20); c = bytearray(400 << 20)")
        assert (run.status, run.limit) == ("memory", "memory")
        assert session.execute("x").value == "1"


@needs_docker
def test_without_namespaces_the_jail_in_the_container_is_the_weaker_one(monkeypatch: pytest.MonkeyPatch) -> None:
    without = profile().replace('"unshare", ', "").replace(', "unshare"', "")
    monkeypatch.setattr(container, "profile", lambda: without)
    with open_session("docker", policy=POLICY) as session:
        assert session.receipt.tier == "landlock"
        session.execute("x = 1")
        assert session.execute("x = 2; open('f', 'w'); 1 / 0").status == "error"
        assert session.execute("import os; x, os.listdir()").value == "(1, [])"
        assert any("were run" in note or "running" in note for note in session.receipt.notes)
    with pytest.raises(SandboxUnavailable, match="demanded"):
        open_session("docker", policy=Policy(minimum_tier="namespaces"))


# -- what may go wrong -------------------------------------------------------------------------------------------------


@needs_docker
def test_a_container_that_is_killed_costs_the_session(box: Docker, api: Any) -> None:
    session = box.open()
    session.execute("1")
    mine = {row["Id"] for row in ours(api)}
    threading.Timer(1, lambda: [api.kill(one) for one in mine]).start()
    with pytest.raises(SandboxUnavailable, match="lost"):
        session.execute("import time; time.sleep(15)")
    with pytest.raises(SandboxUnavailable, match="lost"):
        session.execute("1")
    session.close()
    with box.open() as another:
        assert another.execute("1").ok


@needs_docker
def test_a_host_that_is_killed_leaves_no_container(api: Any) -> None:
    code = "import time; from sandbox import open_session; s = open_session('docker'); print('up', flush=True)"
    process = subprocess.Popen([sys.executable, "-c", f"{code}; time.sleep(60)"], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    assert ours(api, process.pid)
    process.kill()
    process.communicate()
    assert until(lambda: not ours(api, process.pid))


@needs_docker
def test_a_container_that_was_never_started_is_swept(api: Any, box: Docker) -> None:
    dead = subprocess.Popen(["sleep", "60"])
    boot, _, _ = owner().rpartition("/")
    started = Path(f"/proc/{dead.pid}/stat").read_text().rpartition(")")[2].split()[19]
    name = f"{boot}/{dead.pid}-{started}"
    assert not is_gone(name) and not is_gone(owner()) and not is_gone("") and not is_gone("other/boot/1-1")
    dead.kill()
    dead.wait()
    assert is_gone(name)
    made = api.create_container(box.image.id, ["true"], labels={f"{LABEL}.session": name})["Id"]
    daemon = connect()
    container.sweep(daemon)
    daemon.close()
    assert made not in {row["Id"] for row in api.containers(all=True)}


# The SDK leaves a socket that it could not connect to the collector.
unclosed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture
def collected() -> Iterator[None]:
    yield
    gc.collect()


@unclosed
@pytest.mark.usefixtures("collected")
def test_without_a_daemon_it_is_unavailable_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxUnavailable, match="no daemon answers") as error:
        open_session("docker")
    assert "systemctl start docker" in error.value.hint
    (tmp_path / "program.py").write_text("6 * 7")
    assert main(["exec", str(tmp_path / "program.py"), "--sandbox", "docker"]) == 3
    assert "hint: start it" in capsys.readouterr().err
    assert not doctor()[-1].ok


@unclosed
@pytest.mark.usefixtures("collected")
def test_a_socket_that_nobody_may_open_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(SandboxUnavailable, match="no permission") as error:
        connect()
    assert "group docker" in error.value.hint


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ({"ApiVersion": "1.40", "Version": "19.03", "Os": "linux"}, "19.03 is too old"),
        ({"ApiVersion": "1.45", "Version": "26", "Os": "windows"}, "windows"),
    ],
)
def test_a_daemon_that_cannot_is_refused(
    version: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with daemon_that_says(tmp_path / "d.sock", {**version, "MinAPIVersion": "1.12"}) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(SandboxUnavailable, match=why):
            connect()


@contextmanager
def daemon_that_says(path: Path, answer: dict[str, str]) -> Iterator[str]:
    """A daemon that answers everything with the same."""
    body = json.dumps(answer)
    length = f"Content-Length: {len(body)}\r\nConnection: close"
    reply = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{length}\r\n\r\n{body}".encode()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                channel, _ = server.accept()
                with channel:
                    channel.recv(65536)
                    channel.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_a_full_disk_is_told_with_what_to_do() -> None:
    why = "write /var/lib/docker/tmp/x: no space left on device"
    with pytest.raises(SandboxUnavailable, match="no space left") as error, speaking("no container can be made"):
        raise docker.errors.APIError("500 Server Error", explanation=why)
    assert "docker system df" in error.value.hint


@needs_docker
def test_without_an_image_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_digest", lambda: "another")
    with pytest.raises(SandboxUnavailable, match="another version") as error:
        open_session("docker")
    assert error.value.hint == "make one: sandsmith image build"
    monkeypatch.setattr(image, "LABEL", "dev.sandsmith.none")
    with pytest.raises(SandboxUnavailable, match="there is no image"):
        open_session("docker")


def test_what_a_container_cannot_give_is_refused(tmp_path: Path) -> None:
    for policy in (Policy(allow_hosts=("example.org",)), Policy(read_only=(tmp_path,)), Policy(packages=tmp_path)):
        with pytest.raises(ConfigError) as error:
            open_session("docker", policy=policy)
        assert error.value.hint


CHOICE = "from sandbox import open_session\nwith open_session() as s: print(s.receipt.kind, s.execute('6*7').value)"


@needs_docker
def test_where_no_jail_can_be_built_a_container_stands_in() -> None:
    assert masks.run("landlock=0", CHOICE).stdout == "docker 42\n"


def test_where_neither_can_be_had_the_refusal_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    done = masks.run("landlock=0", CHOICE)
    assert done.returncode and "no Landlock; and no container can stand in" in done.stderr, done.stderr


# -- images ------------------------------------------------------------------------------------------------------------


@needs_docker
def test_an_image_is_made_upon_a_base_and_removed_again(api: Any) -> None:
    daemon = connect()
    base = find_image(daemon)
    said: list[str] = []
    made = build_image((), base=base.tags[0] if base.tags else base.id, tag="upon-a-base", on_step=said.append)
    try:
        assert made.current and made.base == base.id and made.tags == ("sandsmith:upon-a-base",) and said
        assert api.inspect_image(made.id)["Config"]["Labels"][f"{LABEL}.packages"] == ""
    finally:
        remove_image(daemon, made)
        daemon.close()


@needs_docker
def test_a_base_that_is_not_there_is_the_callers_fault() -> None:
    with pytest.raises(ConfigError, match="cannot be pulled"):
        build_image((), base="127.0.0.1:9/no-such-image:1")


@needs_docker
def test_the_command_lists_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["current"]


# -- hostile words -----------------------------------------------------------------------------------------------------


def framed(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(data)) + data


@contextmanager
def linked(limit: int = 1 << 16) -> Iterator[tuple[Link, socket.socket, threading.Event]]:
    """A link, what is at its other end, and whether it has ended."""
    ours, theirs = socket.socketpair()
    ended = threading.Event()
    link = Link(ours, limit, 1 << 10, ended.set)
    with theirs:
        yield link, theirs, ended
        link.close()
        assert link.wait(5)


@pytest.mark.parametrize(
    "data",
    [
        framed(1, struct.pack("!I", 1 << 30)),
        framed(1, struct.pack("!I", 4) + b"\xff\xff\xff\xff"),
        framed(1, wire.encode({"id": 99, "op": "done"})),
        framed(1, wire.encode({"id": [1], "op": "done"})),
        framed(1, wire.encode({"op": "done"})),
        framed(1, wire.encode({"id": 1, "op": "part"})),
        framed(1, wire.encode({"id": 1, "op": "nonsense"})),
        framed(1, wire.encode({"id": 1, "op": "done"}) * 2),
        framed(2, b"\x1b[2Jdead\n"),
        b"",
    ],
)
def test_a_server_that_breaks_the_protocol_is_lost(data: bytes) -> None:
    with linked() as (link, theirs, ended):
        threading.Timer(0.1, say, (theirs, data)).start()
        with suppress(SandboxUnavailable):
            link.call("first", 10)
        assert ended.wait(10)
        with pytest.raises(SandboxUnavailable, match="lost") as error:
            link.call("second", 10)
        assert "\x1b" not in str(error.value)


def say(channel: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the link may have ended before the whole was said
        channel.sendall(data)
        channel.shutdown(socket.SHUT_WR)


def test_a_server_that_is_silent_is_given_up() -> None:
    with linked() as (link, _, ended), pytest.raises(SandboxUnavailable, match="does not answer"):
        link.call("anything", 0.2)
    assert ended.is_set()


def test_a_server_that_takes_nothing_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.docker.link._SENDING", 1)
    with linked() as (link, _, ended), pytest.raises(SandboxUnavailable, match="takes nothing in"):
        link.call("anything", 30, data="x" * (8 << 20))
    assert ended.is_set()


def test_the_daemons_stream_is_read_however_it_is_cut() -> None:
    whole = framed(1, b"one") + framed(2, b"") + framed(2, b"two") + framed(1, b"x" * 1000)
    for size in (1, 3, 8, 11, 5000):
        ours, theirs = socket.socketpair()
        with ours:
            writer = threading.Thread(target=send_in_pieces, args=(theirs, whole, size))
            writer.start()
            found = {1: b"", 2: b""}
            for kind, data in demultiplexed(ours):
                found[kind] += data
            writer.join()
            assert found == {1: b"one" + b"x" * 1000, 2: b"two"}


def send_in_pieces(channel: socket.socket, data: bytes, size: int) -> None:
    with channel:
        for start in range(0, len(data), size):
            channel.sendall(data[start : start + size])


def change(path: Any, kind: Any = "created", is_dir: Any = False, mode: Any = 0o644) -> dict[str, Any]:
    return {"name": "change", "path": path, "kind": kind, "is_dir": is_dir, "mode": mode}


def contents(data: bytes) -> dict[str, Any]:
    return {"name": "data", "data": b64encode(data).decode()}


@pytest.mark.parametrize(
    "parts",
    [
        [change("../out")],
        [change("/etc/passwd")],
        [change("a/../../b")],
        [change("a//b")],
        [change("")],
        [change("a\x00b")],
        [change("\udcff")],
        [change("x" * 300)],
        [change("a/" * 100 + "a")],
        [change(["a"])],
        [change("a", kind="linked")],
        [change("a", mode="7777")],
        [change("a", is_dir="yes")],
        [change("a"), change("a")],
        [change("a"), change("a/b")],
        [change("a", is_dir=True), change("a")],
        [contents(b"to nothing")],
        [change("a"), {"name": "data", "data": "*"}],
        [change("a"), {"name": "data", "data": 1}],
        [change("a"), contents(bytes(3000))],
        [change(f"f{n}") for n in range(40)],
        [{"name": "link", "path": "a", "target": "/etc"}],
        [{}],
    ],
)
def test_a_change_set_that_no_jail_makes_is_refused(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    receiver = Receiver(place, Policy(disk_bytes=2000, files=16))
    try:
        with pytest.raises(ProtocolError):
            for part in parts:
                receiver.take(part)
    finally:
        receiver.close()
    assert not (tmp_path / "out").exists() and not any(path.is_symlink() for path in place.rglob("*"))


def test_a_change_set_is_rebuilt_as_a_layer(tmp_path: Path) -> None:
    place, folder = tmp_path / "place", tmp_path / "folder"
    for path in (place, folder / "old", folder / ".git"):
        path.mkdir(parents=True)
    (folder / "old" / "a").write_text("a")
    (folder / ".git" / "config").write_text("c")
    (folder / "kept").write_text("k")
    receiver = Receiver(place, POLICY)
    parts = [
        *(change(path, "deleted") for path in ("old/a", ".git/config", "never/was")),
        change("old", "deleted", is_dir=True),
        change("new", is_dir=True, mode=0o4755),
        change("new/run.sh", mode=0o6777),
        contents(b"#!/bin/sh\n"),
        contents(b"true\n"),
        change(".git/hooks", is_dir=True),
        change("kept", "modified"),
        contents(b"K"),
        {"name": "skipped", "path": "\x1b[2Jx", "reason": "it\nwas\x07odd" + "!" * 999},
    ]
    for part in parts:
        receiver.take(part)
    receiver.close()
    with tree(place) as layer:
        changes = collect(
            layer.fd,
            folder=folder,
            inputs=None,
            store=tmp_path / "store",
            max_bytes=1000,
            max_files=100,
            deleted=receiver.deleted,
            skipped=receiver.skipped,
        )
    assert [(item.kind, item.path) for item in changes] == [
        *(("deleted", "old/a"), ("deleted", "old"), ("modified", "kept")),
        *(("created", "new"), ("created", "new/run.sh")),
    ]
    assert oct(next(item.mode for item in changes if item.path == "new/run.sh")) == "0o777"
    withheld = {one.path: one.reason for one in changes.skipped}
    assert {".git", ".git/config"} <= withheld.keys()
    assert all(
        "\x1b" not in text and "\n" not in text and len(text) < 300 for pair in withheld.items() for text in pair
    )
    changes.apply()
    assert (folder / ".git" / "config").exists() and not (folder / "old").exists()
    assert (folder / "new" / "run.sh").read_bytes() == b"#!/bin/sh\ntrue\n"


GOOD: dict[str, Any] = {"status": "ok", "seconds": 0.1, "cpu_seconds": 0.1, "peak_memory": 1, "limit": None}


@pytest.mark.parametrize(
    "forged",
    [
        {"status": "solved"},
        {"status": ["ok"]},
        {"status": None},
        {"limit": "patience"},
        {"seconds": -1},
        {"seconds": "1"},
        {"cpu_seconds": 1 << 60},
        {"peak_memory": None},
    ],
)
def test_an_outcome_that_cannot_be_is_refused(forged: dict[str, Any]) -> None:
    policy, receipt = Policy(), Receipt("docker")
    assert answers.execution(GOOD, answers.Outputs(policy), policy, receipt, 1).ok
    with pytest.raises(ProtocolError):
        answers.execution({**GOOD, **forged}, answers.Outputs(policy), policy, receipt, 1)


def test_what_a_container_says_is_made_harmless() -> None:
    policy = Policy(value_chars=50, output_bytes=100)
    outputs = answers.Outputs(policy)
    outputs.take({"name": "stdout", "data": b64encode(b"\x1b[2J\x07" + b"x" * 500).decode()})
    outputs.take({"name": "display", "mime": "image/png", "data": "no png"})
    claims = {
        "value": "\x1b]0;t\x07" + "v" * 999,
        "signal": 4000,
        "exit_code": 999,
        "truncated": 1,
        "notes": ["a\nb", 1],
    }
    run = answers.execution({**GOOD, **claims, "seconds": 900}, outputs, policy, Receipt("docker"), 2.0)
    assert len(run.stdout) <= 100 and "\x1b" not in run.stdout and "\x1b" not in (run.value or "") and run.seconds == 2
    assert (run.signal, run.exit_code, run.truncated, run.displays) == (None, None, False, ())
    assert run.notes[-1] == "a b" and "no PNG" in run.notes[0]


@pytest.mark.parametrize(
    "parts",
    [
        [{"name": "stdin", "data": ""}],
        [{"name": ["stdout"], "data": ""}],
        [{"name": "stdout", "data": 5}],
        [{"name": "stdout", "data": "?"}],
        [{"name": "stdout", "data": b64encode(bytes(60_000)).decode()}] * 3,
        [{"name": "display"}] * 200,
    ],
)
def test_output_beyond_all_bounds_is_refused(parts: list[dict[str, Any]]) -> None:
    outputs = answers.Outputs(Policy(output_bytes=100))
    with pytest.raises(ProtocolError):
        for part in parts:
            outputs.take(part)
