"""A jail that is served over stdin and stdout: what runs in a container, whose only way out these are.

Requests are frames (see `worker.wire`) with an `id`; `part`s of an answer, then `done` or `failed`, carry the same one.
Each request has a thread, so that branches run at the same time and `cancel` is heard while they do. When stdin ends,
the host is gone: this process exits, and with it every process of the container.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from ..changes import Changes
from ..changes.beneath import write_all
from ..errors import ConfigError, Fault, SandboxUnavailable
from ..execution import Execution
from ..policy import Policy
from ..session import Checkpoint
from ..worker import wire
from . import cgroups
from .launch import Jail
from .session import JailSession

__all__ = ["CHUNK", "boot", "main"]

CHUNK = 192 << 10
"""Bytes of contents in one frame; a multiple of three, so that base64 needs no padding."""
_READ = 1 << 18
_MOST_AT_ONCE = 64
_FOLDER = Path("/tmp/folder")  # noqa: S108
_TRUSTED_FRAME = 1 << 31
"""Bytes of the largest frame from the host."""
_Answer = dict[str, Any]


def boot(code: str, site: str) -> str:
    """Source for `python -I -c`: serve with the package `sandbox` in the folder `code` and packages in `site`."""
    return (
        f"import sys; sys.path.insert(0, {code!r}); sys.path.append({site!r})\n"
        "from sandbox.jail import server\nserver.main()"
    )


def main() -> NoReturn:
    """Serve until the host goes away. Never returns."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever is printed here is no frame
    try:
        _Server(out).serve()
    finally:
        os._exit(0)


