"""A model that is opened when it is first asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from . import DEFAULT_MODEL, check_name, open_model
from .base import Model, OnProgress

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["LazyModel"]


class LazyModel:
    """What `agent.models.open_model` takes, opened once and by `load` alone; a model of the caller's own is not closed.

    `parallel` as in `open_model`.
    Raises `ConfigError` at once for a name that no model can have, where `checked`; otherwise `load` does.
    """

    def __init__(self, model: Model | BaseChatModel | str | None, *, checked: bool = False, parallel: int = 1) -> None:
        self._spec = model if isinstance(model, str) else None
        self._given = None if model is None or isinstance(model, str) else open_model(model)
        self._parallel = parallel
        self._opened: Model | None = None
        self._lock = threading.Lock()
        if checked and self._spec is not None:
            check_name(self._spec)

    @property
    def name(self) -> str:
        """The model's own name once it is there, before that the one that it was asked for by."""
        model = self._given or self._opened
        return model.profile.name if model else self.spec

    @property
    def spec(self) -> str:
        """The name that it was asked for by; empty for a model of the caller's own."""
        from agent.settings import load_settings

        if self._given is not None:
            return ""
        return self._spec or load_settings().model or DEFAULT_MODEL

    def load(self, on_progress: OnProgress | None = None) -> Model:
        """The model. Raises `ConfigError` and `ModelUnavailable`, and what `on_progress` raises."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._opened is None:
                self._opened = open_model(self._spec, on_progress=on_progress, parallel=self._parallel)
            return self._opened

    def close(self) -> None:
        """Free the model, if it was opened here. `load` would open it anew."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
