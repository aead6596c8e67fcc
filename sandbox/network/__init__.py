"""The only way out of a jail, where a policy opens one: a proxy on the host that lets through what is on a list.

Covered: which hosts and ports are reached, which addresses they may stand for, how much goes through, a log of it all.
Not covered: what a host on the list does with what it is told; TLS is end to end, so the proxy sees names and bytes.
"""

from .addresses import why_refused
from .hosts import Host

__all__ = ["Host", "why_refused"]