class _Server:
    def __init__(self, out: int) -> None:
        self._out, self._writing = out, threading.Lock()
        self._jail: Jail | None = None
        self._sessions: dict[int, JailSession] = {}
        self._file: tuple[int, int] | None = None
        """Descriptor of the file that contents are for, and the time it is to have."""
        self._problem: OSError | None = None
        """What stood in the way of a file that the host sent."""

    def serve(self) -> None:
        """Read requests, and have each answered; those that come in a certain order are done here and now."""
        reader = wire.FrameReader(_TRUSTED_FRAME, _TRUSTED_FRAME)
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            while data := os.read(0, _READ):
                for request in reader.feed(data):
                    match request["op"]:
                        case "put" | "data":
                            self._receive(request)
                        case "cancel":
                            self._sessions[request["session"]].cancel()
                        case _:
                            pool.submit(self._handle, request)
            os._exit(0)

    def _handle(self, request: _Answer) -> None:
        act: Callable[[_Answer], _Answer] = getattr(self, f"_op_{request['op']}")
        try:
            self._send(request, op="done", **act(request))
        except Fault as fault:
            kind = "config" if isinstance(fault, ConfigError) else "unavailable"
            self._send(request, op="failed", fault=kind, message=str(fault), hint=fault.hint)
        except Exception as error:
            self._send(
                request, op="failed", fault="unavailable", message=f"the server failed: {error!r}"[:500], hint=""
            )

    def _send(self, request: _Answer, **message: Any) -> None:
        data = wire.encode({"id": request["id"], **message})
        with self._writing:
            while data:
                data = data[os.write(self._out, data) :]

    def _part(self, request: _Answer, name: str, data: bytes) -> None:
        for start in range(0, len(data), CHUNK):
            self._send(request, op="part", name=name, data=b64encode(data[start : start + CHUNK]).decode())

    # -- the folder ------------------------------------------------------------------------------------------------

    def _receive(self, message: _Answer) -> None:
        """Take in an entry of the folder, or contents of the file before it. What fails is told by `begin`."""
        try:
            if message["op"] == "put":
                self._put(message)
            elif self._file is not None:
                write_all(self._file[0], b64decode(message["data"]))
        except OSError as error:
            self._problem = self._problem or error

    def _put(self, entry: _Answer) -> None:
        path = _FOLDER / entry["path"]
        self._finish_file()
        match entry["kind"]:
            case "dir":
                path.mkdir(exist_ok=True)
                path.chmod(entry["mode"])
            case "link":
                path.symlink_to(entry["target"])
            case _:
                path.unlink(missing_ok=True)
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                self._file = fd, entry["mtime"]
                os.fchmod(fd, entry["mode"])

    def _finish_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.utime(file[0], ns=(file[1], file[1]))
            os.close(file[0])

    # -- requests --------------------------------------------------------------------------------------------------

    def _op_start(self, request: _Answer) -> _Answer:
        """Build the jail, before there is a folder to show in it."""
        given: dict[str, Any] = {**request["policy"], "preload": tuple(request["policy"]["preload"])}
        policy = Policy(**given)
        cgroups.count_surrounding()
        _FOLDER.mkdir()
        self._jail = Jail(workspace=_FOLDER, policy=policy, ahead=False)
        receipt = self._jail.receipt
        return {"tier": receipt.tier, "layers": receipt.layers, "notes": receipt.notes}

    def _op_begin(self, request: _Answer) -> _Answer:
        assert self._jail is not None
        self._finish_file()
        if self._problem is not None:
            raise SandboxUnavailable(
                f"the folder could not be shown in the container: {self._problem.strerror}",
                hint="name the files the task needs in a smaller folder, or raise the limit on disk",
            )
        cgroups.count_surrounding()
        self._sessions[0] = self._jail.open()
        return _state(self._sessions[0])

    def _op_execute(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        run = session.execute(request["code"], on_error=request["on_error"], wall_seconds=request["wall_seconds"])
        self._part(request, "stdout", run.stdout.encode("utf-8", "backslashreplace"))
        self._part(request, "stderr", run.stderr.encode("utf-8", "backslashreplace"))
        for display in run.displays:
            data = b64encode(display.data).decode()
            self._send(request, op="part", name="display", mime=display.mime, data=data)
        return {**_outcome(run), **_state(session)}

    def _op_names(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        names = session.names()
        return {"names": [[one.name, one.type, one.preview] for one in names], **_state(session)}

    def _op_checkpoint(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        return {"mark": session.checkpoint().id, **_state(session)}

    def _op_rollback(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        session.rollback(Checkpoint(request["mark"]))
        return _state(session)

    def _op_undo(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        session.undo(request["n"])
        return _state(session)

    def _op_redo(self, request: _Answer) -> _Answer:
        session = self._sessions[request["session"]]
        session.redo(request["n"])
        return _state(session)

    def _op_branch(self, request: _Answer) -> _Answer:
        """Branches get the numbers that the host has chosen."""
        numbers: list[int] = request["numbers"]
        for number, branch in zip(numbers, self._sessions[request["session"]].branch(len(numbers)), strict=True):
            self._sessions[number] = branch  # type: ignore[assignment]
        return {}

    def _op_adopt(self, request: _Answer) -> _Answer:
        branch: Any = self._sessions[request["session"]]
        branch.adopt()
        return _state(self._sessions[request["parent"]])

    def _op_close(self, request: _Answer) -> _Answer:
        self._sessions.pop(request["session"]).close()
        return {}

    def _op_changes(self, request: _Answer) -> _Answer:
        changes = self._sessions[request["session"]].changes()
        for item in changes.items:
            entry = {"path": item.path, "kind": item.kind, "is_dir": item.is_dir, "mode": item.mode}
            self._send(request, op="part", name="change", **entry)
            if item.content is not None:
                for data in _contents(changes, item.content):
                    self._part(request, "data", data)
        for one in changes.skipped:
            self._send(request, op="part", name="skipped", path=one.path, reason=one.reason)
        return {}


def _contents(changes: Changes, number: int) -> Iterator[bytes]:
    with (changes.store / "files" / str(number)).open("rb") as file:
        while data := file.read(CHUNK):
            yield data


def _state(session: JailSession) -> _Answer:
    return {"steps": session.steps, "undone": session.undone}


def _outcome(run: Execution) -> _Answer:
    problem = run.error
    return {
        **{name: getattr(run, name) for name in ("status", "exit_code", "signal", "limit", "truncated", "value")},
        **{name: getattr(run, name) for name in ("seconds", "cpu_seconds", "peak_memory", "notes")},
        "further": list(run.receipt.notes),
        "error": problem
        and {name: getattr(problem, name) for name in ("type", "message", "line", "source", "traceback", "notes")},
    }
