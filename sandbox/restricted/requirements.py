"""What a restricted sandbox needs, on every system."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError, SandboxUnavailable
from ..policy import Policy

__all__ = ["folders", "require_usable"]


def require_usable(policy: Policy) -> None:
    """Raises `ConfigError` for what restricted programs cannot make use of."""
    for field, what in (("allow_hosts", "hosts"), ("packages", "packages"), ("preload", "modules to preload")):
        if getattr(policy, field):
            hint = "use the sandbox jail for this"
            raise ConfigError(f"programs of the restricted sandbox can use no {what}", hint=hint)


def folders() -> list[str]:
    """The two folders that the language is imported from, ours and RestrictedPython's; the host only finds out where
    they lie. Raises `SandboxUnavailable`."""
    found = find_spec("RestrictedPython")
    if found is None or not found.submodule_search_locations:
        raise SandboxUnavailable("RestrictedPython is not installed", hint="pip install 'RestrictedPython>=9.0'")
    return [str(Path(__file__).parent), str(Path(found.submodule_search_locations[0]).parent)]
