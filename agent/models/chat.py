"""Any LangChain chat model: hosted ones, and local servers that speak a provider's protocol."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from threading import Event
from typing import TYPE_CHECKING, Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from agent.errors import ModelRejected, ModelUnavailable

from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, Silence, StopGate, estimate_tokens, from_thread
from .providers import (
    has_own_retries,
    init_chat_model,
    is_transient,
    prompt_for,
    refused_option,
    reported_cost,
    retry_after,
    telling_cost,
    translated,
    with_options,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

__all__ = ["ChatModel"]

_CONTEXT = 128_000
"""Tokens assumed for a model that does not say."""
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation"})
_TRIES = 4
_BACKOFF = wait_exponential_jitter(initial=1, max=20, jitter=1)
"""Seconds between tries where the provider says nothing else."""
_IN_ALL = 90.0
"""Seconds after which nothing is tried again. Quotas are mostly counted by the minute."""
_FIRST_SECONDS = 300.0
"""For the first sign: a local server may have to load the model, and reads a long prompt for minutes."""
_NEXT_SECONDS = 120.0


class ChatModel:
    """A LangChain chat model, ready made or as `provider:model`.

    Raises `ConfigError` for an unknown provider, and `ModelUnavailable` when its package or its key is missing. The
    assistant's turn cannot be begun for such a model, so `prefill` is ignored. Options that the model has no field
    for, or that its provider refuses by name, are left out.

    A request that failed for a reason that passes (no connection, no time, too many requests, a fault of the server)
    and of whose reply nothing has come is tried again, four times in 90 seconds at most, or when the provider says. A
    ready-made model that has a field `max_retries` tries again by itself, as often as that says. A reply of which
    nothing comes for `first_seconds`, or nothing more for `next_seconds`, is given up with `ModelUnavailable`.
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        name: str | None = None,
        first_seconds: float = _FIRST_SECONDS,
        next_seconds: float = _NEXT_SECONDS,
    ) -> None:
        opened = init_chat_model(model) if isinstance(model, str) else model
        self._tries = _TRIES if isinstance(model, str) or not has_own_retries(opened) else 1
        self._first_seconds, self._next_seconds = first_seconds, next_seconds
        self._model = telling_cost(opened)
        limits: Mapping[str, Any] = getattr(self._model, "profile", None) or {}
        self._profile = ModelProfile(
            name=name or (model if isinstance(model, str) else self._model.get_name()),
            context_tokens=limits.get("max_input_tokens") or _CONTEXT,
        )
        self._calls = Calls()
        self._refused: set[str] = set()

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
        """See `Model.complete`. The replies are asked for one after another."""
        options: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        if top_p < 1:
            options["top_p"] = top_p
        if top_k:
            options["top_k"] = top_k
        if getattr(self._model, "stream_usage", True) is None:
            options["stream_options"] = True  # else some integrations count tokens only for the provider's own server
        drawn: list[Completion] = []
        with self._calls.begin() as cancelled:
            for i in range(n):
                seeded = options if seed is None else {**options, "seed": seed + i}
                drawn.append(self._reply(messages, seeded, stop, cancelled, on_token, on_progress))
                if cancelled.is_set():
                    break
        return drawn

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """An estimate from above: providers do not tell beforehand."""
        return estimate_tokens(messages)

    def cancel(self) -> None:
        self._calls.cancel()

    def close(self) -> None:
        """Nothing to free: the connection belongs to the LangChain object."""

    def _reply(
        self,
        messages: Sequence[Message],
        options: Mapping[str, Any],
        stop: Sequence[str],
        cancelled: Event,
        on_token: OnToken | None,
        on_progress: OnProgress | None,
    ) -> Completion:
        reply = _Reply(stop, on_token)
        ask = partial(self._begin, prompt_for(self._model, messages), {"stop": list(stop) or None, **options})
        begun, rest = self._retrying(cancelled, on_progress)(ask, cancelled)
        with closing(rest):
            for chunk in chain(begun, rest):
                reply.take(chunk)
                if reply.gate.closed:
                    break
        return reply.completion("cancelled" if cancelled.is_set() and not reply.finished else None)

    def _retrying(self, cancelled: Event, on_progress: OnProgress | None) -> Retrying:
        """Tries again what failed for a reason that passes. A try after `cancelled` asks for nothing."""
        return Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, ModelUnavailable) and is_transient(e.__cause__)),
            wait=_pause,
            stop=stop_after_attempt(self._tries) | stop_before_delay(_IN_ALL),
            sleep=sleep_using_event(cancelled),
            before_sleep=lambda state: on_progress(f"waiting for {self._profile.name}", 0.0) if on_progress else None,
            reraise=True,
        )

    def _begin(
        self, prompt: list[dict[str, Any]], wanted: Mapping[str, Any], cancelled: Event
    ) -> tuple[list[AIMessageChunk], Generator[AIMessageChunk]]:
        """The first chunk of a reply, and the others to come.

        An option that the provider refuses by name is left out from then on.
        """
        used = {k: v for k, v in wanted.items() if v is not None and k not in self._refused}
        chunks = self._stream(prompt, used, cancelled)
        try:
            return list(islice(chunks, 1)), chunks
        except ModelRejected as e:
            refused = refused_option(e.__cause__, used)
            if refused is None:
                raise
        self._refused.add(refused)
        return self._begin(prompt, wanted, cancelled)

    def _stream(
        self, prompt: list[dict[str, Any]], options: Mapping[str, Any], cancelled: Event
    ) -> Generator[AIMessageChunk]:
        """The chunks of the reply to one request, read in a thread so that cancelling acts while nothing comes."""
        ask = partial(with_options(self._model, options).stream, prompt, stop=options.get("stop"))
        seconds = {"first_seconds": self._first_seconds, "next_seconds": self._next_seconds}
        with self._faults():
            yield from from_thread(ask, cancelled, **seconds)

    @contextmanager
    def _faults(self) -> Generator[None]:
        """Errors of the provider as ours, caused by its own."""
        name = self._profile.name
        try:
            yield
        except Silence as e:
            hint = "it may be overloaded: try again later, or choose another model"
            raise ModelUnavailable(f"{e} from {name}", hint=hint) from e
        except Exception as e:
            raise translated(e, name) from e


