"""Any LangChain chat model: hosted ones, and local servers that speak a provider's protocol."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from agent.errors import ConfigError, ModelRejected, ModelUnavailable

from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, StopGate, estimate_tokens

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

__all__ = ["ChatModel"]

_FIELDS = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "seed": ("seed",),
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict"),
}
"""Under which of its fields an integration keeps an option."""
_CONTEXT = 128_000
"""Tokens assumed for a model that does not say."""
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation"})


class ChatModel:
    """A LangChain chat model, ready made or as `provider:model`.

    Raises `ConfigError` for an unknown provider, and `ModelUnavailable` when its package or its key is missing. The
    assistant's turn cannot be begun for such a model, so `prefill` is ignored. Options that the model has no field
    for, or that its provider refuses by name, are left out.
    """

    def __init__(self, model: BaseChatModel | str, *, name: str | None = None) -> None:
        self._model = _init_chat_model(model) if isinstance(model, str) else model
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
        """See `Model.complete`. The replies are asked for one after another; cancelling acts between two chunks."""
        options: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        if top_p < 1:
            options["top_p"] = top_p
        if top_k:
            options["top_k"] = top_k
        drawn: list[Completion] = []
        with self._calls.begin() as cancelled:
            for i in range(n):
                seeded = options if seed is None else {**options, "seed": seed + i}
                drawn.append(self._reply(messages, seeded, stop, cancelled, on_token))
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
    ) -> Completion:
        reply = _Reply(stop, on_token)
        for chunk in self._stream(messages, options, stop):
            if cancelled.is_set():
                return reply.completion("cancelled")
            reply.take(chunk)
            if reply.gate.closed:
                break
        return reply.completion("cancelled" if cancelled.is_set() and not reply.finished else None)

    def _stream(
        self, messages: Sequence[Message], options: Mapping[str, Any], stop: Sequence[str]
    ) -> Iterator[AIMessageChunk]:
        """The chunks of one reply. An option that the provider refuses by name is left out from then on."""
        turns = [(m.role, m.content) for m in messages]
        while True:
            wanted = {"stop": list(stop) or None, **options}
            used = {k: v for k, v in wanted.items() if v is not None and k not in self._refused}
            begun = False
            try:
                for chunk in _with_options(self._model, used).stream(turns, stop=used.get("stop")):
                    begun = True
                    yield chunk
            except Exception as e:
                refused = _refused_option(e, used)
                if begun or refused is None:
                    raise _translated(e, self._profile.name) from e
                self._refused.add(refused)
            else:
                return


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
        seconds = time.monotonic() - self._started
        if said is None:
            return Usage(seconds=seconds)
        cached = said.get("input_token_details", {}).get("cache_read", 0)
        return Usage(said["input_tokens"], said["output_tokens"], cached, seconds)


def _init_chat_model(spec: str) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    provider, _, model = spec.partition(":")
    try:
        return init_chat_model(model, model_provider=provider)
    except ImportError as e:
        package = re.search(r"langchain-[a-z0-9-]+", str(e))
        raise ModelUnavailable(
            f"the package for {provider} models is not installed",
            hint=f"pip install {package.group() if package else f'langchain-{provider}'}",
        ) from e
    except Exception as e:
        if isinstance(e, ValueError) and str(e).startswith("Unsupported"):
            raise ConfigError(f"LangChain knows no provider {provider!r}", hint=" ".join(str(e).split())) from e
        raise ModelUnavailable(
            f"{spec} cannot be opened: {_said(e)}", hint=f"is {provider.upper()}_API_KEY set?"
        ) from e


def _with_options(model: BaseChatModel, options: Mapping[str, Any]) -> BaseChatModel:
    """A copy with the options in its fields, where every integration reads them, whatever its calls accept."""
    known = type(model).model_fields
    fields = {name: next((f for f in _FIELDS[name] if f in known), None) for name in options if name in _FIELDS}
    return model.model_copy(update={field: options[name] for name, field in fields.items() if field})


def _refused_option(error: Exception, options: Mapping[str, Any]) -> str | None:
    """The option that the provider refused, if it refused one: 'temperature' is not supported with this model."""
    if _status(error) not in (400, 422) or _too_long(error):
        return None
    text = str(error)
    return next(
        (name for name in options if re.search(rf"\b{name}\b['\"`]? .{{0,40}}(support|permit|allow)", text)), None
    )


def _translated(error: Exception, name: str) -> ModelRejected | ModelUnavailable:
    status, said = _status(error), _said(error)
    if _too_long(error):
        return ModelRejected(f"the prompt is too long for {name}: {said}", hint="shorten the task or name fewer files")
    if status in (400, 413, 422):
        return ModelRejected(f"{name} refused the request: {said}")
    hint = {
        401: "check the provider's API key",
        403: "check what the provider's API key permits",
        404: "check the model's name",
        429: "wait a little, or check the quota",
    }.get(status or 0, "check the network and try again")
    return ModelUnavailable(f"{name} cannot be reached: {said}", hint=hint)


def _status(error: Exception) -> int | None:
    """The HTTP status behind an error, which every provider's package keeps in one of two places."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _too_long(error: Exception) -> bool:
    named = any(cls.__name__ == "ContextOverflowError" for cls in type(error).__mro__)
    return named or "context_length_exceeded" in str(error) or "maximum context length" in str(error)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
