"""Socket pairs and pipes watched by a selector."""

import os
import select
import selectors
import socket

one, two = socket.socketpair()
r, w = os.pipe()
with selectors.DefaultSelector() as selector:
    selector.register(two, selectors.EVENT_READ, "socket")
    selector.register(r, selectors.EVENT_READ, "pipe")
    one.sendall(b"ping")
    os.write(w, b"x")
    print(sorted(key.data for key, _ in selector.select(1)))
two.settimeout(1)
print(two.recv(10), select.select([r], [], [], 0)[0] == [r])
one.shutdown(socket.SHUT_WR)
print(two.recv(10), two.getsockname(), one.family.name)
socket.send_fds(two, [b"take"], [r])
message, fds, _, _ = socket.recv_fds(one, 10, 1)
print(message, os.read(fds[0], 1))
poll = select.poll()
poll.register(r, select.POLLIN)
print(poll.poll(10))

# Prints:
# ['pipe', 'socket']
# b'ping' True
# b''  AF_UNIX
# b'take' b'x'
# []
