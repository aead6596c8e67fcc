"""A causal language model through transformers: slower than llama.cpp on a CPU, but it takes any checkpoint.

The model runs in a thread of its own, so that the caller can be interrupted at any time; what the loop over its tokens
covers is told in `decode.py`. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import time
import weakref
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from agent.errors import ModelRejected, ModelUnavailable

from . import decode
from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, InTurn, StopGate

__all__ = ["TransformersModel"]

_LEAST_REPLY = 64
_CONTEXT = 8192
_HUB_SECONDS = 10
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says on a GPU and on a CPU; there is no type for the latter."""
_SMALLER = "choose a smaller model, shorten the task, or free memory"


class TransformersModel:
    """A checkpoint in a folder or on the hub, or a GGUF file, which is dequantised; on the GPU where there is one.

    A model without a chat template gets the messages as plain text. `context_tokens` bounds prompt and reply together.
    Raises `ModelUnavailable` when the checkpoint cannot be loaded or the packages are not installed.
    """

    def __init__(self, checkpoint: str, *, context_tokens: int = _CONTEXT) -> None:
        torch, transformers = _import("torch"), _import("transformers")
        self._tokenizer, model = _load(torch, transformers, checkpoint)
        self._ends = _ends(model, self._tokenizer)
        self._profile = ModelProfile(
            name=checkpoint,
            parameters=model.num_parameters() / 1e9,
            context_tokens=_context(model.config.get_text_config(decoder=True), context_tokens),
            prefill=True,
        )
        self._engine = _Engine(decode.Decoder(torch, transformers, model))
        # Also runs at exit: an interpreter that ends under a thread in native code may abort.
        self._finalizer = weakref.finalize(self, _Engine.close, self._engine)

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    @property
    def passes(self) -> int:
        """Times that the model was run so far, for blocks of prompts and for steps of replies."""
        return self._engine.decoder.passes

    @property
    def guessed(self) -> int:
        """Tokens that were guessed right so far; each saved a pass."""
        return self._engine.decoder.guessed

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
        """See `Model.complete`. Replies are written in one batch, with the seeds `seed`, `seed + 1`, ...; `on_token`
        hears them one after another."""
        prompt = self._encode(messages, prefill)
        limit = min(max_tokens, self._room(len(prompt)))
        if n < 1:
            return []
        how = decode.Sampling(temperature, top_p, top_k, seed)
        job = _Job(prompt, n, how, tuple(stop), limit, self._ends, self._tokenizer)
        batch = _Batch(prefill, n, len(prompt), on_token, on_progress)
        with (
            self._engine.calls.begin() as cancelled,
            contextlib.closing(self._engine.stream(job, cancelled)) as events,
        ):
            for event in events:
                batch.take(event)
        return batch.completions()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The exact number of prompt tokens."""
        return len(self._encode(messages, ""))

    def cancel(self) -> None:
        self._engine.calls.cancel()

    def close(self) -> None:
        """Stop what runs and free the memory. Safe to call again."""
        self._finalizer()

    def _encode(self, messages: Sequence[Message], prefill: str) -> list[int]:
        """The prompt's tokens. A template brings its special ones itself."""
        if self._tokenizer.chat_template:
            text = self._render(messages)
            return list(self._tokenizer.encode(text + prefill, add_special_tokens=False))
        text = "\n\n".join(m.content for m in messages) + "\n\n"
        return list(self._tokenizer.encode(text + prefill))

    def _render(self, messages: Sequence[Message]) -> str:
        """The messages as the chat template writes them. Some know no system message: it goes before the first turn."""
        try:
            return self._fill(messages)
        except ModelRejected:
            if (folded := _without_system(messages)) is None:
                raise
            return self._fill(folded)

    def _fill(self, messages: Sequence[Message]) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as e:  # a template is a program, and fails as one
            raise ModelRejected(
                f"the chat template of {self._profile.name} cannot write this prompt: {_said(e)}",
                hint="mend chat_template in its tokenizer_config.json or chat_template.jinja, or use another model",
            ) from e

    def _room(self, prompt: int) -> int:
        limit = self._profile.context_tokens
        if prompt + _LEAST_REPLY > limit:
            raise ModelRejected(
                f"the prompt has {prompt} tokens; with a reply of at least {_LEAST_REPLY} it does not fit into "
                f"{limit} tokens",
                hint="shorten the task or name fewer files",
            )
        return limit - prompt


