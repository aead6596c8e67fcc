"""What there is of Docker on this host: every line comes from asking the daemon, the last one from a container."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import SandboxUnavailable
from ..jail import Probe
from .daemon import Daemon, connect
from .image import Image, find_image
from .launch import Docker

__all__ = ["doctor"]


def doctor() -> list[Probe]:
    """Ask the daemon, and have a program run in a container; takes a second or two."""
    return list(_probes())


def _probes() -> Iterator[Probe]:
    try:
        daemon = connect()
        yield Probe("daemon", True, f"Docker {daemon.version}", needed=False)
        try:
            yield _runtime(daemon)
            yield _image(find_image(daemon))
        finally:
            daemon.close()
        with Docker(ahead=False) as sandbox, sandbox.open() as session:
            run = session.execute("6 * 7")
            built = f"built: {', '.join(session.receipt.layers)}"
            yield Probe(
                "container", run.value == "42", built if run.ok else f"{run.status}: {run.stderr}", needed=False
            )
            yield from (Probe("weaker", False, note, needed=False) for note in session.receipt.notes)
    except SandboxUnavailable as error:
        yield Probe("container", False, f"none: {error}; {error.hint}", needed=False)


def _runtime(daemon: Daemon) -> Probe:
    if "runsc" in daemon.runtimes:
        return Probe("runsc", True, "offered: programs have a kernel of their own where a jail can be built in it")
    return Probe("runsc", False, "not offered: programs share this kernel", needed=False)


def _image(image: Image) -> Probe:
    name = image.tags[0] if image.tags else image.id[7:19]
    return Probe("image", True, f"{name} from {image.base}, {image.size / 1e6:.0f} MB, {len(image.packages)} packages")
