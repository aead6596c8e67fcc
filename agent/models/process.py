"""llama.cpp in a process of its own, so that it can neither freeze nor bring down this one.

Loading holds the interpreter for seconds and native code may abort. Here both happen elsewhere: this process can be
interrupted at any time, cancels at once, and takes the model's process with it however it ends, `kill -9` included.

Covered: all of `Model`, several calls at once; a process that died is replaced at the next call; what `kill -9` leaves
among the temporary files goes with the next start.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

from agent.errors import ConfigError, ModelRejected, ModelUnavailable
from agent.settings import load_settings
from sandbox.scratch import Scratch

from .base import Completion, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, InTurn
from .llama import check_gguf
from .serve import Link
from .turns import Turns

__all__ = ["ModelProcess"]

_GLANCE = 0.05
"""Seconds between two looks at the cancel flag."""
_TICK = 0.25
"""Seconds between two reports on loading."""
_LOADING = 250e6
"""Bytes of weights that a second loads, as a guess: from a warm disk cache, on two cores."""
_GONE = 2.0
"""Seconds that a killed process gets to be gone; it may sit in a read of the disk."""
_ENVIRONMENT = {"PATH", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "TZ"}
_ENVIRONMENT_GROUPS = ("LC_", "OMP_", "GOMP_", "GGML_", "CUDA_", "HIP_")
_ERRORS = {kind.__name__: kind for kind in (ConfigError, ModelRejected, ModelUnavailable)}


class ModelProcess:
    """A GGUF file run by llama.cpp in a child process.

    `context_tokens` bounds prompt and reply together; `threads` defaults to the physical cores this process may use.
    `parallel` calls are answered at once, each with a context of its own, and others wait for their turn. With
    `sha256`, the file's sum, the state after a system message is kept in the cache folder for later runs. Raises
    `ConfigError` for a file that is not there and `ModelUnavailable` for one that cannot be loaded or when xllamacpp is
    not installed. Loading takes seconds; it can be interrupted, also by an error of `on_progress`, which hears an
    estimated share four times a second.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str | None = None,
        parameters: float | None = None,
        context_tokens: int = 8192,
        threads: int | None = None,
        parallel: int = 1,
        sha256: str = "",
        on_progress: OnProgress | None = None,
    ) -> None:
        path = Path(path).absolute()
        check_gguf(path)
        self._size = path.stat().st_size
        self._opening: dict[str, Any] = {
            "path": str(path),
            "name": name,
            "parameters": parameters,
            "context_tokens": context_tokens,
            "threads": threads,
            "parallel": parallel,
            "states": str(load_settings().cache_dir / "states") if sha256 else None,
            "sha256": sha256,
        }
        self._calls = Calls()
        self._turns = Turns(parallel)
        self._opener = Turns(1)
        """Who has its turn replaces a child that died, so that only one of those who miss it does."""
        self._closed = False
        self._profile = ModelProfile(name or path.stem)
        with self._calls.begin() as cancelled:
            self._open(cancelled, on_progress)

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    def complete(
        self,
        messages: Sequence[Message],
        *,
        n: int = 1,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int = 1024,
        stop: Sequence[str] = (),
        seed: int | None = None,
        prefill: str = "",
        on_token: OnToken | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Completion]:
        """See `Model.complete` and `LlamaModel.complete`."""
        request = {
            "messages": _rows(messages),
            "n": n,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "max_tokens": max_tokens,
            "stop": list(stop),
            "seed": seed,
            "prefill": prefill,
        }
        replies = _Replies(prefill, on_token, on_progress)
        with self._calls.begin() as cancelled, self._turns.one() as turn:
            return self._draw(request, cancelled, replies) if turn.wait(cancelled) else replies.cut()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The exact number of prompt tokens, the chat template's own included, also while replies are written."""
        never = Event()
        child = self._living(never, None)
        with contextlib.closing(child.ask("count", never, messages=_rows(messages))) as answer:
            return next(message["done"] for message in answer if "done" in message)

    def cancel(self) -> None:
        """Stop the calls in progress: they return at once, and the next ones wait until the child has stopped too."""
        self._calls.cancel()

    def close(self) -> None:
        """End the child at once. Safe to call again, from any thread."""
        self._closed = True
        self._end()

    def _draw(self, request: dict[str, Any], cancelled: Event, replies: _Replies) -> list[Completion]:
        child = self._living(cancelled, replies.on_progress)
        try:
            return self._drawn_by(child, request, cancelled, replies)
        except ModelUnavailable:  # it may have died before it was asked, and nobody had seen it yet
            if replies.begun or self._closed or not child.is_gone:
                raise
        return self._drawn_by(self._living(cancelled, replies.on_progress), request, cancelled, replies)

    def _drawn_by(
        self, child: _Child, request: dict[str, Any], cancelled: Event, replies: _Replies
    ) -> list[Completion]:
        with contextlib.closing(child.ask("complete", cancelled, **request)) as messages:
            for message in messages:
                if "done" in message:
                    return [_completion(done) for done in message["done"]]
                replies.take(message)
        return replies.cut()

    def _living(self, cancelled: Event, on_progress: OnProgress | None) -> _Child:
        """The child, or a fresh one in the place of one that died."""
        if self._closed:
            raise _closed()
        with self._opener.one() as turn:
            if turn.wait(cancelled) and self._child.is_gone and not self._closed:
                self._open(cancelled, on_progress)
            return self._child

    def _open(self, cancelled: Event, on_progress: OnProgress | None) -> None:
        """Start a child and have it load the weights. One that does not get there is ended."""
        self._child = child = _Child()
        self._end = weakref.finalize(self, _end, child, self._calls)
        loaded = False
        try:
            with contextlib.closing(child.ask("open", cancelled, **self._opening)) as messages:
                loaded = self._wait_for(messages, on_progress or _ignore)
        finally:
            if loaded:
                child.tidy()
            else:
                child.end()

    def _wait_for(self, messages: Iterator[Mapping[str, Any]], on_progress: OnProgress) -> bool:
        """Whether the model was loaded, and not cancelled before."""
        started = told = time.monotonic()
        on_progress("loading the model", 0.0)
        for message in messages:
            now = time.monotonic()
            if "done" in message:
                self._profile = ModelProfile(**message["done"])
                on_progress("loading the model", 1.0)
                return True
            if now - told >= _TICK:
                told = now
                on_progress("loading the model", min(0.95, (now - started) * _LOADING / self._size))
        return False


