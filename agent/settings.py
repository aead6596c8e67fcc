"""The one place that reads the environment.

`SANDSMITH_CACHE_DIR` (joined weights), `SANDSMITH_DATA_DIR` (traces, history), `SANDSMITH_MODEL` (the default model)
and `HF_ENDPOINT` (a mirror of the model hub). A variable that is set but empty counts as not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

__all__ = ["Settings", "load_settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept, and what is used when the caller does not say."""

    cache_dir: Path
    """Can be deleted at any time: weights that were joined or downloaded."""
    data_dir: Path
    """The user's own: traces and history."""
    model: str | None
    """The model that `SANDSMITH_MODEL` names, None when it is not set."""
    hub: str
    """Base address of the model hub, without a slash at its end."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `environ`, by default those of this process now. Creates nothing."""
    env = os.environ if environ is None else environ
    return Settings(
        cache_dir=_folder(env.get("SANDSMITH_CACHE_DIR"), platformdirs.user_cache_path("sandsmith")),
        data_dir=_folder(env.get("SANDSMITH_DATA_DIR"), platformdirs.user_data_path("sandsmith")),
        model=env.get("SANDSMITH_MODEL") or None,
        hub=(env.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"),
    )


def _folder(given: str | None, default: Path) -> Path:
    return Path(given).expanduser().absolute() if given else default
