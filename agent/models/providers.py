"""How the providers behind LangChain differ: opening one, its options, its errors, its cost, its prompt cache."""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any, cast

from agent.errors import ConfigError, ModelRejected, ModelUnavailable

from .base import Message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

__all__ = [
    "has_own_retries",
    "init_chat_model",
    "is_transient",
    "prompt_for",
    "refused_option",
    "reported_cost",
    "retry_after",
    "telling_cost",
    "translated",
    "with_options",
]

_FIELDS = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "seed": ("seed",),
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict"),
    "stream_options": ("stream_usage",),
}
"""Under which of its fields an integration keeps an option, which is called here as it is in requests."""
_TRANSIENT = frozenset({408, 409, 429})
"""Beside all from 500 upwards."""
_NO_ANSWER = frozenset({"APIConnectionError", "ConnectionError", "Timeout", "TransportError"})
"""Names of the errors of httpx, requests and the providers' packages for a connection that failed or timed out."""
_SPENT = "insufficient_quota"
"""OpenAI says so with status 429, and no waiting helps."""


# Opening


def init_chat_model(spec: str) -> BaseChatModel:
    """The chat model `provider:model`, whose own retries are off. See `ChatModel` for what is raised."""
    from langchain.chat_models import init_chat_model

    provider, _, name = spec.partition(":")
    try:
        model = init_chat_model(name, model_provider=provider)
        if has_own_retries(model):  # what an integration keeps in its client cannot be changed afterwards
            model = init_chat_model(name, model_provider=provider, max_retries=0)
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
    return model


def has_own_retries(model: BaseChatModel) -> bool:
    """Whether the integration tries again by itself, as often as its field `max_retries` says."""
    return "max_retries" in type(model).model_fields


# Asking


def prompt_for(model: BaseChatModel, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as LangChain takes them.

    Anthropic caches a prompt up to where it is told to: here after the rules and after the task, with which each draft
    and each repair begins. Marks behind less than 1024 tokens are without effect. OpenAI caches by itself.
    """
    turns: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
    if any(cls.__module__.partition(".")[0] == "langchain_anthropic" for cls in type(model).__mro__):
        for role in ("system", "user"):
            _mark(next((turn for turn in turns if turn["role"] == role), None))
    return turns


def _mark(turn: dict[str, Any] | None) -> None:
    if turn and turn["content"]:  # an empty block is refused
        turn["content"] = [{"type": "text", "text": turn["content"], "cache_control": {"type": "ephemeral"}}]


def with_options(model: BaseChatModel, options: Mapping[str, Any]) -> BaseChatModel:
    """A copy with the options in its fields, where every integration reads them, whatever its calls accept."""
    known = type(model).model_fields
    fields = {name: next((f for f in _FIELDS[name] if f in known), None) for name in options if name in _FIELDS}
    return model.model_copy(update={field: options[name] for name, field in fields.items() if field})


# What came back


def telling_cost(model: BaseChatModel) -> BaseChatModel:
    """A copy that passes on the cost which some servers (OpenRouter, for one) report beside the tokens.

    Integrations built on that of OpenAI lose it when they read a chunk; others are returned as they are.
    """
    if not hasattr(type(model), "_convert_chunk_to_generation_chunk"):
        return model
    copy = model.model_copy()
    copy.__class__ = _telling_cost(type(model))
    return copy


@functools.cache
def _telling_cost(base: Any) -> Any:
    class Telling(base):
        def _convert_chunk_to_generation_chunk(self, chunk: dict[str, Any], *rest: Any) -> Any:
            converted = super()._convert_chunk_to_generation_chunk(chunk, *rest)  # pyright: ignore
            return _with_cost(converted, chunk.get("usage"))

    Telling.__name__ = base.__name__  # what LangChain calls the model
    return Telling


def _with_cost(chunk: Any, usage: Any) -> Any:
    if chunk is not None and usage and "cost" in usage:
        # In a list, because that is merged with those of other chunks, and a number is not.
        chunk.message.response_metadata["cost"] = [usage["cost"]]
    return chunk


def reported_cost(message: AIMessage) -> float | None:
    """US dollars, None where the provider does not tell."""
    said: dict[str, Any] = message.response_metadata
    usage: dict[str, Any] = said.get("token_usage") or {}
    cost: Any = said.get("cost", usage.get("cost"))
    return _dollars(cast("list[Any]", cost)[-1] if isinstance(cost, list) else cost)


def _dollars(cost: Any) -> float | None:
    """The sum, None for what a server wrote instead of one."""
    known = isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < math.inf
    return float(cost) if known else None


# What went wrong


def translated(error: Exception, name: str) -> ModelRejected | ModelUnavailable:
    """Whose fault it is, and what to do."""
    status, said = _status(error), _said(error)
    if _too_long(error):
        return ModelRejected(f"the prompt is too long for {name}: {said}", hint="shorten the task or name fewer files")
    if status in (400, 413, 422):
        return ModelRejected(f"{name} refused the request: {said}")
    wait = retry_after(error)
    hint = {
        401: "check the provider's API key",
        403: "check what the provider's API key permits",
        404: "check the model's name",
        429: "check the quota" if wait is None else f"the provider says to wait {wait:.0f} s",
    }.get(status or 0, "check the network and try again")
    return ModelUnavailable(f"{name} cannot be reached: {said}", hint=hint)


def is_transient(error: BaseException | None) -> bool:
    """Whether the same request may well succeed a little later."""
    status = _status(error)
    if status is not None:
        return (status in _TRANSIENT or status >= 500) and _SPENT not in str(error)
    if isinstance(error, (ConnectionError, TimeoutError)) or getattr(error, "is_retryable", False):
        return True
    return any(cls.__name__ in _NO_ANSWER for cls in type(error).__mro__)


def retry_after(error: BaseException | None) -> float | None:
    """Seconds to wait as the provider says (RFC 9110, section 10.2.3), None where it does not."""
    headers: Mapping[str, Any] = getattr(getattr(error, "response", None), "headers", None) or {}
    told = str(headers.get("retry-after", ""))
    if re.fullmatch(r"\d+(\.\d+)?", told):
        return float(told)
    date = parsedate_tz(told)
    return max(0.0, mktime_tz(date) - time.time()) if date else None


def refused_option(error: BaseException | None, options: Mapping[str, Any]) -> str | None:
    """The option that the provider refused, if it refused one: 'temperature' is not supported with this model."""
    if _status(error) not in (400, 422) or _too_long(error):
        return None
    return next((name for name in options if _refuses(str(error), name)), None)


def _refuses(text: str, name: str) -> bool:
    after, before = "support|permit|allow", "unsupported|unrecognized|unknown|unexpected"
    pattern = rf"\b{name}\b.{{0,60}}({after})|\b({before})\b.{{0,60}}\b{name}\b"
    return re.search(pattern, text, re.IGNORECASE) is not None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, which providers' packages keep in one of three places, some of them as text."""
    holders = ((error, "status_code"), (getattr(error, "response", None), "status_code"), (error, "code"))
    told = (str(getattr(holder, name, "")) for holder, name in holders)
    return next((int(status) for status in told if re.fullmatch("[45][0-9]{2}", status)), None)


def _too_long(error: BaseException | None) -> bool:
    named = any(cls.__name__ == "ContextOverflowError" for cls in type(error).__mro__)
    return named or "context_length_exceeded" in str(error) or "maximum context length" in str(error)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