class _Replies:
    """What came of the replies to a request so far."""

    def __init__(self, prefill: str, on_token: OnToken | None, on_progress: OnProgress | None) -> None:
        self._prefill = prefill
        self._pieces: dict[int, list[str]] = {0: []}
        self._listener = InTurn(on_token) if on_token is not None else None
        self._started = time.monotonic()
        self.on_progress = on_progress
        self.begun = False
        """Whether the child has said anything of them."""

    def take(self, message: Mapping[str, Any]) -> None:
        self.begun = self.begun or bool(message)
        match message:
            case {"piece": [int(reply), str(text)]}:
                self._pieces.setdefault(reply, []).extend([text] if text else [])
                if self._listener is not None:
                    self._listener.take(reply, text)
            case {"progress": [str(what), share]} if self.on_progress is not None:
                self.on_progress(what, float(share))
            case _:
                pass

    def cut(self) -> list[Completion]:
        """The replies that were begun as they are, cancelled. What was read of the prompt is not known."""
        seconds = time.monotonic() - self._started
        return [
            Completion(self._prefill + "".join(pieces), "cancelled", Usage(0, len(pieces), 0, seconds))
            for _, pieces in sorted(self._pieces.items())
        ]


class _Child:
    """The process with the model, and the thread that keeps it.

    The kernel ends the child with the *thread* that started it (PR_SET_PDEATHSIG in prctl(2)), and a model may be
    opened by a thread that is soon over. So a thread of its own starts the child, and stays as long as it lives.
    """

    def __init__(self) -> None:
        self._died = self._ended = False
        self._last_words = ""
        self._inboxes: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        """By number the answers to the calls in progress."""
        self._numbers = itertools.count(1)
        # What native code leaves when it is killed goes with this folder. A unix socket in it has a short name.
        self._scratch = Scratch(None if len(tempfile.gettempdir()) < 50 else "/tmp")  # noqa: S108
        ours, theirs = socket.socketpair()
        self._link = Link(ours)
        self._process: Future[subprocess.Popen[bytes]] = Future()
        Thread(target=self._keep, args=(theirs,), name="sandsmith-model", daemon=True).start()
        try:
            self._process.result()
        except BaseException:
            self._link.hang_up()
            self.tidy()
            raise

    def ask(self, do: str, cancelled: Event, **given: Any) -> Generator[dict[str, Any]]:
        """The messages of the answer as they come, empty ones in between, until it is done or `cancelled` is set.

        When the caller leaves early, by an exception too, the child stops as well. Raises what was raised there, and
        `ModelUnavailable` when it died.
        """
        call = next(self._numbers)
        inbox = self._inboxes[call] = queue.SimpleQueue()
        try:
            if self._died:  # before there was an inbox to say so
                inbox.put({"died": True})
            elif not cancelled.is_set():
                self._link.send(call=call, do=do, **given)
            while not cancelled.is_set():
                message = _next(inbox)
                if cancelled.is_set():
                    break
                self._raise_for(message)
                yield message
                if "done" in message:
                    return
        finally:
            self._inboxes.pop(call, None)
            self._link.send(cancel=call)

    @property
    def is_gone(self) -> bool:
        """Whether it died or was ended."""
        return self._died or self._ended

    def tidy(self) -> None:
        """Remove the folder that was needed to load."""
        self._scratch.close()

    def end(self) -> None:
        """Kill the process. Safe to call again, and at the exit of the interpreter."""
        self._ended = True
        process = self._process.result()
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GONE)
        self.tidy()

    def _keep(self, theirs: socket.socket) -> None:
        with tempfile.TemporaryFile() as errors:
            try:
                with theirs:
                    process = _spawn(theirs, str(self._scratch.path), errors)
            except BaseException as error:
                self._process.set_exception(error)
                return
            self._process.set_result(process)
            try:
                for message in self._link:
                    if inbox := self._inboxes.get(message["call"]):  # none where the call was left
                        inbox.put(message)
            finally:
                process.kill()
                process.wait()
                self._last_words = _tail(errors)
                self._link.close()
                self._died = True
                for inbox in self._inboxes.copy().values():
                    inbox.put({"died": True})

    def _raise_for(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"error": [str(kind), str(text), str(hint)]}:
                raise _ERRORS.get(kind, ModelUnavailable)(text, hint=hint)
            case {"died": _}:
                raise _closed() if self._ended else self._death()
            case _:
                pass

    def _death(self) -> ModelUnavailable:
        code = self._process.result().returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        memory = "it may have run out of memory: choose a smaller model" if code == -signal.SIGKILL else ""
        said = f": {self._last_words}" if self._last_words else ""
        return ModelUnavailable(
            f"the model process died ({how}){said}", hint=memory or "try again: a new one is started"
        )


