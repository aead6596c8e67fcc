"""llama.cpp in this process, through xllamacpp: the engine at the far end of a `ModelProcess`.

The native code runs in a thread of its own and reports through a queue, so that the caller can be interrupted at any
time. It insists on an HTTP door; that is put on a unix socket in a private folder whose name is removed at once, so
that only this process can still find it (it serves to count tokens).

Covered: streaming, prefill, stop strings, cancelling within one batch of the prompt or one step of the replies, exact
token counts, several replies at once to a prompt that is read once, several calls at once, what was read kept in memory
and on the disk, guesses where a reply repeats its prompt. How many tokens are computed together decides how sums are
rounded: where the model is in doubt, a seed may lead elsewhere in other company, or after another cache. Not covered:
files made to attack the native parser: load only weights whose origin you trust.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import shutil
import socket
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

from agent.errors import ConfigError, Fault, ModelRejected, ModelUnavailable

from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, InTurn
from .states import States
from .turns import Turn, Turns

__all__ = ["LlamaModel", "check_gguf", "is_gguf", "require_xllamacpp"]

Chunk = Mapping[str, Any]
OnPiece = Callable[[int, str], None]
"""Called with the number of a reply and its next piece, which is empty when the reply is complete."""

_LANES = 4
"""Replies that a call has written at once. They share its context, so no memory is set aside for the others."""
_GUESS = 15
"""Tokens guessed at once, from where the last `_ALIKE` ones stood before: a repair copies most of the program, and is
written twice as fast. Reading 16 tokens takes as long as writing 8 (1.5B, two cores). Drafts repeat too little for a
guess, so it costs them nothing; the runtime has no switch for a single request."""
_ALIKE = 12
_BATCH = _LANES * (1 + _GUESS)
"""Prompt tokens read between two looks at the cancel flag: about a second for 1.5B on two cores, and no slower
there than the 512 that llama.cpp would take (measured: 56 against 53 tokens a second). The runtime aborts where a
batch cannot hold the guesses of all lanes, so it grows with the calls that are answered at once."""
_LEAST_REPLY = 64
"""A prompt that leaves less room than this many tokens is refused."""
_PROMPT_CACHE_MIB = 512
"""Memory for the states of earlier prompts, so that going back to one does not mean reading it again."""
_FIRST = 0
"""The lane that the rules are read in."""
_STREAMED: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
_INSTALL = "pip install 'sandsmith[local]'"


class LlamaModel:
    """A GGUF file run by llama.cpp on the CPU.

    `context_tokens` bounds prompt and reply together; `threads` defaults to the physical cores this process may use.
    `parallel` calls are answered at once, each with a context of its own, and others wait for their turn. The state
    after a system message is kept in the folder `states` for later runs; `sha256`, the sum of the file, tells it from
    those of other models. Raises `ConfigError` for a file that is not there and `ModelUnavailable` for one that cannot
    be loaded or when xllamacpp is not installed. Loading takes seconds, in which no thread of this process can do
    anything.
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
        states: Path | str | None = None,
        sha256: str = "",
        on_progress: OnProgress | None = None,
    ) -> None:
        path = Path(path)
        if on_progress is not None:
            on_progress("loading the model", 0.0)
        self._states = _open_states(Path(states), sha256) if states else None
        self._begun: set[str] = set()
        """System messages whose state is at hand, or was tried to be had."""
        self._engine = _Engine(path, context_tokens, parallel, threads or physical_cores(), self._states)
        about = self._engine.about()
        self._profile = ModelProfile(
            name=name or path.stem,
            parameters=parameters or about.get("n_params", 0) / 1e9 or None,
            context_tokens=min(context_tokens, about.get("n_ctx_train") or context_tokens),
            prefill=True,
            lanes=_LANES,
        )
        # Also runs at exit: an interpreter that ends under a thread in native code would abort.
        self._finalizer = weakref.finalize(self, _Engine.close, self._engine)
        if on_progress is not None:
            on_progress("loading the model", 1.0)

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
        """See `Model.complete`. Replies are written four at once where their length leaves room for that, with the
        seeds `seed`, `seed + 1`, ...; `on_token` hears them one after another."""
        return self.draw(
            messages,
            n=n,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            prefill=prefill,
            on_piece=InTurn(on_token).take if on_token is not None else _ignore,
            on_progress=on_progress,
        )

    def draw(
        self,
        messages: Sequence[Message],
        *,
        n: int,
        temperature: float,
        top_p: float,
        top_k: int,
        max_tokens: int,
        stop: Sequence[str],
        seed: int | None,
        prefill: str,
        on_piece: OnPiece,
        on_progress: OnProgress | None,
        cancelled: Event | None = None,
    ) -> list[Completion]:
        """What `complete` does, but `on_piece` hears the replies as they are written, and `cancelled` stops it, too."""
        chat = _chat(messages, prefill)
        room = self._room(chat)
        length = min(max_tokens, room)
        request: dict[str, Any] = {
            "messages": chat,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": 0.0,
            "max_tokens": length,
            "stop": list(stop),
            "return_progress": True,
        }
        drawn: list[Completion] = []
        with self._engine.calls.begin(cancelled) as cancelled:
            self._begin(messages, cancelled)
            while len(drawn) < n and not (drawn and cancelled.is_set()):
                lanes = min(n - len(drawn), _LANES, room // length)
                seeded = {} if seed is None else {"seed": seed + len(drawn)}
                batch = _Batch(prefill, lanes, len(drawn), on_piece, on_progress)
                with contextlib.closing(self._engine.stream({**request, **seeded, "n": lanes}, cancelled)) as chunks:
                    for chunk in chunks:
                        batch.take(chunk)
                drawn += batch.completions()
        return drawn

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The exact number of prompt tokens, the chat template's own included."""
        return self._engine.count(_chat(messages))

    def cancel(self) -> None:
        self._engine.calls.cancel()

    def close(self) -> None:
        """Stop what runs and free the memory. Safe to call again."""
        self._finalizer()

    def _begin(self, messages: Sequence[Message], cancelled: Event) -> None:
        """Have the state after the system message at hand: from an earlier run, else read, and kept for later ones."""
        first = messages[0] if messages else None
        if self._states is None or first is None or first.role != "system" or first.content in self._begun:
            return
        self._begun.add(first.content)
        with self._engine.turns.all() as turn:  # a lane that is in use cannot be saved or restored
            if turn.wait(cancelled):
                self._begin_alone(first, turn, cancelled)
            else:
                self._begun.discard(first.content)

    def _begin_alone(self, first: Message, turn: Turn, cancelled: Event) -> None:
        assert self._states is not None
        with contextlib.suppress(Fault):  # a template may demand more than that; then the prompt is read as a whole
            if name := self._states.find(first.content):
                self._engine.restore(name)
                return
            with contextlib.closing(self._engine.stream(_reading(first), cancelled, turn)) as chunks:
                for chunk in chunks:
                    _raise_for(chunk)
            if not cancelled.is_set():
                self._engine.save(name := self._states.begin())
                self._states.keep(name, first.content)

    def _room(self, chat: list[dict[str, str]]) -> int:
        """Tokens left for the reply."""
        limit = self._profile.context_tokens
        prompt = self._engine.count(chat)
        if prompt + _LEAST_REPLY > limit:
            raise ModelRejected(
                f"the prompt has {prompt} tokens; with a reply of at least {_LEAST_REPLY} it does not fit into "
                f"{limit} tokens",
                hint="shorten the task or name fewer files",
            )
        return limit - prompt


class _Engine:
    """The native server: `parallel` calls at once, each in a thread of its own."""

    def __init__(self, path: Path, context_tokens: int, parallel: int, threads: int, states: States | None) -> None:
        self.calls = Calls()
        self.turns = Turns(parallel)
        self._closed = Event()
        self._server, self._door = _start_server(path, context_tokens, parallel, threads, states)

    def stream(self, request: Mapping[str, Any], cancelled: Event, turn: Turn | None = None) -> Generator[Chunk]:
        """The chunks of the replies to one request, until they are complete or `cancelled` is set.

        When the caller leaves early, by an exception too, the native call is told to stop, and its turn ends when it
        has. A call within a `turn` of the caller's is waited for.
        """
        call = _Call({**request, **_STREAMED}, self._closed)
        own = self.turns.one() if turn is None else None
        thread = Thread(target=self._serve, args=(call, own), name="llama.cpp", daemon=True)
        try:
            if own is not None and not own.wait(cancelled):
                return
            self._open_server()
            thread.start()
            yield from _until_cancelled(call.chunks, cancelled)
        finally:
            call.left.set()
            if thread.ident is None and own is not None:
                own.end()
            elif thread.ident is not None and own is None:
                thread.join()

    def _serve(self, call: _Call, turn: Turn | None) -> None:
        try:
            # Nothing here holds the server when the turn ends: `close` is to free it.
            self._open_server().handle_chat_completions(call.request, call.take)
        except Exception as e:
            call.chunks.put({"error": {"message": str(e), "code": 500}})
        finally:
            call.chunks.put(None)
            if turn is not None:
                turn.end()

    def count(self, chat: list[dict[str, str]]) -> int:
        """Exact number of prompt tokens."""
        answer = self._ask("POST", "/v1/chat/completions/input_tokens", {"messages": chat})
        return int(answer["input_tokens"])

    def save(self, name: str) -> None:
        """Write what was read with `_reading` to a file in the folder of the states."""
        self._ask("POST", f"/slots/{_FIRST}?action=save", {"filename": name})

    def restore(self, name: str) -> None:
        """Go on from such a file. The runtime aborts on a damaged one."""
        self._ask("POST", f"/slots/{_FIRST}?action=restore", {"filename": name})

    def about(self) -> dict[str, Any]:
        """What the file says about the model: `n_params`, `n_ctx_train` and others."""
        return self._ask("GET", "/v1/models")["data"][0].get("meta") or {}

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self.calls.cancel_all()
        with self.turns.all() as turn:
            turn.wait(Event())
            self._server = None
            os.close(self._door)

    def _open_server(self) -> Any:
        if self._closed.is_set():
            raise ModelUnavailable("the model is closed", hint="open it again")
        return self._server

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self._open_server()
        answer = _http(self._door, method, path, body)
        _raise_for(answer)
        return answer


class _Call:
    """One native call: its chunks as they come, the last one None."""

    def __init__(self, request: dict[str, Any], closed: Event) -> None:
        self.request = request
        self.chunks: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self.left = Event()
        """Whether nobody waits for them any more."""
        self._closed = closed

    def take(self, chunk: Chunk) -> bool:
        """Called by the runtime, which stops when the answer is yes."""
        self.chunks.put(chunk)
        return self.left.is_set() or self._closed.is_set()


def _until_cancelled(chunks: queue.SimpleQueue[Chunk | None], cancelled: Event) -> Iterator[Chunk]:
    while not cancelled.is_set():
        try:
            chunk = chunks.get(timeout=0.05)
        except queue.Empty:
            continue
        if chunk is None:
            return
        yield chunk


class _Batch:
    """Replies that are written side by side, as their chunks come in; the first of them is number `first`."""

    def __init__(self, text: str, n: int, first: int, on_piece: OnPiece, on_progress: OnProgress | None) -> None:
        self._replies = [_Reply(text) for _ in range(n)]
        self._first, self._on_piece, self._on_progress = first, on_piece, on_progress
        self._current = 0

    def take(self, chunk: Chunk) -> None:
        _raise_for(chunk)
        for choice in chunk.get("choices", ()):
            self._current = choice["index"]  # The figures of a reply come without one, right after its end.
        told = self._on_progress if self._current == 0 else None
        self._replies[self._current].take(chunk, partial(self._on_piece, self._first + self._current), told)

    def completions(self) -> list[Completion]:
        """All of them; the prompt was read once, for the first."""
        first, *others = [reply.completion() for reply in self._replies]
        return [first, *(replace(one, usage=_all_cached(one.usage)) for one in others)]


@dataclass(slots=True)
class _Reply:
    """One reply as its chunks come in."""

    text: str
    finish: FinishReason = "cancelled"
    """Until the model says otherwise."""
    usage: Usage = field(default_factory=Usage)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    """From the beginning to its end, or to its last chunk so far."""

    def take(self, chunk: Chunk, on_token: OnToken, on_progress: OnProgress | None) -> None:
        self.seconds = time.monotonic() - self.started
        if progress := chunk.get("prompt_progress"):
            self._read(progress, on_progress)
        for choice in chunk.get("choices", ()):
            self._written(choice["delta"].get("content") or "", on_token)
            if reason := choice.get("finish_reason"):
                self.finish = "length" if reason == "length" else "stop"
                on_token("")
        if usage := chunk.get("usage"):
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            self.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"], cached)

    def completion(self) -> Completion:
        return Completion(self.text, self.finish, self.usage + Usage(seconds=self.seconds))

    def _read(self, progress: Mapping[str, int], on_progress: OnProgress | None) -> None:
        total, cached = progress["total"], progress["cache"]
        self.usage = Usage(total, 0, cached)
        if on_progress is not None and total > cached:
            on_progress("reading the prompt", (progress["processed"] - cached) / (total - cached))

    def _written(self, piece: str, on_token: OnToken) -> None:
        if not piece:
            return
        self.text += piece
        self.usage += Usage(completion_tokens=1)  # A cancelled reply has no better count.
        on_token(piece)


def _all_cached(usage: Usage) -> Usage:
    return replace(usage, cached_tokens=usage.prompt_tokens)


def _reading(message: Message) -> dict[str, Any]:
    """The request that reads a message and no more: the least that can be asked for is one token."""
    return {"messages": _chat([message]), "max_tokens": 1, "id_slot": _FIRST}


def _ignore(reply: int, piece: str) -> None:
    """Nobody listens."""


def _chat(messages: Sequence[Message], prefill: str = "") -> list[dict[str, str]]:
    """The messages as the server takes them: an assistant's message at the end is a turn to be continued."""
    turns = [*messages, Message("assistant", prefill)] if prefill else messages
    return [{"role": m.role, "content": m.content} for m in turns]


def _raise_for(answer: Mapping[str, Any]) -> None:
    error = answer.get("error")
    if not error:
        return
    message, code = error.get("message", error), error.get("code", 500)
    if code == 400:
        raise ModelRejected(f"llama.cpp refused the request: {message}")
    raise ModelUnavailable(f"llama.cpp failed: {message}", hint="open the model again")


# Starting


def is_gguf(path: Path) -> bool:
    """Whether the file begins as a GGUF file does."""
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def physical_cores() -> int:
    """Physical cores among the CPUs that this process may use; two threads on one core only slow each other down."""
    cpus = os.sched_getaffinity(0)
    return len({_siblings(cpu) for cpu in cpus}) or len(cpus)


def _siblings(cpu: int) -> str:
    """The CPUs on the core of `cpu`, itself among them; only itself where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
    return str(cpu)


def _open_states(folder: Path, sha256: str) -> States | None:
    """The states of the model with that sum; None where they cannot be kept."""
    with contextlib.suppress(OSError, importlib.metadata.PackageNotFoundError):
        return States(folder, f"{sha256} {importlib.metadata.version('xllamacpp')}")
    return None


def _start_server(
    path: Path, context_tokens: int, parallel: int, threads: int, states: States | None
) -> tuple[Any, int]:
    """The native server and its door: a file descriptor of the socket that it listens on."""
    check_gguf(path)
    xllamacpp = _import_xllamacpp()
    # The name of a unix socket has at most 107 bytes.
    short = None if len(tempfile.gettempdir()) < 70 else "/tmp"  # noqa: S108 (mkdtemp makes the folder private)
    folder = Path(tempfile.mkdtemp(prefix="sandsmith-", dir=short))
    try:
        params = _params(xllamacpp, path, context_tokens, parallel, threads, folder / "llama.sock")
        if states is not None:
            params.slot_save_path = f"{states.folder}/"
        server = xllamacpp.Server(params)
        server.handle_metrics()  # Its loop answers, so it runs: freeing a server before that hangs for ever.
        return server, os.open(folder / "llama.sock", os.O_PATH | os.O_CLOEXEC)
    except RuntimeError as e:
        raise ModelUnavailable(
            f"llama.cpp cannot load {path}: it is damaged, of a kind unknown to it, or too big for the memory",
            hint="fetch the file again, or choose a smaller model",
        ) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_gguf(path: Path) -> None:
    """Raises `ConfigError` for a file that cannot be read and `ModelUnavailable` for one of another kind."""
    try:
        known = is_gguf(path)
    except OSError as e:
        raise ConfigError(f"cannot read the model {path}: {e.strerror}", hint="name a GGUF file") from e
    if not known:
        raise ModelUnavailable(f"{path} is not a GGUF file", hint="llama.cpp loads GGUF files only")


def require_xllamacpp() -> None:
    """Raises `ModelUnavailable` when the package is not installed. Does not import it."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModelUnavailable("the runtime of embedded models is not installed", hint=_INSTALL)


def _import_xllamacpp() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as e:
        raise ModelUnavailable(f"the runtime of embedded models cannot be imported ({e})", hint=_INSTALL) from e


def _params(xllamacpp: Any, path: Path, context_tokens: int, parallel: int, threads: int, listen_on: Path) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context_tokens * parallel
    params.n_parallel = _LANES * parallel
    params.kv_unified = True
    # Any beginning in common is worth more than an empty lane, where nothing was read.
    params.slot_prompt_similarity = 0.001
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.speculative.ngram_simple.size_n = _ALIKE
    params.speculative.ngram_simple.size_m = _GUESS
    params.n_batch = params.n_ubatch = _BATCH * parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.warmup = False
    params.verbosity = -1  # Not a word on stderr.
    params.offline = True
    params.hostnames = [str(listen_on)]  # The ending `.sock` makes it a unix socket.
    params.n_threads_http = 2
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.endpoint_metrics = True  # See _start_server.
    return params


def _http(door: int, method: str, path: str, body: Any) -> dict[str, Any]:
    """Ask the server for something small; it answers in milliseconds, also while it generates."""
    connection = http.client.HTTPConnection("llama.cpp")
    with contextlib.closing(connection), socket.socket(socket.AF_UNIX) as plug:
        plug.settimeout(60)
        # The socket's name is gone, but the kernel still finds it by the descriptor.
        plug.connect(f"/proc/self/fd/{door}")
        connection.sock = plug
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return cast(dict[str, Any], json.loads(connection.getresponse().read()))
