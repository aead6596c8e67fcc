"""A jail in a container: two walls, for those who want a second one, or whose host cannot build the first.

Each session has a container of its own, which no other session uses: without network, capabilities, or any folder of
the host, on a read-only root, with its own profile of system calls and limits. In it a server opens a jail, as it is
built on the host, and answers for its session. What comes out is hostile, and checked as what a program says.

Covered: what the jail covers, and a program that breaks the jail is in a container. Not covered: bugs of the kernel,
which both share, unless the daemon has another runtime; the image, which is the user's; the daemon, which is root.
"""

from .daemon import Daemon, connect
from .doctor import doctor
from .image import Image, build_image, find_image, list_images, remove_image
from .launch import Docker
from .session import DockerSession

__all__ = [
    "Daemon",
    "Docker",
    "DockerSession",
    "Image",
    "build_image",
    "connect",
    "doctor",
    "find_image",
    "list_images",
    "remove_image",
]
