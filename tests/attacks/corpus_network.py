"""C: ways out through sockets and other means of communication."""

from __future__ import annotations

from dataclasses import replace

from cases import Case

_FAMILIES = {
    **{"inet": (2, 1), "inet6": (10, 1), "netlink": (16, 3), "packet": (17, 3)},
    **{"alg": (38, 5), "vsock": (40, 1), "bluetooth": (31, 3), "xdp": (44, 3)},
}
"""Address family and socket type of each; those that the kernel here lacks have no control."""

NETWORK = [
    Case("C01-internet", "attempt(socket.create_connection, ('1.1.1.1', 443), 0.5)", control=""),
    Case("C02-localhost", "attempt(socket.create_connection, ('127.0.0.1', TCP), 1)"),
    Case("C03-udp", "attempt(lambda: socket.socket(2, 2).sendto(b'LEAK', ('127.0.0.1', UDP)))"),
    Case("C03-names", "attempt(socket.getaddrinfo, HOSTNAME, 80)", refusals=("gaierror", "-2")),
    Case(
        "C03-names-fail-fast",
        "began = time.monotonic()\n"
        "try: socket.getaddrinfo('example.com', 443)\n"
        "except OSError: pass\n"
        "print('fast' if time.monotonic() - began < 0.1 else 'slow')",
        says="fast",
        control="",
    ),
    Case("C04-ipv6", "attempt(socket.create_connection, ('::1', TCP6), 1)"),
    Case("C05-raw-icmp", "attempt(socket.socket, 2, 3, 1)"),
    Case("C05-ping", "attempt(socket.socket, 2, 2, 1)"),
    *(
        Case(f"C08-{name}", f'attempt(call, "socket", {family}, {kind}, 0)')
        for name, (family, kind) in _FAMILIES.items()
    ),
    Case("C06-unix-socket", "attempt(socket.socket, socket.AF_UNIX)"),
    Case("C06-path", "attempt(lambda: socket.socket(socket.AF_UNIX).connect(OUTSIDE + '/stream'))"),
    Case("C06-granted-path", "attempt(lambda: socket.socket(socket.AF_UNIX).connect(GRANTED + '/stream'))"),
    Case(
        "C06-path-by-pair",
        "for path in (GRANTED + '/datagram', OUTSIDE + '/datagram', WORK + '/datagram'):\n"
        "    attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'LEAK', path))",
    ),
    Case(
        "C06-path-by-stream-pair",
        "for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):\n"
        "    one, two = socket.socketpair(socket.AF_UNIX, kind)\n"
        "    try: one.sendto(b'LEAK', GRANTED + '/datagram')\n"
        "    except OSError: pass\n"
        "print('done')",
        says="done",
        control="",
    ),
    Case("C07-abstract", "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT))"),
    Case(
        "C07-abstract-by-pair",
        "attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '\\0d' + ABSTRACT))",
    ),
    Case("C08-tipc-pair", "attempt(socket.socketpair, 30, socket.SOCK_SEQPACKET)", control=""),
    Case("C09-io-uring", 'attempt(call, "io_uring_setup", 4, ctypes.create_string_buffer(120))'),
    Case("C09-io-uring-enter", 'reach("io_uring_enter", -1, 0, 0, 0, None, 0)'),
    Case("C11-listen", "attempt(socket.create_server, ('127.0.0.1', 0))"),
    Case(
        "C11-bind-pair",
        "one, two = socket.socketpair()\nattempt(one.bind, '\\0' + MARK)",
    ),
    Case("C12-lease", "import fcntl\nfd = os.open(GRANTED + '/file.txt', 0)\nattempt(fcntl.fcntl, fd, 1024, 0)"),
    Case("C12-notify", "import fcntl\nattempt(fcntl.fcntl, os.open(GRANTED, 0), 1026, 2)"),
    Case(
        "C12-high-bits",
        'fd = os.open(GRANTED + "/file.txt", 0)\nattempt(call, "fcntl", fd, 1024 | 1 << 40, 0)',
    ),
    Case("C13-shared-memory", 'attempt(lambda: call("shmctl", call("shmget", 0, 4096, 0o1600), 0, None))'),
    Case("C13-segment-of-the-host", 'attempt(call, "shmget", SEGMENT, 4096, 0)'),
    Case("C13-queue", 'attempt(call, "mq_open", MARK.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)'),
    Case("C15-splice", 'r, w = os.pipe()\nattempt(call, "tee", r, w, 0, 0)'),
    Case(
        "C14-work",
        "import asyncio, multiprocessing\n"
        "print(asyncio.run(asyncio.sleep(0, 'async')))\n"
        "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        "print(subprocess.run(['true']).returncode)",
        says="async\n[1, 2]\n0",
        control="",
    ),
]
_PROXY = "('127.0.0.1', 3128)"
_ASK = f"s = socket.create_connection({_PROXY}, 5)\ns.sendall(b'REQUEST HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\nprint(s.recv(12))"
HOSTS = {"allow_hosts": ("api.example.com:443", "localhost:443")}
"""A policy with a way out, which leads to nothing that is there: the same must be denied, with more sockets at hand."""
NETWORK += [
    *(replace(case, id=f"{case.id}-by-hosts", policy=HOSTS) for case in NETWORK if case.id != "C08-inet"),
    Case(
        "C17-other-ports",
        "for port in (1, 22, 80, 3127, 3129, 65535, TCP):\n    attempt(socket.create_connection, ('127.0.0.1', port), 1)",
        policy=HOSTS,
    ),
    Case("C17-not-allowed", _ASK.replace("REQUEST", "CONNECT 127.0.0.1:443"), says="403", control="", policy=HOSTS),
    Case("C17-this-machine", _ASK.replace("REQUEST", "CONNECT localhost:443"), says="403", control="", policy=HOSTS),
    Case("C17-metadata", _ASK.replace("REQUEST", "GET http://169.254.169.254/"), says="403", control="", policy=HOSTS),
    Case(
        "C17-flood",
        f"s = [socket.create_connection({_PROXY}, 5) for _ in range(150)]\n"
        "for one in s: one.sendall(b'GET http://' + b'x' * 20000)\nprint('flooded')",
        says="flooded",
        control="",
        policy=HOSTS,
    ),
    Case(
        "C17-hang",
        f"s = socket.create_connection({_PROXY}, 5)\ns.sendall(b'GET')\ns.recv(1)",
        "timeout",
        "wall",
        9,
        control="",
        policy=HOSTS,
    ),
]
