"""pip in a child process, and what its complaints mean.

Its settings (index, proxy, certificates) are those of the user. It only ever gets to see wheels, and works in a folder
of its own, where no file can be mistaken for a package or for a module of pip.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError, Fault, SandboxUnavailable
from .requirements import platform
from .sets import no_room

__all__ = ["run_pip"]

_OPTIONS = ("--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--no-color")
_PATIENCE = ("--retries=2", "--timeout=20")
"""Where no index answers, pip should say so in a minute."""
_UNREACHABLE = re.compile(
    r"connection broken by|Max retries exceeded|timed out|not a trusted or secure host"
    r"|Could not fetch URL [^\n]*(?:40[137] Client|5\d\d Server) Error"
)
"""In pip's log: an index was not asked, or did not answer. (404 is the answer that it has no such package.)"""
_KEPT = 500
"""Lines of pip's output that a failure is explained from."""


def run_pip(arguments: list[str], work: Path, lock: int, on_line: Callable[[str], None]) -> None:
    """Run `pip install` with `arguments` in the folder `work`. Raises `ConfigError` or `SandboxUnavailable`.

    It holds the descriptor `lock` for as long as it lives, also when this process is killed.
    """
    log = work / "pip.log"
    log.unlink(missing_ok=True)
    options = [*_OPTIONS, *_PATIENCE, f"--log={log}"]
    process = subprocess.Popen(
        [sys.executable, "-I", "-X", "utf8", "-m", "pip", "install", *options, *arguments],
        cwd=work,
        env={**os.environ, "TMPDIR": str(work), "PIP_ROOT_USER_ACTION": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=[lock],
        start_new_session=True,  # Ctrl-C is for us, and we end it
    )
    with process:
        try:
            said = _follow(process, on_line)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise _fault("\n".join(said), log.read_text("utf-8", "replace") if log.is_file() else "", work)


def _follow(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> deque[str]:
    """Read what pip says until it closes its output, the last lines."""
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=_KEPT)
    for line in process.stdout:
        said.append(line.rstrip())
        on_line(line.rstrip())
    return said


def _fault(said: str, log: str, work: Path) -> Fault:
    """The error for what pip said and logged when it failed."""
    if "No module named pip" in said:
        hint = f"`{sys.executable} -m ensurepip`, or in an environment made by uv: `uv pip install pip`"
        return SandboxUnavailable("pip is not installed beside sandsmith, and it fetches the packages", hint=hint)
    if re.search(r"No space left on device|Disk quota exceeded|Errno (?:28|122)\b", said):
        return no_room(work.parents[1])
    if "DO NOT MATCH THE HASHES" in said:
        hint = "try again; if it stays so, do not trust the index"
        return SandboxUnavailable("the package index served other bytes than it had promised", hint=hint)
    if "ResolutionImpossible" in said:
        return _conflict(said)
    if missing := re.search(r"No matching distribution found for (.+)", said):
        return _not_found(missing[1].partition(" (from ")[0].strip(), said, log)
    if _UNREACHABLE.search(log):
        return _offline(log)
    return SandboxUnavailable(f"pip cannot install the packages: {_last_error(said)}")


def _not_found(wanted: str, said: str, log: str) -> Fault:
    """There is no wheel for `wanted`: the index cannot be asked, does not have it, or has it in other forms only."""
    found = re.search(r"\(from versions: (.+)\)", said)
    versions = [v for v in found[1].split(", ") if v != "none"] if found else []
    name = re.split(r"[^\w.\-]", wanted)[0]
    if versions:
        return ConfigError(f"the package index has no {wanted}", hint=f"it has {', '.join(versions[-5:])}")
    if _UNREACHABLE.search(log):
        return _offline(log)
    file = re.sub(r"[-_.]+", "[-_.]+", name) + r"-\d"
    if re.search(rf"Skipping link: (?:No sources permitted|none of the wheel's tags)\b.*/{file}", log, re.IGNORECASE):
        hint = "packages are never built here, since that runs their code; choose another version or another package"
        return ConfigError(f"there is no wheel of {name} for Python {platform()}", hint=hint)
    if re.search(rf"requires a different Python\b.*/{file}", log, re.IGNORECASE):
        return ConfigError(f"no version of {name} is made for Python {platform()}")
    return ConfigError(f"the package index has no package {name!r}", hint="check its spelling")


def _conflict(said: str) -> ConfigError:
    """pip tells who wants what in lines that follow the first one."""
    first = re.search(r"Cannot install (.+?) because", said)
    causes = re.search(r"The conflict is caused by:\n((?:[ \t]+\S.*\n?)+)", said)
    why = "; ".join(line.strip() for line in causes[1].splitlines()) if causes else first[1] if first else ""
    return ConfigError(f"these packages do not go together: {why}", hint="loosen a version")


def _offline(log: str) -> SandboxUnavailable:
    reasons = re.findall(r"connection broken by .*?([^:<>]+)'+: /|(4.. Client Error|5.. Server Error)", log)
    why = ": " + "".join(reasons[-1]).strip(" ()'\"") if reasons else ""
    hint = "check the network, and pip's settings (`pip config list`)"
    return SandboxUnavailable(f"the package index cannot be reached{why}", hint=hint)


def _last_error(said: str) -> str:
    errors = re.findall(r"^ERROR: (.+)", said, re.MULTILINE)
    return (errors or said.splitlines() or ["it said nothing"])[-1][:500]
