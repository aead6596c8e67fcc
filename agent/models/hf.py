"""A causal language model through transformers: slower than llama.cpp on a CPU, but it takes any checkpoint.

The model runs in a thread of its own, so that the caller can be interrupted at any time; what the loop over its tokens
covers is told in `decode.py`. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event, RLock
from typing import Any

from agent.errors import ModelRejected, ModelUnavailable

from . import checkpoints, decode
from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, InTurn, StopGate, from_thread

__all__ = ["TransformersModel"]

_LEAST_REPLY = 64
_CONTEXT = 8192
_LANES = 4
"""Four rows of a batch wait for the same weights: little more time than one takes, on a CPU as well."""


class TransformersModel:
    """A checkpoint in a folder or on the hub, or a GGUF file, which is dequantised; on the GPU where there is one.

    A model without a chat template gets the messages as plain text. `context_tokens` bounds prompt and reply together.
    Raises `ModelUnavailable` when the checkpoint cannot be loaded or the packages are not installed.
    """

    def __init__(self, checkpoint: str, *, context_tokens: int = _CONTEXT) -> None:
        loaded = checkpoints.load(checkpoint)
        self._tokenizer, self._ends = loaded.tokenizer, loaded.ends
        decoder = decode.Decoder(loaded.torch, loaded.transformers, loaded.model)
        self._profile = ModelProfile(
            name=checkpoint,
            parameters=loaded.model.num_parameters() / 1e9,
            context_tokens=loaded.context(context_tokens),
            prefill=True,
            lanes=_LANES if decoder.goes_back else 1,
        )
        self._engine = _Engine(decoder)
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
                f"the chat template of {self._profile.name} cannot write this prompt: {checkpoints.said(e)}",
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

    def run(self, decoder: decode.Decoder) -> Generator[decode.Event]:
        """Have it done."""
        return decoder.decode(self.prompt, [self._reply(i, decoder) for i in range(self.n)])

    def _reply(self, i: int, decoder: decode.Decoder) -> decode.Reply:
        how = replace(self.how, seed=None if self.how.seed is None else self.how.seed + i)
        speller = decode.Speller(self.tokenizer, self.prompt)
        return decode.Reply(i, decoder.sampler(how), speller, StopGate(self.stop), ends=self.ends, limit=self.limit)


class _Engine:
    """The model, which runs one call at a time, each in a thread of its own."""

    def __init__(self, decoder: decode.Decoder) -> None:
        self.calls = Calls()
        self.decoder = decoder
        self._closed = Event()
        self._turn = RLock()  # the garbage collector may close it from any thread, the model's own too

    def stream(self, job: _Job, cancelled: Event) -> Generator[decode.Event]:
        """What the job tells, until it is done or `cancelled` is set.

        When the caller leaves early, by an exception too, the job stops after the pass in progress; the next call
        waits for that.
        """
        return from_thread(lambda: self._run(job), cancelled, first_seconds=math.inf, next_seconds=math.inf)

    def close(self) -> None:
        self._closed.set()
        self.calls.cancel()
        with self._turn:
            self.decoder.close()

    def _run(self, job: _Job) -> Generator[decode.Event]:
        fault = None
        with self._turn:
            self._check_open()
            try:
                with contextlib.closing(job.run(self.decoder)) as events:
                    for event in events:
                        if self._closed.is_set():
                            return
                        yield event
            except Exception as e:
                fault = checkpoints.failure(e, "transformers failed", "open the model again")
        if fault:  # outside of the `except`: see `failure`
            raise fault

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ModelUnavailable("the model is closed", hint="open it again")


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
