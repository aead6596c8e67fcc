"""Keeps secrets out of what is written down: values of environment variables that look like keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["find_secrets", "redact", "redact_data"]

_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(^|_)PWD$|(^|_)AUTH(_|$)|DSN$", re.IGNORECASE)
_SHORTEST = 8
"""Shorter values are too likely to be ordinary words."""
_MASK = "[redacted]"


def find_secrets(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Values in the environment that must not be written down, longest first (one may contain another)."""
    pairs = (os.environ if environ is None else environ).items()
    found = {value for name, value in pairs if _NAME.search(name) and _is_secret(value)}
    return tuple(sorted(found, key=len, reverse=True))


def _is_secret(value: str) -> bool:
    """Paths are not: a variable like `SSH_AUTH_SOCK` says where something is."""
    return len(value.strip()) >= _SHORTEST and not value.startswith("/")


def redact(text: str, secrets: Iterable[str] | None = None) -> str:
    """`text` with every secret masked; `secrets=None` looks them up in the environment."""
    for secret in find_secrets() if secrets is None else secrets:
        text = text.replace(secret, _MASK)
    return text


def redact_data(data: Any, secrets: Iterable[str]) -> Any:
    """JSON data with every secret masked in every text, keys included."""
    if isinstance(data, str):
        return redact(data, secrets)
    if isinstance(data, list):
        return [redact_data(item, secrets) for item in data]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(data, dict):
        return {redact(str(k), secrets): redact_data(v, secrets) for k, v in data.items()}  # pyright: ignore
    return data
