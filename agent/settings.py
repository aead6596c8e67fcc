"""The one place that reads the environment.

`SANDSMITH_CACHE_DIR` (joined weights, what models have read, package sets), `SANDSMITH_DATA_DIR` (traces, history),
`SANDSMITH_MODEL` (the default model), `SANDSMITH_MIN_TIER` (the weakest wall to accept) and `HF_ENDPOINT` (a mirror of
the model hub). A variable that is set but empty counts as not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from sandbox.tiers import TIERS, Tier

from .errors import ConfigError

__all__ = ["Settings", "load_settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept, and what is used when the caller does not say."""

    cache_dir: Path
    """Can be deleted at any time: weights that were joined or downloaded, what models have read, package sets."""
    data_dir: Path
    """The user's own: traces and history."""
    model: str | None
    """The model that `SANDSMITH_MODEL` names, None when it is not set."""
    minimum_tier: Tier
    """What `SANDSMITH_MIN_TIER` names, `landlock` when it is not set."""
    hub: str
    """Base address of the model hub, without a slash at its end."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `environ`, by default those of this process now. Creates nothing.

    Raises `ConfigError` for a tier that does not exist.
    """
    env = os.environ if environ is None else environ
    return Settings(
        cache_dir=_folder(env.get("SANDSMITH_CACHE_DIR"), platformdirs.user_cache_path("sandsmith")),
        data_dir=_folder(env.get("SANDSMITH_DATA_DIR"), platformdirs.user_data_path("sandsmith")),
        model=env.get("SANDSMITH_MODEL") or None,
        minimum_tier=_tier(env.get("SANDSMITH_MIN_TIER") or TIERS[0]),
        hub=(env.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"),
    )


def _tier(name: str) -> Tier:
    for tier in TIERS:
        if name == tier:
            return tier
    raise ConfigError(f"SANDSMITH_MIN_TIER is {name!r}", hint=f"the tiers are: {', '.join(TIERS)}")


def _folder(given: str | None, default: Path) -> Path:
    return Path(given).expanduser().absolute() if given else default
