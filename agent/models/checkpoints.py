"""Loads a checkpoint for transformers, from a folder, a GGUF file or the hub, and says what went wrong."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ModelUnavailable

__all__ = ["Checkpoint", "failure", "load", "said"]

_HUB_SECONDS = 10
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says on a GPU and on a CPU; there is no type for the latter."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model and its tokenizer, with the packages that they are of."""

    torch: Any
    transformers: Any
    tokenizer: Any
    model: Any
    """Where it is to run: on the GPU where there is one."""

    @property
    def ends(self) -> Collection[int]:
        """The tokens that end a reply: one or several, of which some checkpoints name one here and one there."""
        named: list[int | None] | int | None = self.model.generation_config.eos_token_id
        ends = named if isinstance(named, list) else [named]
        return frozenset(token for token in (*ends, self.tokenizer.eos_token_id) if token is not None)

    def context(self, wanted: int) -> int:
        """Tokens that prompt and reply may have: what is wanted, or less where the model was trained for less."""
        config = self.model.config.get_text_config(decoder=True)
        trained: int = getattr(config, "max_position_embeddings", None) or wanted
        rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") in ("dynamic", "longrope"):
            # Beyond that length all keys become others, so that what was read would have to be read again.
            trained = min(trained, rope.get("original_max_position_embeddings") or trained)
        return min(wanted, trained)


def load(checkpoint: str) -> Checkpoint:
    """The checkpoint in a folder, in a GGUF file, which is dequantised, or on the hub.

    Raises `ModelUnavailable` when it cannot be loaded or a package is not installed.
    """
    torch, transformers = _import("torch"), _import("transformers")
    place, options = _place(checkpoint)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype="auto", **options)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return Checkpoint(torch, transformers, tokenizer, model)
    except Exception as e:  # of many packages: the hub's, safetensors', tokenizers', torch's
        fault = failure(e, f"transformers cannot load {checkpoint!r}", _how_to_load(e))
    raise fault


def failure(error: Exception, what: str, hint: str) -> ModelUnavailable:
    """What to raise for an error while a model is loaded or run, outside of the `except` that caught it: where memory
    has run out, nothing should refer to the error, whose traceback holds tensors."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return ModelUnavailable(
            f"the model has run out of memory: {said(error)}",
            hint="choose a smaller model, shorten the task, or free memory",
        )
    fault = ModelUnavailable(f"{what}: {said(error)}", hint=hint)
    fault.__cause__ = error
    return fault


def said(error: Exception) -> str:
    """An error's text in one line, not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__


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


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise ModelUnavailable(f"{name} cannot be imported ({e})", hint="pip install 'sandsmith[transformers]'") from e