@dataclass(frozen=True, slots=True)
class _Job:
    """One call. It does not hold the `TransformersModel`, which nobody may need any more before the thread ends."""

    prompt: list[int]
    n: int
    how: decode.Sampling
    stop: Sequence[str]
    limit: int
    ends: Collection[int]
    tokenizer: Any

    def run(self, decoder: decode.Decoder, tell: decode.Tell, is_over: decode.IsOver) -> None:
        """Have it done."""
        decoder.decode(self.prompt, [self._reply(i, decoder, tell) for i in range(self.n)], tell, is_over)

    def _reply(self, i: int, decoder: decode.Decoder, tell: decode.Tell) -> decode.Reply:
        how = replace(self.how, seed=None if self.how.seed is None else self.how.seed + i)
        speller = decode.Speller(self.tokenizer, self.prompt)
        gate = StopGate(self.stop)
        return decode.Reply(i, decoder.sampler(how), speller, gate, ends=self.ends, limit=self.limit, tell=tell)


class _Engine:
    """The thread that the model runs in: one call at a time, each in a thread of its own."""

    def __init__(self, decoder: decode.Decoder) -> None:
        self.calls = Calls()
        self.decoder = decoder
        self._closed = Event()
        self._turn = Lock()
        self._thread: Thread | None = None

    def stream(self, job: _Job, cancelled: Event) -> Generator[decode.Event]:
        """What the job tells, until it is done or `cancelled` is set.

        When the caller leaves early, by an exception too, the job stops after the pass in progress; the next call
        waits for that.
        """
        told: queue.SimpleQueue[decode.Event | Exception | None] = queue.SimpleQueue()
        left = Event()

        def is_over() -> bool:
            return left.is_set() or self._closed.is_set()

        with self._turn:
            self._wait_for_last()
            if self._closed.is_set():
                raise ModelUnavailable("the model is closed", hint="open it again")
            self._thread = Thread(
                target=_work, args=(job, self.decoder, told, is_over), name="transformers", daemon=True
            )
            self._thread.start()
            try:
                yield from _until_cancelled(told, cancelled)
            finally:
                left.set()

    def close(self) -> None:
        self._closed.set()
        self.calls.cancel()
        self._wait_for_last()
        self.decoder.close()

    def _wait_for_last(self) -> None:
        if self._thread:
            self._thread.join()


def _work(
    job: _Job, decoder: decode.Decoder, told: queue.SimpleQueue[decode.Event | Exception | None], is_over: decode.IsOver
) -> None:
    try:
        job.run(decoder, told.put, is_over)
    except Exception as e:
        told.put(_fault(e))
    finally:
        told.put(None)


def _until_cancelled(
    told: queue.SimpleQueue[decode.Event | Exception | None], cancelled: Event
) -> Generator[decode.Event]:
    while not cancelled.is_set():
        try:
            event = told.get(timeout=0.05)
        except queue.Empty:
            continue
        if event is None:
            return
        if isinstance(event, Exception):
            raise event
        yield event


class _Batch:
    """Replies that are written side by side, as what is told of them comes in."""

    def __init__(
        self, text: str, n: int, prompt: int, on_token: OnToken | None, on_progress: OnProgress | None
    ) -> None:
        self._started = time.monotonic()
        self._replies = [_Heard(text) for _ in range(n)]
        self._prompt, self._cached = prompt, 0
        self._listener = InTurn(on_token) if on_token is not None else None
        self._on_progress = on_progress

    def take(self, event: decode.Event) -> None:
        if isinstance(event, decode.Written):
            self._written(event)
            return
        self._cached = event.cached
        if self._on_progress is not None:
            self._on_progress("reading the prompt", (event.done - event.cached) / (event.total - event.cached))

    def completions(self) -> list[Completion]:
        """All of them; the prompt was read once, for the first."""
        return [
            Completion(heard.text, heard.finish, replace(heard.usage, prompt_tokens=self._prompt, cached_tokens=cached))
            for heard, cached in zip(self._replies, self._all_cached(), strict=True)
        ]

    def _all_cached(self) -> list[int]:
        return [self._cached] + [self._prompt] * (len(self._replies) - 1)

    def _written(self, event: decode.Written) -> None:
        heard = self._replies[event.reply]
        heard.text += event.text
        heard.usage = Usage(completion_tokens=event.tokens, seconds=time.monotonic() - self._started)
        heard.finish = event.finish or heard.finish
        if self._listener is None:
            return
        if event.text:
            self._listener.take(event.reply, event.text)
        if event.finish:
            self._listener.take(event.reply, "")


