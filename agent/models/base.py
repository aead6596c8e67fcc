"""The one contract of every model: messages in, completions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = ["Completion", "Message", "Model", "ModelProfile", "OnProgress", "OnToken", "Usage"]

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]
OnToken = Callable[[str], None]
"""Called with each piece of text as it is generated."""
OnProgress = Callable[[str, float], None]
"""Called with what is going on ("joining the model", "reading the prompt") and the share done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, seconds and money that completions took. Adds up with `+`; of costs those that are known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were not read anew."""
    seconds: float = 0.0
    cost: float | None = None
    """US dollars, None where the provider does not tell."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.seconds + other.seconds,
            other.cost if self.cost is None else self.cost + (other.cost or 0.0),
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply. `text` holds the prefill too, where one was given."""

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What the loop needs to know about a model to choose how to drive it."""

    name: str
    parameters: float | None = None
    """Billions of parameters, None when unknown (hosted models)."""
    context_tokens: int = 8192
    prefill: bool = False
    """Whether the assistant's turn can be begun for the model."""
    lanes: int = 1
    """Replies that it writes at once, in much less time than one after another."""


class Model(Protocol):
    """Turns messages into completions."""

    @property
    def profile(self) -> ModelProfile: ...

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
        """`n` replies to `messages`. Raises `ModelUnavailable` or `ModelRejected`.

        `top_k=0` means no cut. `stop` strings are not part of the text. With `prefill` the assistant's turn begins
        with that text, which the completion's text then begins with as well; a model whose profile has no prefill
        ignores it. `finish_reason` is `length` when `max_tokens` cut the reply.
        """
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of `messages`, exact where the model tells and estimated from above where it does not."""
        ...

    def cancel(self) -> None:
        """Stop a `complete` in progress, from any thread: it returns soon with `finish_reason="cancelled"`."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
