"""Running a program as another, unprivileged user, who may not enter the folders that hold this interpreter."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import masks

USER = 1234
REPOSITORY = Path(__file__).resolve().parents[1]

_BECOME = """
import os, sys
from ctypes import CDLL
uid, worker, plan, argv = int(sys.argv[1]), sys.argv[2], eval(sys.argv[3]), sys.argv[4:]
sys.path.insert(0, worker)
from worker import kernel, root
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
trees = {path: kernel.clone_tree(path) for path in plan["needed"]}
for folder in plan["closed"]:
    kernel.mount("closed", folder, "tmpfs", 0, "mode=755")
for path, tree in trees.items():
    root.attach(tree, path)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
os.execv(argv[0], argv)
"""
"""As root: show what is needed of the closed folders in a mount namespace of our own, then become the user."""


def _needed() -> list[Path]:
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parent), str(REPOSITORY)}
    return [path for path in map(Path, sorted(places)) if path.exists()]


def _closed(path: Path) -> Path | None:
    """The outermost folder on the way to `path` that others cannot enter."""
    for folder in (*reversed(path.parents), path):
        if folder != Path("/") and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def missing() -> str:
    """Why nothing can be run as another user, or an empty string."""
    if os.geteuid() != 0:
        return "needs root to become another user"
    if any(_closed(path) == path for path in _needed()):
        return "the interpreter's own folder is closed to others"
    return ""


def command(argv: Sequence[str], uid: int = USER) -> list[str]:
    """The command that runs `argv` as the user, or as `uid` with what the user sees. Needs root."""
    needed = {path: closed for path in _needed() if (closed := _closed(path))}
    plan = {"needed": sorted(map(str, needed)), "closed": sorted({str(c) for c in needed.values()})}
    become = [sys.executable, "-I", "-c", _BECOME, str(uid), str(REPOSITORY / "sandbox"), repr(plan)]
    return [*become, shutil.which(argv[0]) or argv[0], *argv[1:]]


def environment(home: Path) -> dict[str, str]:
    """An environment for the user, whose home is `home`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": "/tmp", "PYTHONPATH": str(REPOSITORY)}


class Remote:
    """A driver (one JSON object per line in, one out) in a process that has become the user, or `uid`; behind `masked`
    features. Needs root."""

    def __init__(self, driver: Path, uid: int = USER, masked: str = "") -> None:
        self._home = Path(tempfile.mkdtemp(prefix="user-home-"))
        os.chown(self._home, uid, uid)
        self._process = subprocess.Popen(
            command(masks.command(masked, [sys.executable, str(driver)]), uid),
            env=environment(self._home),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        reply = self._process.stdout.readline()
        assert reply, "the user's process has ended"
        return json.loads(reply)

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)


def skip_reason(user: str) -> str:
    """Why nothing can be played as `user` (`root` or `user`) here, or an empty string."""
    if os.geteuid() != 0:
        return "needs root" if user == "root" else ""
    return missing() if user == "user" else ""
