"""The proxy, attacked from inside and from outside: names, addresses, requests, bytes, load."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from holdings import held, holds_no_more_than
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import CERTIFICATE, PUBLIC, Client, Internet, Upstream, hello, read_all, wait_until

from sandbox import ConfigError, Policy
from sandbox.network import Host, exchange, why_refused
from sandbox.network.greeting import Greeting
from sandbox.network.proxy import Proxy, connect

HOST = "api.example.com"


class Stand(Client):
    """A proxy on loopback that serves, and what lies behind it."""

    def __init__(self, make, hosts, traffic=1 << 30) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        super().__init__(listener.getsockname()[1])
        self.proxy: Proxy = make(listener, hosts, traffic)
        self.proxy.begin()

    def log(self):
        """What was asked for until now; the proxy goes on with a new log."""
        requests = self.proxy.end()
        self.proxy.begin()
        return requests

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        self.proxy.close()


@pytest.fixture
def internet():
    return Internet()


@pytest.fixture
def upstream(internet):
    with Upstream() as server:
        internet.add(HOST, 80, server)
        internet.routes[PUBLIC, 443] = server.port
        yield server


@pytest.fixture
def stand(internet, upstream):
    with Stand(internet.proxy, [f"{HOST}:80", f"{HOST}:443"]) as stand:
        yield stand


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


# -- names and addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("API.Example.com", "api.example.com:443"),
        ("api.example.com.:80", "api.example.com:80"),
        ("bücher.example", "xn--bcher-kva.example:443"),
        ("faß.example", "xn--fa-hia.example:443"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example:443"),
        ("localhost:8080", "localhost:8080"),
        ("8.8.8.8", "8.8.8.8:443"),
        ("[2606:4700:0:0::1111]:53", "[2606:4700::1111]:53"),
    ],
)
def test_a_host_has_one_spelling(text, spelled):
    assert Policy(allow_hosts=(text,)).allow_hosts == (spelled,)
    assert Policy(allow_hosts=(text, spelled)).allow_hosts == (spelled,)
    assert str(Host.parse(spelled)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":443", "a b", "a.com:", "a.com:0", "a.com:65536", "a.com:-1", "a.com:4４3", "a.com:443:443"),
        *("https://a.com", "a.com/", "a.com/path", "a.com?x", "a.com#x", "user@a.com", "a.com\\@b.com", "a%2ecom"),
        *("a\n.com", "a\0.com", "a.com\n", "a.com:443\n", "a\t.com", "a\x1b[2J.com"),
        *("*.a.com", "*", "a..com", ".a.com", "-a.com", "a-.com", "a.com..", "x" * 64 + ".com", "a." * 130 + "com"),
        *("0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "0x7f000001", "a.0x1", "a.1"),
        *("::1", "[::1", "[::ffff:127.0.0.1%lo]", "[1.2.3.4]", "[]", "[:::]", "\u202ea.com", "ａ.com/"),
        *("127.0.0.1", "[::1]:80", "10.0.0.1", "169.254.169.254:80", "[::ffff:10.0.0.1]", "0.0.0.0", "[fd00:ec2::254]"),
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ConfigError, match="allow_hosts") as caught:
        Policy(allow_hosts=(text,))
    assert caught.value.hint


def test_a_string_is_one_host_and_not_many():
    assert Policy(allow_hosts="a.example").allow_hosts == ("a.example:443",)  # pyright: ignore[reportArgumentType]


ELSEWHERE = [
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.0.192", "192.0.2.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250", "233.252.0.1"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1"),
    *("64:ff9b:1::808:808", "2002:7f00:1::1", "2002:808:808::1", "2001:0:7f00:1::1", "2001:db8::1", "3fff::1"),
    *("fe80::1", "fe80::1%lo", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1"),
    *("5f00::1", "4000::1", "2001:10::1", "2001:2::1", "nonsense", "", "0x7f.1", "2130706433", "127.1"),
]
PUBLIC_ONES = ["8.8.8.8", PUBLIC, "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_an_address_that_leads_elsewhere_is_refused(address):
    assert why_refused(address)


@pytest.mark.parametrize("address", PUBLIC_ONES)
def test_an_address_of_the_internet_is_not(address):
    assert why_refused(address) == ""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"])
def test_loopback_is_refused_even_where_it_is_on_the_list(upstream, name):
    """With the real resolver. The control: without the proxy the server is reached."""
    to = f"{name}:{upstream.port}"
    with Stand(Proxy, [to]) as stand:
        assert status(stand.get(f"http://{to}/")) == 403
        with pytest.raises(ConnectionError, match="403"), stand.tunnel(to):
            pass
        assert [(r.outcome, r.address) for r in stand.log()] == [("refused", "")] * 2
    assert upstream.heard == []
    assert b"hello" in Client(upstream.port).get("/")


@pytest.mark.parametrize("name", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "[::ffff:7f00:1]"])
def test_an_odd_spelling_of_loopback_is_refused(upstream, name):
    with Stand(Proxy, [f"localhost:{upstream.port}", f"127.0.0.1:{upstream.port}"]) as stand:
        for answer in (
            stand.get(f"http://{name}:{upstream.port}/"),
            stand.ask(f"CONNECT {name}:{upstream.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
        ):
            assert status(answer) in (400, 403)
    assert upstream.heard == []
    if not name.startswith("["):  # the control: resolvers take it for loopback
        with socket.create_connection((name.removesuffix("."), upstream.port), 5) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1", "0.0.0.0"])
def test_a_name_that_stands_for_a_private_address_is_refused(internet, upstream, address):
    """The way on is the real one, and leads to a server; the control opens it by calling the address public."""
    internet.names[HOST] = [[address]]
    with Stand(lambda *args: Proxy(*args, resolve=internet.resolve), [f"{HOST}:{upstream.port}"]) as stand:
        assert status(stand.get(f"http://{HOST}:{upstream.port}/")) == 403
        (request,) = stand.log()
    assert (request.outcome, request.address) == ("refused", "") and "public" in request.reason
    assert upstream.heard == []


def test_the_control_a_name_that_is_let_through_reaches_that_server(internet, upstream, monkeypatch):
    internet.names[HOST] = [["127.0.0.1"]]
    monkeypatch.setattr(exchange, "why_refused", lambda address: "")
    monkeypatch.setattr("sandbox.network.proxy.is_own", lambda address: False)
    with Stand(lambda *args: Proxy(*args, resolve=internet.resolve), [f"{HOST}:{upstream.port}"]) as stand:
        assert b"hello" in stand.get(f"http://{HOST}:{upstream.port}/")


def test_an_address_of_this_machine_is_not_connected_to(upstream):
    for address in {"127.0.0.1", socket.gethostbyname(socket.gethostname())}:
        with pytest.raises(PermissionError):
            asyncio.run(connect(address, upstream.port))
    assert upstream.heard == []
    assert b"hello" in Client(upstream.port).get("/")


def test_a_name_that_changes_its_mind_does_not_lead_inside(internet, upstream, stand):
    """DNS rebinding: what is checked is what is connected to; the next request is checked anew."""
    with Upstream() as inside:
        internet.names[HOST] = [[PUBLIC], ["10.0.0.1"], ["127.0.0.1"]]
        internet.routes["10.0.0.1", 80] = internet.routes["127.0.0.1", 80] = inside.port
        assert [status(stand.get(f"http://{HOST}/")) for _ in range(3)] == [200, 403, 403]
        assert internet.dialled == [(PUBLIC, 80)] and internet.asked == [HOST] * 3
        assert inside.heard == [] and len(upstream.heard) == 1
    assert [r.address for r in stand.log()] == [PUBLIC, "", ""]


def test_of_several_addresses_only_public_ones_are_tried(internet, upstream, stand):
    internet.names[HOST] = [["10.0.0.1", "8.8.4.4", "::1", PUBLIC]]
    assert status(stand.get(f"http://{HOST}/")) == 200
    assert internet.dialled == [("8.8.4.4", 80), (PUBLIC, 80)]


# -- what is asked for ---------------------------------------------------------------------------------------------


def test_a_plain_request_is_written_anew(stand, upstream):
    fields = "Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nProxy-Authorization: s\r\nUpgrade: h2c\r\n"
    answer = stand.get(f"http://{HOST.upper()}/a?b#c", fields, host="inside.example.com")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status(answer), body) == (200, b"hello") and b"connection: close" in head.lower()
    (heard,) = upstream.heard
    assert heard == b"GET /a?b HTTP/1.1\r\nHost: api.example.com\r\nX-End: 2\r\nConnection: close\r\n\r\n"
    (request,) = stand.log()
    assert (request.method, request.host, request.port, request.address) == ("GET", HOST, 80, PUBLIC)
    assert (request.outcome, request.reason, request.bytes_up) == ("allowed", "", len(heard))
    assert request.bytes_down > 40 and 0 <= request.at <= 10 and 0 < request.seconds < 10


def test_a_tunnel_passes_bytes_both_ways(internet):
    def echo(sock, data):
        sock.sendall(data[::-1])
        sock.sendall(read_all(sock)[::-1])

    with Upstream(echo) as server, Stand(internet.proxy, [f"{HOST}:9000"]) as stand:
        internet.add(HOST, 9000, server)
        with stand.tunnel(f"{HOST}:9000") as sock:
            sock.sendall(b"\x00one")
            assert sock.recv(100) == b"eno\x00"
            sock.sendall(b"two")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"owt"
        (request,) = stand.log()
    assert (request.method, request.outcome, request.bytes_up, request.bytes_down) == ("CONNECT", "allowed", 7, 7)


@pytest.mark.parametrize("to", ["other.example.com:80", f"{HOST}:81", f"x.{HOST}:80", "example.com:80", f"{HOST}:8080"])
def test_what_is_not_on_the_list_is_not_even_asked_for(stand, internet, upstream, to):
    assert status(stand.get(f"http://{to}/")) == 403
    with pytest.raises(ConnectionError, match=r"403 .*--allow-host"), stand.tunnel(to):
        pass
    assert [(r.outcome, f"{r.host}:{r.port}") for r in stand.log()] == [("refused", to)] * 2
    assert internet.asked == [] and internet.dialled == [] and upstream.heard == []
    assert status(stand.get(f"http://{HOST}:80/")) == 200


@pytest.mark.parametrize(
    "line",
    [
        *("GET / HTTP/1.1", f"GET //{HOST}/ HTTP/1.1", f"GET https://{HOST}/ HTTP/1.1", f"GET ftp://{HOST}/ HTTP/1.1"),
        *(f"GET http://u@{HOST}/ HTTP/1.1", f"GET http://u:p@{HOST}/ HTTP/1.1", f"GET http:/{HOST}/ HTTP/1.1"),
        *(f"GET http://{HOST}\\@b.com/ HTTP/1.1", f"GET http://b.com\\.{HOST}/ HTTP/1.1", "GET http:/// HTTP/1.1"),
        *(f"CONNECT {HOST} HTTP/1.1", f"CONNECT http://{HOST}:80 HTTP/1.1", f"CONNECT {HOST}:80/ HTTP/1.1"),
        *(f"CONNECT {HOST}:080000 HTTP/1.1", f"CONNECT {HOST}:+80 HTTP/1.1", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0"),
        *(f"GET http://{HOST}/ x HTTP/1.1", f"GET  http://{HOST}/ HTTP/1.1", f"GET http://{HOST}/\x00 HTTP/1.1"),
        *(f"GET http://{HOST}/\x1b[31m HTTP/1.1", f"GET http://{HOST}\r\nX: /x HTTP/1.1", f"GET http://{HOST}/"),
        *(f"GET http://{HOST}%2e/ HTTP/1.1", f"GET http://{HOST}\u3002/ HTTP/1.1", "\x16\x03\x01"),
        *(f"GET http://{HOST}:80:80/ HTTP/1.1", f"GET http://{HOST}:/ HTTP/1.1", f"\r\n\0GET http://{HOST}/ HTTP/1.1"),
    ],
)  # fmt: skip
def test_a_request_that_can_be_understood_in_two_ways_is_refused(stand, internet, upstream, line):
    assert status(stand.ask(f"{line}\r\nHost: {HOST}\r\n\r\n".encode())) == 400
    (request,) = stand.log()
    assert request.outcome == "refused" and request.reason
    assert internet.dialled == [] and upstream.heard == []


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Host: second.example.com\r\n",
        "X: a\rb\r\n",
        "X y: a\r\n",
        "X: a\x00b\r\n",
    ],
)
def test_a_body_or_a_field_in_two_ways_is_refused(stand, upstream, fields):
    request = f"POST http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
    assert status(stand.ask(request.encode())) in (400, 501)
    assert upstream.heard == [] and stand.log()[0].outcome == "refused"


def test_nothing_hides_behind_a_request(internet):
    def listen_on(sock, data):
        hello(sock, data)
        server.heard.append(read_all(sock))

    second = b"GET http://api.example.com/second HTTP/1.1\r\nHost: x\r\n\r\n"
    first = b"POST http://api.example.com/first HTTP/1.1\r\nHost: x\r\n"
    with Upstream(listen_on) as server, Stand(internet.proxy, [f"{HOST}:80"]) as stand:
        internet.add(HOST, 80, server)
        for body in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
            answer = stand.ask(first + body + second)
            assert answer.count(b"HTTP/1.1") == 1 and len(stand.log()) == 1
        assert wait_until(lambda: server.at_once == 0)
        assert not any(b"second" in heard for heard in server.heard) and internet.dialled == [(PUBLIC, 80)] * 2
        assert status(stand.ask(second)) == 200, "the control"
        assert any(b"GET /second" in heard for heard in server.heard)


def test_bodies_of_every_kind_go_through(internet):
    def collect(sock, data):
        while not data.endswith((b"end", b"0\r\n\r\n")):
            data += sock.recv(1 << 16)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n%x\r\n" % len(data))
        sock.sendall(data + b"\r\n0\r\nTrailer: x\r\n\r\n")

    with Upstream(collect) as server, Stand(internet.proxy, [f"{HOST}:80"]) as stand:
        internet.add(HOST, 80, server)
        large = b"x" * 300_000 + b"end"
        head = b"PUT http://api.example.com/ HTTP/1.1\r\nHost: x\r\n"
        answer = stand.ask(head + b"Content-Length: %d\r\n\r\n" % len(large) + large)
        assert large in answer.replace(b"\r\n", b"") or large[-1000:] in answer
        answer = stand.ask(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n")
        assert b"3\r\nabc\r\n" in answer and b"T: 1" not in answer


def test_expectations_heads_and_redirects_are_the_programs_own(internet, stand, upstream):
    def careful(sock, data):
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = sock.recv(100)
        sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 2\r\n\r\n" + body)

    with Upstream(careful) as server:
        internet.routes[PUBLIC, 80] = server.port
        with stand.connected() as sock:
            fields = b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            sock.sendall(b"POST http://api.example.com/ HTTP/1.1\r\nHost: x\r\n" + fields)
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
            sock.sendall(b"ok")
            answer = read_all(sock)
    assert status(answer) == 302 and b"http://10.0.0.1/" in answer and answer.endswith(b"ok")
    assert internet.dialled == [(PUBLIC, 80)]
    internet.routes[PUBLIC, 80] = upstream.port
    answer = stand.ask(b"HEAD http://api.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 200 and answer.lower().count(b"content-length: 5") == 1 and not answer.endswith(b"hello")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/2 200\r\n",
    ],
)
def test_an_answer_that_is_none_is_said_to_be_none(internet, stand, reply):
    with Upstream(lambda sock, data: sock.sendall(reply)) as server:
        internet.routes[PUBLIC, 80] = server.port
        assert status(stand.get(f"http://{HOST}/")) == 502
    (request,) = stand.log()
    assert request.outcome == "failed" and request.reason


def test_a_name_or_a_host_that_is_not_there_has_failed(internet, stand):
    internet.routes.clear()
    assert status(stand.get(f"http://{HOST}/")) == 502
    internet.names.clear()
    assert status(stand.get(f"http://{HOST}/")) == 502
    first, second = stand.log()
    assert (first.outcome, first.address, second.outcome, second.address) == ("failed", PUBLIC, "failed", "")


def test_a_log_cannot_be_forged(stand):
    stand.ask(b"G\x1b[2J http://x/\r\nFORGED: allowed\r\n\r\n")
    stand.ask(b"CONNECT " + b"a." * 126 + b"b:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    stand.ask(b"X" * 500 + b" http://api.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n")
    for request in stand.log():
        line = " ".join(map(str, request.to_json().values()))
        assert line.isprintable() and len(line) < 1000 and len(request.method) <= 20


# -- the greeting of TLS -------------------------------------------------------------------------------------------


def greeting(name: str | None) -> bytes:
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def test_a_greeting_is_read_however_it_is_cut():
    whole = greeting("Api.Example.com")
    for size in (1, 7, 100, len(whole)):
        read = Greeting()
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert [read.feed(piece) for piece in pieces][:-1] == [False] * (len(pieces) - 1) and read.name == HOST
    assert Greeting().feed(greeting(None))
    for wrong in (b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n", b"\x16" + bytes(100)):
        with pytest.raises(ValueError, match="greeting"):
            Greeting().feed(wrong)


@pytest.mark.parametrize("name", ["other.example.com", None, f"x.{HOST}"])
def test_a_tunnel_leads_to_the_host_it_was_opened_to(stand, upstream, name):
    with stand.tunnel(f"{HOST}:443") as sock:
        sock.sendall(greeting(name))
        assert read_all(sock) == b""
    (request,) = stand.log()
    assert (request.outcome, request.bytes_up) == ("refused", 0) and "greeting" in request.reason
    assert upstream.heard == []
    with stand.tunnel(f"{HOST}:443") as sock:
        for byte in greeting(HOST):
            sock.sendall(bytes([byte]))
        assert b"hello" in read_all(sock)
    assert upstream.heard[0].startswith(b"\x16\x03\x01")


def test_a_greeting_without_end_is_not_waited_for(stand, upstream):
    with stand.tunnel(f"{HOST}:443") as sock:
        with suppress(OSError):
            sock.sendall(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(1 << 20))
        assert read_all(sock) == b""
    assert upstream.heard == [] and stand.log()[0].outcome == "refused"


def test_tls_is_between_the_program_and_its_host(internet):
    with Upstream(tls=True) as server, Stand(internet.proxy, [HOST + ":443"]) as stand:
        internet.add(HOST, 443, server)
        context = ssl.create_default_context(cafile=CERTIFICATE)
        with stand.tunnel(f"{HOST}:443") as sock, context.wrap_socket(sock, server_hostname=HOST) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
            assert tls.recv(100).endswith(b"hello")


# -- load and patience ---------------------------------------------------------------------------------------------


def test_a_head_has_a_size(stand, upstream):
    for head in (b"GET http://api.example.com/", b"GET http://api.example.com/ HTTP/1.1\r\nHost: x\r\nX: "):
        answer = stand.ask(head + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n")
        assert status(answer) in (0, 431)  # what the kernel takes back does not arrive
    assert {r.outcome for r in stand.log()} == {"refused"} and upstream.heard == []


def test_half_a_request_blocks_neither_others_nor_the_end(stand, upstream):
    with socket.create_connection(("127.0.0.1", stand.port)) as silent, stand.connected() as half:
        half.sendall(b"GET http://api.exam")
        assert status(stand.get(f"http://{HOST}/")) == 200
        began = time.monotonic()
        requests = stand.log()
        assert time.monotonic() - began < 4
        assert read_all(silent) == read_all(half) == b""
    assert [r.outcome for r in requests] == ["refused", "allowed"] and "ended" in requests[0].reason


def test_half_a_request_is_not_waited_for(stand, monkeypatch):
    monkeypatch.setattr(exchange, "_HEAD_SECONDS", 0.2)
    assert status(stand.ask(b"GET http://api.exam")) == 408


def test_a_host_that_does_not_answer_is_not_waited_for(internet, stand, monkeypatch):
    async def never(*_):
        await asyncio.sleep(3600)

    monkeypatch.setattr(exchange, "_DIAL_SECONDS", 0.2)
    internet.resolve = never
    with Stand(internet.proxy, [HOST + ":80"]) as slow:
        assert status(slow.get(f"http://{HOST}/")) == 504
        assert slow.log()[0].outcome == "failed"


def test_two_hundred_at_once(internet, stand):
    def slow(sock, data):
        time.sleep(0.02)
        hello(sock, data)

    with Upstream(slow) as server:
        internet.routes[PUBLIC, 80] = server.port
        with ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda _: status(stand.get(f"http://{HOST}/")), range(200)))
        assert answers == [200] * 200 and server.most_at_once <= 32
    assert len(stand.log()) == 200


def test_a_slow_reader_does_not_fill_the_host(internet, stand):
    def pour(sock, data):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(bytes(1 << 20))

    with Upstream(pour) as server:
        internet.routes[PUBLIC, 80] = server.port
        with stand.connected() as sock:
            sock.sendall(b"GET http://api.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(10)
            time.sleep(0.5)
            (request,) = stand.log()
        assert 0 < request.bytes_down < 32 << 20
        wait_until(lambda: server.at_once == 0)


def test_bytes_are_counted_and_have_an_end(internet):
    def pour(sock, data):
        while True:
            sock.sendall(bytes(10_000))

    with Upstream(pour) as server, Stand(internet.proxy, [HOST + ":443"], traffic=100_000) as stand:
        internet.add(HOST, 443, server)
        with stand.tunnel(f"{HOST}:443") as sock:
            sock.sendall(b"go")
            assert len(read_all(sock)) <= 100_000
        (request,) = stand.log()
        assert request.outcome == "allowed" and "used up" in request.reason and request.bytes_down <= 100_000
        with stand.tunnel(f"{HOST}:443") as sock:
            sock.sendall(b"go")
            assert sock.recv(1), "the next execution has an allowance of its own"


def test_requests_have_an_end(stand, monkeypatch):
    monkeypatch.setattr(exchange, "_MOST_REQUESTS", 3)
    assert [status(stand.get(f"http://{HOST}/")) for _ in range(5)] == [200, 200, 200, 429, 429]
    requests = stand.log()
    assert len(requests) == 4 and requests[-1].reason.startswith("2 more")


def test_what_waits_from_before_is_not_served(stand, upstream):
    stand.proxy.end()
    with stand.connected() as stale:
        stale.sendall(b"GET http://api.example.com/stale HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        assert upstream.heard == []
        stand.proxy.begin()
        assert read_all(stale) == b""
    assert status(stand.get(f"http://{HOST}/")) == 200
    assert len(upstream.heard) == 1 and len(stand.log()) == 1


def test_nothing_is_left_behind(internet, upstream):
    before = held()
    with Stand(internet.proxy, [f"{HOST}:80"]) as stand:
        for number in range(30):
            with stand.connected() as open_one:
                open_one.sendall(b"GET http://api.exam")
                assert status(stand.get(f"http://{HOST}/")) == 200
                assert len(stand.log()) == 2, number
    assert wait_until(lambda: holds_no_more_than(before))


@pytest.fixture(scope="module")
def fuzzed():
    internet = Internet()
    with Upstream() as server:
        internet.add(HOST, 80, server)
        with Stand(internet.proxy, [f"{HOST}:80"]) as stand:
            yield stand, internet, server


_WORDS = st.sampled_from(
    [
        *(b"GET ", b"CONNECT ", b"http://", HOST.encode(), b"other.example.com", b":80", b":443", b"/", b" HTTP/1.1"),
        *(b"\r\n", b"\n", b"\r", b"Host: x\r\n", b"Host: ", b"Transfer-Encoding: chunked\r\n", b"@", b"\0"),
        b"Content-Length: 3\r\n",
    ]
)


@settings(deadline=None, max_examples=200)
@given(data=st.lists(_WORDS | st.binary(max_size=8), max_size=16).map(b"".join))
def test_whatever_is_sent_only_the_list_is_reached(fuzzed, data):
    stand, internet, _ = fuzzed
    with stand.connected() as sock, suppress(OSError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)
    assert set(internet.asked) <= {HOST} and set(internet.dialled) <= {(PUBLIC, 80)}
    assert status(stand.get(f"http://{HOST}/")) == 200
    stand.log()
