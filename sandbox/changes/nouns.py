"""One change, one thing left out, one conflict; and which paths a change may have at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigError
from ..text import printable

__all__ = ["ApplyConflict", "Change", "Conflict", "Phase", "Skipped", "State", "objection", "withheld"]

Kind = Literal["created", "modified", "deleted"]
Phase = Literal["pending", "applying", "applied", "undone"]

MAX_NAME = 255
"""Bytes, the limit of Linux file systems."""
MAX_PATH = 2048
"""Bytes of a relative path; with the folder's own path it must stay below PATH_MAX (4096)."""
MAX_DEPTH = 64

# Places that tools on the host run or trust by themselves, without anybody looking at the change: a program behind
# the wall that writes there runs outside of it later (CVE-2026-25725: hooks in a settings file made by the sandboxed
# side). Code that the user starts knowingly (a script, a Makefile) is not listed: its change is shown and accepted.
_TRUSTED_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn"),  # hooks, and commands in the configuration, run by any `status`
        *(".ssh", ".gnupg", ".aws", ".kube", ".docker"),  # keys, and commands in the configuration
        *(".config", ".local"),  # a home folder's autostart, services and executables
        *(".vscode", ".idea", ".devcontainer"),  # tasks on opening the folder
        *(".claude", ".codex", ".cursor", ".gemini"),  # hooks and permissions of coding agents
        *(".venv", "site-packages", "__pycache__"),  # run in the place of the source that is shown
    }
)
_TRUSTED_FILES = frozenset(
    {
        *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile"),
        *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".cshrc", ".tcshrc", ".login", ".xprofile"),
        *(".xinitrc", ".xsession", ".inputrc", ".pam_environment"),
        *(".envrc", ".mise.toml", ".mcp.json"),  # run on entering or opening the folder
        *(".gitconfig", ".gitmodules", ".vimrc", ".exrc", ".nvimrc", ".gdbinit", ".lldbinit"),
        *(".npmrc", ".pypirc", ".netrc", ".pythonrc", ".pdbrc"),
        *("sitecustomize.py", "usercustomize.py"),  # imported by any interpreter that finds them
    }
)
_TRUSTED_ENDINGS = (".pyc", ".pth")


@dataclass(frozen=True, slots=True)
class State:
    """What stood, or stands, at a path of the user's folder."""

    kind: Literal["file", "dir", "link", "other"]
    """`other`: a device, fifo or socket, or something that cannot be read or lies behind a link."""
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    sha256: str = ""
    """Of a file's content; empty otherwise."""
    target: str = ""
    """Of a symbolic link."""
    late: bool = False
    """Whether the user changed it while the program ran: then what the program made of it is out of date."""

    def same_content(self, other: State | None) -> bool:
        """Whether both hold the same, whatever their times and permissions."""
        mine = (self.kind, self.sha256, self.target)
        return other is not None and mine == (other.kind, other.sha256, other.target)


@dataclass(frozen=True, slots=True)
class Change:
    """One file or folder that the program created, modified or deleted."""

    path: str
    """Relative to the folder, with `/`."""
    kind: Kind
    is_dir: bool = False
    size: int = 0
    """Bytes of the new content."""
    mode: int = 0
    """Permission bits after the change, never with setuid, setgid or sticky."""
    sha256: str = ""
    """Of the new content."""
    content: int | None = None
    """Number of the file in the store that holds the new content."""
    before: State | None = None
    """What stood there when the changes were collected."""

    @property
    def old_size(self) -> int | None:
        """Bytes before the change; None for what was created."""
        return None if self.before is None else self.before.size

    @property
    def after(self) -> State | None:
        """What the change leaves behind."""
        if self.kind == "deleted":
            return None
        return State("dir", mode=self.mode) if self.is_dir else State("file", self.size, 0, self.mode, self.sha256)

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "kind": self.kind, "size": self.size, "is_dir": self.is_dir}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the view that is not taken over, and why. `path` is made printable."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path where the user's folder is no longer as it was when the changes were collected."""

    path: str
    reason: str
    hard: bool = False
    """Whether it stands in the way even with `force`."""


class ApplyConflict(ConfigError):
    """The user's folder has changed meanwhile; nothing was touched."""

    def __init__(self, message: str, conflicts: tuple[Conflict, ...] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.conflicts = conflicts


def withheld(path: str) -> str:
    """Why a change at `path` is kept from the user's folder, or an empty string."""
    # Folded, because `.GIT` is `.git` on a file system that ignores case.
    names = [name.casefold() for name in path.split("/")]
    trusted = (n in _TRUSTED_FOLDERS or n in _TRUSTED_FILES or n.endswith(_TRUSTED_ENDINGS) for n in names)
    return "withheld: tools outside the sandbox run or trust what lies there" if any(trusted) else ""


def objection(path: str) -> str:
    """Why `path` cannot be the path of a change, or an empty string. Paths come from names, or from a manifest."""
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names):
        return "not a path inside the folder"
    if printable(path) != path:
        return "the name holds control characters or is not valid UTF-8"
    size = len(path.encode())
    if size > MAX_PATH or len(names) > MAX_DEPTH or any(len(name.encode()) > MAX_NAME for name in names):
        return "the path is too long or too deep"
    return ""
