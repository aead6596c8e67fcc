"""A model that several tasks use at once, as one of them sees it."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Completion, Message, Model, ModelProfile, OnProgress, OnToken
from .calls import calling_as

__all__ = ["Share"]


class Share:
    """`model` for one of its users, whose `cancel` leaves the calls of the others alone.

    A model of the caller's own that keeps no `Calls` cancels as it always does.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def profile(self) -> ModelProfile:
        return self._model.profile

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
        """See `Model.complete`."""
        with calling_as(self):
            return self._model.complete(
                messages,
                n=n,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                max_tokens=max_tokens,
                stop=stop,
                seed=seed,
                prefill=prefill,
                on_token=on_token,
                on_progress=on_progress,
            )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """See `Model.count_tokens`."""
        with calling_as(self):
            return self._model.count_tokens(messages)

    def cancel(self) -> None:
        """Stop the calls made through this share, from any thread."""
        with calling_as(self):
            self._model.cancel()

    def close(self) -> None:
        """Stop the calls made through this share; the model stays open for the others."""
        self.cancel()
