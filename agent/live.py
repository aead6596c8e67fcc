"""A live session that a task goes on in: its programs are tried in branches, and the first that passes is adopted."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from prompts import render
from sandbox import Branch, Change, Checkpoint, Name, Session

from .errors import ConfigError
from .facts import Facts, count_tokens
from .opening import task_comment
from .race import Needless

__all__ = ["Live", "describe_session", "live_in"]

_OPENING_NAMES = 4
_LOOK = 0.1
"""Seconds between two looks at whether the task is over."""
_LANES = 2
"""Programs that are tried at a time, on as many processors; each may need a second branch, for what mends it."""


@dataclass(slots=True)
class Live:
    """A session with what it held when the task began. A `Sandbox` whose sessions are branches, of which two are in use
    at a time; where none can grow it is the session itself, which goes back when it is left."""

    session: Session
    names: tuple[Name, ...]
    files: tuple[Change, ...]
    recap: str = ""
    """What was done in it before, in words."""
    is_over: Callable[[], bool] = lambda: False
    """Whether nobody needs another branch any more, as when a program has passed."""
    _spare: list[Branch] = field(default_factory=list["Branch"], init=False)
    _used: dict[int, Branch | None] = field(default_factory=dict[int, "Branch | None"], init=False)
    """What is open, by `id`; None for the session itself, which nobody else can have then."""
    _mark: Checkpoint | None = field(default=None, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)

    @property
    def lanes(self) -> int:
        """How many programs can be tried at a time."""
        in_place = self.session.receipt.tier == "landlock" or None in self._used.values()
        return 1 if in_place else _LANES

    def open(self) -> Session:
        """Where a program can be tried. Raises `ConfigError` when the session cannot go back either.

        Branches grow together, since none can while there are others: who finds none left waits for the end of those,
        and gets `Needless` once the task is over.
        """
        with self._change:
            while self._used and not self._spare:
                if self.is_over():
                    raise Needless
                self._change.wait(_LOOK)
            try:
                self._spare = self._spare or [*self.session.branch(2 * self.lanes if self.lanes > 1 else 1)]
            except ConfigError:  # there are no namespaces, or no more of them
                self._mark = self.session.checkpoint()
                self._used[id(self.session)] = None
                return self.session
            branch = self._spare.pop()
            self._used[id(branch)] = branch
            return branch

    def adopt(self, tried: Session) -> None:
        """Have the session go on from what was opened."""
        with self._change:
            branch = self._used.pop(id(tried), None)
            self._mark = None
            if branch is not None:
                branch.adopt()
                self._spare.clear()

    def leave(self, tried: Session) -> None:
        """Let go of what was opened, unless it was adopted."""
        with self._change:
            branch = self._used.pop(id(tried), None)
            if branch is not None:
                branch.close()
            elif tried is self.session and self._mark is not None:
                self.session.rollback(self._mark)
                self._mark = None
            self._change.notify_all()

    def close(self) -> None:
        """Leave the session as it is."""
        with self._change:
            for branch in self._spare:
                branch.close()
            self._spare.clear()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def named_in(self, text: str) -> list[Name]:
        """The names that the task `text` is about: it says them, or what they hold, as the columns of a table."""
        words = set(re.findall(r"\w+", text))
        return [name for name in self.names if name.type != "module" and words & {name.name, *_parts(name)}]

    def narrow(self, facts: Facts, text: str) -> Facts:
        """`facts` for a task about names of the session: of the files only those that `text` says. Told of a file, a
        small model reads it, whatever there is already."""
        if not self.named_in(text):
            return facts
        return replace(facts, files=tuple(f for f in facts.files if f.name in text or f.path in text), more=0)

    def takes(self, opening: str) -> bool:
        """Whether a program that begins with `opening` leaves the names of the session as they are."""
        return not {name.name for name in self.names} & _bound(opening)

    def opening(self, text: str) -> str:
        """A comment for a program to begin with: what a small model reads last, it heeds. Empty when the task is not
        about the session."""
        lines = [f"# There is already {_line(name)}\n" for name in self.named_in(text)[-_OPENING_NAMES:]]
        return "".join([*lines, task_comment(text)]) if lines else ""


def live_in(session: Session, recap: str = "") -> Live:
    """What `session` holds now. Raises `SandboxUnavailable`."""
    return Live(session, session.names(), session.changes().items, recap)


def describe_session(live: Live, text: str, budget_tokens: int) -> str:
    """The session for the prompt of the task `text`, in about `budget_tokens`: its names, those in the text first and
    then the newest, and what was done before. Empty for a session that holds nothing."""
    lines = list(_within((f"- {_line(name)}" for name in _ordered(live.names, text)), budget_tokens))
    left = len(live.names) - len(lines)
    lines += [f"and {left} more names"] if left else []
    names = render("session", names="\n".join(lines)) if lines else ""
    return "\n\n".join(filter(None, (live.recap, names)))


def _ordered(names: Sequence[Name], text: str) -> list[Name]:
    words = set(re.findall(r"\w+", text))
    newest = names[::-1]
    return sorted(newest, key=lambda name: (name.name not in words, name.type == "module"))


def _line(name: Name) -> str:
    """A name in a line, as in `df: DataFrame, 6 rows`."""
    return " ".join(f"{name.name}: {name.type}{f', {name.preview}' if name.preview else ''}".split())


def _parts(name: Name) -> list[str]:
    """Columns, keys or texts that are seen of a name."""
    return re.findall(r"'(\w{2,})'", name.preview)


def _within(lines: Iterable[str], budget: int) -> Iterable[str]:
    """The first lines that fit."""
    for line in lines:
        budget -= count_tokens(line)
        if budget < 0:
            return
        yield line


def _bound(code: str) -> set[str]:
    """Names that `code` binds, other than by imports."""
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and not _is_read(node)}


def _is_read(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)
