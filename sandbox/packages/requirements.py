"""Reads what the caller wants installed: names of packages of the index, with versions, extras and markers."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterable

from ..errors import ConfigError

__all__ = ["digest_of", "parse", "platform", "split"]

_COMMA = re.compile(r",(?![^\[]*\])(?=\s*\w)")
"""Between packages: not in the brackets of extras, and not before the operator of a further version."""
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tar\.\w+|t[bgx]z)\Z", re.IGNORECASE)
_LONGEST = 1000


def split(text: str) -> list[str]:
    """The requirements in `text`, separated by commas: `a,b[x,y]>=1,<2` names two."""
    return [part.strip() for part in _COMMA.split(text)]


def parse(texts: Iterable[str]) -> tuple[str, ...]:
    """The requirements that apply here, in their normal form, sorted. Raises `ConfigError` for what is none."""
    found = {normal for text in texts if (normal := _normal(text.strip()))}
    if not found:
        raise ConfigError("no package is named that is meant for this machine", hint="such as: pandas, 'numpy>=2'")
    return tuple(sorted(found))


def platform() -> str:
    """What wheels are chosen by: Python's version, its binary interface, and the machine's kind."""
    version = "{}.{}".format(*sys.version_info[:2])
    return f"{version} {sysconfig.get_config_var('SOABI') or sys.implementation.cache_tag} {sysconfig.get_platform()}"


def digest_of(requirements: tuple[str, ...]) -> str:
    """The name of the set that these (parsed) requirements make on this platform."""
    return hashlib.sha256(json.dumps([platform(), *requirements]).encode()).hexdigest()[:20]


def _normal(text: str) -> str:
    """`text` as every spelling of it is written; empty when its marker says that it is not meant for this machine."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    _refuse_what_is_no_name(text)
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"{text!r} is no requirement: {why}", hint="such as: pandas, 'numpy>=2,<3'") from None
    if wanted.url:
        raise _not_by_name(text)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    wanted.marker, wanted.name = None, canonicalize_name(wanted.name)
    wanted.extras = {canonicalize_name(extra) for extra in wanted.extras}
    return str(wanted)


def _refuse_what_is_no_name(text: str) -> None:
    if len(text) > _LONGEST:
        raise ConfigError(f"a requirement has more than {_LONGEST} characters")
    if text.startswith("-"):
        hint = "where packages come from is a setting of pip: PIP_INDEX_URL, or `pip config`"
        raise ConfigError(f"{text!r} is an option of pip, not a package", hint=hint)
    name = text.partition(";")[0].strip()
    if "/" in name or "\\" in name or name.startswith(".") or _ARCHIVE.search(name):
        raise _not_by_name(text)


def _not_by_name(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is a path or an address: only packages of the index are installed, by their names",
        hint="publish it to an index of your own and set PIP_INDEX_URL",
    )
