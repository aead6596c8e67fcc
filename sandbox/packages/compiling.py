"""Byte code for the modules of a set, made behind the wall: without it every session would compile what it imports.

Nothing of what comes back is trusted: it is only ever loaded behind the wall again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from ..policy import Policy

__all__ = ["compile_modules"]

_SECONDS = 900.0
_PROGRAM = """
import importlib.util, marshal, multiprocessing, os, sys, warnings

def compiled(name):
    try:
        with open(os.path.join(SITE, name), "rb") as file:
            source = file.read()
        code = compile(source, os.path.join(FINAL, name), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return b""
    unchecked = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")  # PEP 552: whatever the source's hash
    return unchecked + importlib.util.source_hash(source) + marshal.dumps(code)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    names = (os.path.relpath(os.path.join(top, f), SITE) for top, _, files in os.walk(SITE) for f in files)
    with multiprocessing.Pool() as pool, open("compiled", "wb") as out:
        for data in pool.imap(compiled, sorted(n for n in names if n.endswith(".py")), 8):
            out.write(len(data).to_bytes(4, "little") + data)
"""


def compile_modules(site: Path, final: Path, names: Iterable[str]) -> None:
    """Write byte code for the files `names` of the folder `site` (all of its `.py` ones), which will be at `final`.

    Files that do not compile, and a set that takes too much to compile, do without. Raises `SandboxUnavailable`.
    """
    from ..opening import open_session

    policy = Policy(
        wall_seconds=_SECONDS,
        cpu_seconds=_SECONDS,
        memory_bytes=4 << 30,
        disk_bytes=1 << 30,
        site_packages=False,
        read_only=(site,),
    )
    code = f"SITE, FINAL = {str(site)!r}, {str(final)!r}\n{_PROGRAM}"
    with open_session("jail", policy=policy) as session:
        if not session.execute(code).ok:
            return
        data = memoryview(session.changes().read("compiled"))
    for name in sorted(names):
        size = int.from_bytes(data[:4], "little")
        _save(site / name, data[4 : 4 + size])
        data = data[4 + size :]


def _save(source: Path, data: memoryview) -> None:
    if data:
        target = Path(importlib.util.cache_from_source(str(source)))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
