"""A jail with hosts that it may reach: what works, what stays closed, what is left behind; as root and plain user."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from holdings import held, holds_no_more_than
from loopback import CERTIFICATE, PUBLIC, Client, Internet, Upstream, wait_until

import sandbox
from agent import Agent
from agent.events import Executed, Prompted, to_json
from agent.models.scripted import ScriptedModel
from sandbox import Policy, open_sandbox
from sandbox.network import proxy
from sandbox.worker.landlock import abi
from sandbox.worker.network import PORT

pytestmark = pytest.mark.jail

HOST = "api.example.com"
ALLOWED = Policy(wall_seconds=20, allow_hosts=(f"{HOST}:80", f"{HOST}:443"))
FETCH = f"import urllib.request\nurllib.request.urlopen('http://{HOST}/x').read()"
CONNECT = f"import socket\nsock = socket.create_connection(('127.0.0.1', {PORT}), 5)\n"


@pytest.fixture
def internet(monkeypatch):
    internet = Internet()
    monkeypatch.setattr(proxy, "Proxy", internet.proxy)
    return internet


@pytest.fixture
def upstream(internet):
    with Upstream() as server:
        internet.add(HOST, 80, server)
        yield server


@pytest.fixture
def box(internet, upstream, tmp_path):
    (tmp_path / "authority.pem").write_bytes(CERTIFICATE.read_bytes())
    with open_sandbox("jail", workspace=tmp_path, policy=ALLOWED, ahead=False) as box:
        yield box


@pytest.fixture
def session(box):
    with box.open() as session:
        yield session


# -- what works ----------------------------------------------------------------------------------------------------


def test_a_program_reaches_what_is_allowed_and_nothing_else(session, upstream):
    run = session.execute(FETCH)
    assert (run.status, run.value) == ("ok", "b'hello'")
    (request,) = run.requests
    assert (request.method, request.host, request.port, request.address) == ("GET", HOST, 80, PUBLIC)
    assert request.outcome == "allowed" and request.bytes_up > 0 and request.bytes_down > 0
    assert run.to_json()["requests"] == [request.to_json()] and json.dumps(run.to_json())
    assert f"network: proxy to {HOST}:80, {HOST}:443" in run.receipt.layers
    refused = session.execute(FETCH.replace(HOST, "other.example.com"))
    assert (refused.status, refused.requests[0].outcome) == ("error", "refused")
    assert "--allow-host" in refused.error.message and f"only {HOST}:80" in refused.error.notes[0]
    assert session.execute("1 + 1").requests == ()
    assert len(upstream.heard) == 1


@pytest.mark.parametrize("package", ["urllib", "requests", "httpx"])
def test_tls_ends_at_the_host_and_libraries_find_the_way_by_themselves(session, internet, package):
    if package != "urllib" and importlib.util.find_spec(package) is None:
        pytest.skip(f"no {package} here")
    trusting = "import ssl; trust = ssl.create_default_context(cafile='authority.pem')\n"
    code = {
        "urllib": "import urllib.request\nurllib.request.urlopen(URL, context=trust).read().decode()",
        "requests": "import requests\nrequests.get(URL, verify='authority.pem').text",
        "httpx": "import httpx\nhttpx.get(URL, verify=trust).text",
    }[package]
    with Upstream(tls=True) as server:
        internet.routes[PUBLIC, 443] = server.port
        run = session.execute(trusting + code.replace("URL", f"'https://{HOST}/path'"))
        assert (run.status, run.value) == ("ok", "'hello'"), run.error
        assert server.heard[0].startswith(b"GET /path HTTP/1.1\r\n")
        untrusted = session.execute(f"import urllib.request\nurllib.request.urlopen('https://{HOST}/')")
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.error.message
    assert [(r.method, r.port, r.outcome) for r in run.requests] == [("CONNECT", 443, "allowed")]


def test_authorities_and_the_way_are_shown_only_where_hosts_are_allowed(session):
    look = (
        "import os, ssl\n[sorted(n for n in os.environ if 'proxy' in n.lower()), len(ssl.create_default_context()."
        "get_ca_certs()) > 0 or any(map(os.path.exists, ssl.get_default_verify_paths()[3::2]))]"
    )
    names = "['HTTPS_PROXY', 'HTTP_PROXY', 'http_proxy', 'https_proxy']"
    assert session.execute(look).value.startswith(f"[{names}, ")
    with open_sandbox("jail", ahead=False) as closed, closed.open() as other:
        assert other.execute(look).value == "[[], False]"


# -- what stays closed ---------------------------------------------------------------------------------------------

DENIED = {  # each is tried outside, too, where it must do no harm
    "datagrams": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "ping": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)",
    "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "sctp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",
    "mptcp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
    "version 6": "socket.socket(socket.AF_INET6)",
    "unix": "socket.socket(socket.AF_UNIX)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "packet": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "vsock": "socket.socket(socket.AF_VSOCK)",
    "alg": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "bind": "socket.socket().bind(('127.0.0.1', 0))",
    "listen": "socket.socket().listen()",
    "server": "socket.create_server(('127.0.0.1', 0))",
    "fast open": "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', 1))",
    "fast open by message": "socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', 1))",
    "kernel tls": "socket.socket().setsockopt(6, 31, b'tls')",
    "interfaces": "__import__('fcntl').ioctl(socket.socket(), 0x8913, b'lo' + bytes(38))",
}


TRY_ALL = (
    "import socket\nfound = {}\n"
    f"for what, code in {DENIED!r}.items():\n"
    "    try: exec(code); found[what] = 'made'\n"
    "    except Exception as error: found[what] = type(error).__name__\n"
    "socket.socket().close()\n"
)


def test_no_other_socket_is_made(session):
    inside = eval(session.execute(f"{TRY_ALL}found").value)
    assert inside == dict.fromkeys(DENIED, "PermissionError")
    done = subprocess.run([sys.executable, "-c", f"{TRY_ALL}print(found)"], capture_output=True, text=True, check=True)
    outside = eval(done.stdout)
    made = {what for what, came in outside.items() if came != "PermissionError"}
    assert made >= {"bind", "listen", "server", "datagrams", "version 6", "unix", "fast open", "interfaces"}, (
        "the control"
    )


def test_no_address_but_the_proxys(session, upstream):
    """Direct ways: the host's server, other ports of the session's own loopback, addresses outside."""
    addresses = [("127.0.0.1", upstream.port), ("127.0.0.1", 1), ("127.0.0.2", upstream.port), (PUBLIC, 443)]
    addresses += [
        ("169.254.169.254", 80),
        ("10.0.0.1", 80),
        ("0.0.0.0", upstream.port),
        (_own_address(), upstream.port),
    ]
    run = session.execute(
        "import socket, errno\n"
        "def attempt(address):\n"
        "    with socket.socket() as sock:\n"
        "        sock.settimeout(5)\n"
        "        return errno.errorcode.get(sock.connect_ex(address), 'reached')\n"
        f"[attempt(a) for a in {addresses!r}], attempt(('127.0.0.1', {PORT}))"
    )
    denied = "EACCES" if abi() >= 4 else "E"
    found, way = eval(run.value)
    assert way == "reached" and all(f.startswith(denied) for f in found), run
    assert upstream.heard == []
    with socket.create_connection(("127.0.0.1", upstream.port), 5):
        pass  # the control


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((PUBLIC, 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


LAYERS = {
    "landlock": (
        "landlock.restrict(('/',), (), ALLOWED)\n"
        "print(connect(ALLOWED), connect(OTHER))\n"
        "try: socket.create_server(('127.0.0.1', 0))\nexcept PermissionError: print('no server')",
        "0 13\nno server\n",
    ),
    "namespace": (
        "if os.getuid(): kernel.unshare(kernel.CLONE_NEWUSER)\n"
        "listener = socket.socket(fileno=network.listen())\n"
        "print(connect(ALLOWED), connect(OTHER), connect(network.PORT))",
        "111 111 0\n",
    ),
    "seccomp": (
        "seccomp.install(tcp=True)\n"
        "print(connect(ALLOWED), connect(OTHER))\n"
        "try: socket.create_server(('127.0.0.1', 0))\nexcept PermissionError: print('no server')",
        "0 0\nno server\n",
    ),
    "nothing": ("print(connect(ALLOWED), connect(OTHER))", "0 0\n"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_stands_by_itself(upstream, layer):
    """What is denied in a process that has that layer only; `nothing` is the control."""
    if layer == "landlock" and abi() < 4:
        pytest.skip("Landlock knows no ports here")
    code, said = LAYERS[layer]
    with Upstream() as other:
        program = (
            f"import os, socket, sys\nsys.path.insert(0, {str(Path(sandbox.__file__).parent)!r})\n"
            "from worker import kernel, landlock, network, seccomp\n"
            f"ALLOWED, OTHER = {upstream.port}, {other.port}\n"
            f"def connect(port):\n    with socket.socket() as s: return s.connect_ex(('127.0.0.1', port))\n{code}"
        )
        done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == said, done.stderr


def test_names_are_not_resolved_inside_and_fail_fast(session):
    run = session.execute(
        f"import socket, time\nbegan = time.monotonic()\ntry: socket.getaddrinfo('{HOST}', 80)\n"
        "except OSError as error: print(type(error).__name__)\nprint(time.monotonic() - began < 1)"
    )
    assert run.stdout == "gaierror\nTrue\n"


def test_each_session_has_a_network_of_its_own(box, upstream):
    with box.open() as one, box.open() as two:
        done = []
        thread = threading.Thread(target=lambda: done.append(two.execute("import time; time.sleep(1)")))
        thread.start()
        first = one.execute(FETCH)
        thread.join()
        inodes = {s.execute("import os; os.stat('/proc/self/ns/net').st_ino").value for s in (one, two)}
    assert len(first.requests) == 1 and done[0].requests == ()
    assert len(inodes) == 2 and str(Path("/proc/self/ns/net").stat().st_ino) not in inodes


def test_without_hosts_there_is_no_socket_and_a_hint():
    with open_sandbox("jail", ahead=False) as box, box.open() as session:
        run = session.execute("import socket\nsocket.socket()")
        assert run.error.type == "PermissionError" and "--allow-host" in run.error.notes[0]
        run = session.execute(FETCH)
        assert run.error.type == "URLError" and "no network" in run.error.notes[0]
        other = session.execute("import os\nos.kill(1, 9)\nopen('/etc/shadow')")
        assert not any("--allow-host" in note for note in other.error.notes)
        assert run.requests == () and not any("network:" in layer for layer in run.receipt.layers)


@pytest.mark.parametrize("to", ["localhost", "127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_with_the_real_proxy_this_machine_is_not_reached(upstream, monkeypatch, to):
    """By the real resolver and the real way on, `localhost` on the list."""
    monkeypatch.undo()
    policy = Policy(wall_seconds=20, allow_hosts=(f"localhost:{upstream.port}",))
    with open_sandbox("jail", policy=policy, ahead=False) as box, box.open() as session:
        line = f"GET http://{to}:{upstream.port}/ HTTP/1.1"
        run = session.execute(CONNECT + f"sock.sendall(b'{line}\\r\\nHost: x\\r\\n\\r\\n')\nsock.recv(12)")
    assert run.value in ("b'HTTP/1.1 403'", "b'HTTP/1.1 400'")
    assert [r.outcome for r in run.requests] == ["refused"] and upstream.heard == []
    assert b"hello" in Client(upstream.port).get("/"), "the control"


# -- going back, ending, leaving nothing ---------------------------------------------------------------------------


def test_what_is_sent_by_a_program_that_is_taken_back_is_not_carried_out(session, upstream):
    send = CONNECT + f"sock.sendall(b'GET http://{HOST}/stale HTTP/1.1\\r\\nHost: x\\r\\n\\r')\n"
    run = session.execute(send + "1 / 0")
    assert run.error.type == "ZeroDivisionError"
    assert session.execute(FETCH).value == "b'hello'"
    assert len(upstream.heard) == 1


def test_nothing_is_served_between_executions(session, upstream):
    late = (
        "import threading, time, urllib.request\n"
        f"def later():\n    time.sleep(0.3)\n    urllib.request.urlopen('http://{HOST}/late')\n"
        "threading.Thread(target=later, daemon=True).start()"
    )
    assert session.execute(late).ok
    time.sleep(1)
    assert upstream.heard == []
    run = session.execute(FETCH)
    assert run.ok and all(b"/late" not in heard for heard in upstream.heard)
    assert session.execute(late + "\ntime.sleep(0.6)").ok and wait_until(lambda: b"/late" in upstream.heard[-1])


@pytest.mark.parametrize(
    "end", ["raise SystemExit(3)", "os.kill(os.getpid(), 9)", "time.sleep(60)", "print('x' * 10**7)"]
)
def test_a_program_that_ends_in_the_middle_leaves_nothing(box, internet, end, monkeypatch):
    monkeypatch.setattr("sandbox.jail.ahead.Ahead.begin", lambda _ahead, _make: None)  # a checkpoint made ahead counts

    def pour(sock, data):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(bytes(1 << 16))

    with Upstream(pour) as server, box.open() as session:
        internet.routes[PUBLIC, 80] = server.port
        session.execute("1")
        before = held()
        for _ in range(2):
            code = (
                f"import os, time, urllib.request\nf = urllib.request.urlopen('http://{HOST}/')\nf.read(10**6)\n{end}"
            )
            run = session.execute(code, wall_seconds=2)
            assert not run.ok and run.requests[0].bytes_down > 10**6
        assert wait_until(lambda: server.at_once == 0)
        assert wait_until(lambda: holds_no_more_than(before)), (held(), before)
        internet.add(HOST, 80, server)
        assert session.execute("2").value == "2"


def test_two_hundred_connections_and_a_hundred_silent_ones(session):
    run = session.execute(
        CONNECT + f"silent = [socket.create_connection(('127.0.0.1', {PORT}), 5) for _ in range(20)]\n"
        "for s in silent: s.sendall(b'GET http://')\n"
        "import threading, urllib.request\nanswers = []\n"
        f"def fetch(): answers.append(urllib.request.urlopen('http://{HOST}/', timeout=15).read())\n"
        "for _ in range(5):\n"
        "    threads = [threading.Thread(target=fetch) for _ in range(40)]\n"
        "    for t in threads: t.start()\n"
        "    for t in threads: t.join()\n"
        "answers.count(b'hello')"
    )
    assert run.value == "200", run
    assert sum(r.outcome == "allowed" for r in run.requests) == 200


def test_closing_leaves_no_thread_and_no_descriptor(internet, upstream):
    before = held()
    with open_sandbox("jail", policy=ALLOWED) as box:
        for _ in range(3):
            with box.open() as session:
                assert session.execute(FETCH).ok
    assert wait_until(lambda: holds_no_more_than(before)), (held(), before)


def test_cancelling_ends_a_transfer(session, internet):
    with Upstream(lambda sock, data: time.sleep(5)) as server:
        internet.routes[PUBLIC, 80] = server.port
        timer = threading.Timer(0.5, session.cancel)
        timer.start()
        began = time.monotonic()
        run = session.execute(FETCH)
        assert run.status == "killed" and time.monotonic() - began < 4
    assert [(r.outcome, r.reason) for r in run.requests] == [("allowed", "open until the execution ended")]


# -- who hears of it -----------------------------------------------------------------------------------------------


def test_a_run_tells_the_model_and_keeps_every_request_in_its_trace(internet, upstream, tmp_path):
    reply = f"```python\nimport urllib.request\nprint(urllib.request.urlopen('http://{HOST}/').read())\n```"
    with Agent(ScriptedModel([reply]), policy=ALLOWED, runs=tmp_path / "runs") as agent:
        events = list(agent.stream("Fetch the greeting and print it"))
    prompt = next(e for e in events if isinstance(e, Prompted)).messages[0].content
    assert f"no network but {HOST}:80, {HOST}:443" in prompt
    executed = next(e for e in events if isinstance(e, Executed))
    assert executed.execution.ok and len(executed.execution.requests) == 1
    (trace,) = (tmp_path / "runs").glob("*/trace.jsonl")
    lines = trace.read_text().splitlines()
    assert to_json(executed)["execution"]["requests"][0]["host"] == HOST
    assert any(HOST in str(json.loads(line).get("execution", {}).get("requests")) for line in lines)


def test_the_command_line_refuses_allows_and_hints(tmp_path):
    def sandsmith(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent", "exec", "-", "--folder", str(tmp_path), "--no-apply", *args]
        root = str(Path(__file__).parents[1])
        env = {**os.environ, "PYTHONPATH": root}
        return subprocess.run(command, input=FETCH, capture_output=True, text=True, env=env, check=False)

    for wrong in ("https://a.com", "10.0.0.1"):
        done = sandsmith("--allow-host", wrong)
        assert done.returncode == 2 and "allow_hosts" in done.stderr and "hint:" in done.stderr
    done = sandsmith()
    assert done.returncode == 1 and "hint: there is no network here (--allow-host" in done.stderr
    done = sandsmith("--allow-host", "localhost:1")
    assert done.returncode == 1 and f"network: {HOST}:80 refused" in done.stderr
    assert "hint: from here only localhost:1 can be reached" in done.stderr
    found = json.loads(sandsmith("--allow-host", "localhost:1", "--json").stdout)
    assert found["requests"][0]["host"] == HOST and "network: proxy to localhost:1" in found["receipt"]["layers"]


@pytest.mark.root
def test_all_of_this_holds_for_a_plain_user(tmp_path_factory):
    sys.path.insert(0, str(Path(__file__).with_name("attacks")))
    try:
        import users
    finally:
        del sys.path[0]
    if why := users.missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="hosts-") as home:
        os.chown(home, users.USER, users.USER)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={home}/t", __file__]
        environment = users.environment(Path(home))
        done = subprocess.run(
            users.command(command), env=environment, cwd="/", capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "1 skipped" in done.stdout.splitlines()[-1], done.stdout[-500:]  # this one
