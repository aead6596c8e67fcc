"""Prompt templates as data: one file a prompt."""

from __future__ import annotations

from functools import cache
from importlib import resources
from string import Template

__all__ = ["render"]


@cache
def _template(name: str) -> Template:
    return Template(resources.files(__name__).joinpath(f"{name}.txt").read_text("utf-8").rstrip("\n"))


def render(name: str, **values: str) -> str:
    """The prompt `name` with `$placeholders` filled in. Raises `KeyError` for a missing value or an unknown prompt."""
    try:
        return _template(name).substitute(values)
    except FileNotFoundError:
        raise KeyError(f"no prompt is called {name!r}") from None