@dataclass(slots=True)
class _Heard:
    """What was heard of one reply so far."""

    text: str
    finish: FinishReason = "cancelled"
    """Until the model says otherwise."""
    usage: Usage = field(default_factory=Usage)


def _without_system(messages: Sequence[Message]) -> list[Message] | None:
    """The system message put into the user's first one; None where there are no such messages."""
    match messages:
        case [Message("system", rules), Message("user", asked), *others]:
            return [Message("user", f"{rules}\n\n{asked}"), *others]
        case _:
            return None


# Loading


def _load(torch: Any, transformers: Any, checkpoint: str) -> tuple[Any, Any]:
    """The tokenizer and the model, where it is to run."""
    place, options = _place(checkpoint)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype="auto", **options)
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    except Exception as e:  # of many packages: the hub's, safetensors', tokenizers', torch's
        if _is_out_of_memory(e):
            raise _no_memory(e) from None
        raise ModelUnavailable(f"transformers cannot load {checkpoint!r}: {_said(e)}", hint=_how_to_load(e)) from e


def _place(checkpoint: str) -> tuple[str, Mapping[str, Any]]:
    """What to load, and how. A path is never looked for on the hub."""
    path = Path(checkpoint).expanduser()
    # Else transformers would ask at the terminal whether to run it.
    options: dict[str, Any] = {"trust_remote_code": False}
    if path.is_file():
        return str(path.parent), options | {"gguf_file": path.name}
    if path.is_dir():
        return str(path), options
    if checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.endswith(".gguf"):
        raise ModelUnavailable(f"there is no {checkpoint}", hint="name a folder with a checkpoint, or a GGUF file")
    return checkpoint, options | {"local_files_only": not _hub_answers()}


def _hub_answers() -> bool:
    """Asked once: without an answer the hub's client would try for half a minute, for each file, cached or not."""
    hub = _import("huggingface_hub")
    session, address = hub.get_session(), hub.constants.ENDPOINT
    try:
        session.head(address, timeout=_HUB_SECONDS)
    except Exception:  # of the HTTP library that the client happens to use; also where it was told to stay offline
        return False
    return True


def _how_to_load(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "install what it names"
    if "custom code" in str(error):
        return "code that comes with a checkpoint is not run: choose a model that transformers knows"
    return (
        "name a folder with config.json, weights and tokenizer, or a repository of the hub, which must be within reach "
        "the first time"
    )


def _ends(model: Any, tokenizer: Any) -> Collection[int]:
    """The tokens that end a reply: one or several, of which some checkpoints name one here and one there."""
    named: list[int | None] | int | None = model.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return frozenset(token for token in (*ends, tokenizer.eos_token_id) if token is not None)


def _context(config: Any, wanted: int) -> int:
    """Tokens that prompt and reply may have: what is wanted, or less where the model was trained for less."""
    trained: int = getattr(config, "max_position_embeddings", None) or wanted
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        # Beyond that length all keys become others, so that what was read would have to be read again.
        trained = min(trained, rope.get("original_max_position_embeddings") or trained)
    return min(wanted, trained)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise ModelUnavailable(f"{name} cannot be imported ({e})", hint="pip install 'sandsmith[transformers]'") from e


# What goes wrong


def _fault(error: Exception) -> Exception:
    if _is_out_of_memory(error):
        return _no_memory(error)
    fault = ModelUnavailable(f"transformers failed: {_said(error)}", hint="open the model again")
    fault.__cause__ = error
    return fault


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


def _no_memory(error: Exception) -> ModelUnavailable:
    """Without the cause: its traceback would keep the tensors."""
    return ModelUnavailable(f"the model has run out of memory: {_said(error)}", hint=_SMALLER)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
