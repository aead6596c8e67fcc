"""Models: llama.cpp in a process of its own, any LangChain chat model, transformers, and a scripted one for tests."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigError

from .base import Completion, Message, Model, ModelProfile, OnProgress, OnToken, Usage
from .catalog import DEFAULT_MODEL, KNOWN_MODELS, KnownModel, find_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = [
    "DEFAULT_MODEL",
    "KNOWN_MODELS",
    "Completion",
    "Message",
    "Model",
    "ModelProfile",
    "OnProgress",
    "OnToken",
    "Usage",
    "check_name",
    "open_model",
]


def open_model(
    spec: str | Model | BaseChatModel | None = None, *, on_progress: OnProgress | None = None, parallel: int = 1
) -> Model:
    """The model that `spec` names; a model is passed through, a LangChain chat model is wrapped.

    A name is one of: an embedded model (`qwen2.5-coder-1.5b`), a path of a GGUF file, `provider:model` for LangChain
    (`openai:gpt-5`), `hf:folder-or-repository` for transformers, `scripted:file`. None means the one that
    `SANDSMITH_MODEL` names, else the default. An embedded model answers `parallel` calls at once, each with a context
    of its own; of the others, LangChain takes as many as come and transformers one after another. Raises `ConfigError`
    for anything else and `ModelUnavailable` when the model cannot be had.
    """
    if spec is None:
        from agent.settings import load_settings

        spec = load_settings().model or DEFAULT_MODEL
    return _opener(spec)(on_progress, parallel) if isinstance(spec, str) else _given(spec)


def _given(model: Model | BaseChatModel) -> Model:
    # Whoever has a LangChain model has imported LangChain; nobody else should wait for that.
    if "langchain_core" in sys.modules:
        from langchain_core.language_models import BaseChatModel

        if isinstance(model, BaseChatModel):
            from .chat import ChatModel

            return ChatModel(model)
    return model  # pyright: ignore[reportReturnType]


def check_name(spec: str) -> None:
    """Raise `ConfigError` for a name that no model can have. Whether there is such a model shows when it is opened."""
    _opener(spec)


def _opener(spec: str) -> Callable[[OnProgress | None, int], Model]:
    """What opens the model that `spec` names."""
    if known := find_model(spec):
        return lambda on_progress, parallel: _embedded(known, on_progress, parallel)
    kind, _, rest = spec.partition(":")
    if kind == "scripted" and rest:
        return lambda _, __: _scripted(Path(rest).expanduser())
    if kind == "hf" and rest:
        return lambda _, __: _transformers(rest)
    path = Path(spec).expanduser()
    if spec.endswith(".gguf") or path.is_file():
        return lambda on_progress, parallel: _file(path, on_progress, parallel)
    if rest and kind.replace("_", "").replace("-", "").isalnum():
        return lambda _, __: _chat(spec)
    raise _unknown(spec)


def _scripted(file: Path) -> Model:
    from .scripted import ScriptedModel

    return ScriptedModel(file)


def _transformers(name: str) -> Model:
    from .hf import TransformersModel

    return TransformersModel(name)


def _file(path: Path, on_progress: OnProgress | None, parallel: int) -> Model:
    from .process import ModelProcess

    return ModelProcess(path, parallel=parallel, on_progress=on_progress)


def _chat(spec: str) -> Model:
    from .chat import ChatModel

    return ChatModel(spec)


def _embedded(known: KnownModel, on_progress: OnProgress | None, parallel: int) -> Model:
    from .llama import require_xllamacpp
    from .process import ModelProcess
    from .weights import find_weights

    require_xllamacpp()  # before gigabytes are joined for nothing
    file = find_weights(known, on_progress=on_progress)
    return ModelProcess(
        file,
        name=known.name,
        parameters=known.parameters,
        parallel=parallel,
        sha256=known.sha256,
        on_progress=on_progress,
    )


def _unknown(spec: str) -> ConfigError:
    names = [name for m in KNOWN_MODELS for name in (m.name, *m.aliases)]
    close = difflib.get_close_matches(spec.lower(), names, n=3)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    embedded = ", ".join(m.name for m in KNOWN_MODELS)
    return ConfigError(
        f"no model is called {spec!r}",
        hint=f"{meant}possible are {embedded}; a path ending in .gguf; provider:model for LangChain, such as "
        "openai:gpt-5; hf:folder-or-repository; scripted:file",
    )