def _pause(state: RetryCallState) -> float:
    """Seconds to the next try: as the provider says, else more each time."""
    fault = state.outcome.exception() if state.outcome else None
    told = retry_after(fault.__cause__) if fault else None
    return _BACKOFF(state) if told is None else told


class _Reply:
    """One reply as its chunks come in."""

    def __init__(self, stop: Sequence[str], on_token: OnToken | None) -> None:
        self.gate = StopGate(stop)
        self._on_token = on_token
        self._text = ""
        self._whole: AIMessageChunk | None = None
        self._started = time.monotonic()

    @property
    def finished(self) -> bool:
        return bool(self.gate.closed or self._reason())

    def take(self, chunk: AIMessageChunk) -> None:
        self._whole = chunk if self._whole is None else self._whole + chunk
        self._pass(self.gate.feed(str(chunk.text)))

    def completion(self, finish: FinishReason | None) -> Completion:
        """The reply so far; `finish` None: as the provider says. Raises `ModelRejected` for a filtered one."""
        self._pass(self.gate.flush())
        if self._reason() in _FILTERED and not self._text:
            raise ModelRejected(f"the provider filtered the reply ({self._reason()})", hint="put the task otherwise")
        cut: FinishReason = "length" if self._reason() in _CUT and not self.gate.closed else "stop"
        return Completion(self._text, finish or cut, self._usage())

    def _pass(self, piece: str) -> None:
        self._text += piece
        if piece and self._on_token is not None:
            self._on_token(piece)

    def _reason(self) -> str:
        said: dict[str, Any] = self._whole.response_metadata if self._whole else {}
        reason = said.get("finish_reason") or said.get("stop_reason") or said.get("done_reason") or ""
        return str(reason).lower()

    def _usage(self) -> Usage:
        said = self._whole.usage_metadata if self._whole else None
        cost = reported_cost(self._whole) if self._whole else None
        seconds = time.monotonic() - self._started
        if said is None:
            return Usage(seconds=seconds, cost=cost)
        cached = said.get("input_token_details", {}).get("cache_read", 0)
        return Usage(said["input_tokens"], said["output_tokens"], cached, seconds, cost)