def _next(inbox: queue.SimpleQueue[dict[str, Any]]) -> dict[str, Any]:
    """The next message; an empty one when none has come for a moment."""
    try:
        return inbox.get(timeout=_GLANCE)
    except queue.Empty:
        return {}


def _end(child: _Child, calls: Calls) -> None:
    calls.cancel_all()  # so that they return what they have, rather than fail
    child.end()


def _spawn(theirs: socket.socket, folder: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    boot = f"from agent.models.serve import main; main({theirs.fileno()}, {os.getpid()})"
    # Isolated and with our search path, so that nothing in the working folder can stand in for a module.
    options = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]
    return subprocess.Popen(
        [sys.executable, *options, "-c", f"import sys; sys.path[:] = {_search_path()!r}; {boot}"],
        env={**_environment(), "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=[theirs.fileno()],
        cwd="/",
        start_new_session=True,  # a terminal's Ctrl-C is for us to act on
    )


def _search_path() -> list[str]:
    """Where this process finds modules, without the working folder unless we live there."""
    home = str(Path(__file__).resolve().parents[2])
    places = [str(Path(place).absolute()) for place in sys.path if place]
    return [*(place for place in places if place == home or place != str(Path.cwd())), home]


def _environment() -> dict[str, str]:
    """What the child gets to know of the environment: no keys, no settings of ours.

    Its threads wait for each other at every step. Where they spin, as they do by default, and share the processor with
    anything else, a reply takes 5 to 10 times as long (measured on two busy cores).
    """
    kept = {k: v for k, v in os.environ.items() if k in _ENVIRONMENT or k.startswith(_ENVIRONMENT_GROUPS)}
    return {"OMP_WAIT_POLICY": "passive", **kept}


def _tail(file: IO[bytes], most: int = 500) -> str:
    """The end of what was written to `file`, on one line."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - most))
    return " ".join(file.read().decode("utf-8", "replace").split())


def _closed() -> ModelUnavailable:
    return ModelUnavailable("the model is closed", hint="open it again")


def _rows(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in messages]


def _completion(done: Mapping[str, Any]) -> Completion:
    return Completion(done["text"], done["finish_reason"], Usage(**done["usage"]))


def _ignore(what: str, share: float) -> None:
    """Nobody asked."""
