"""A conversation: one live session that a person and the agent work in by turns, journaled step by step.

What can be lost: the step that runs when the process is killed. Everything else is rebuilt by doing the journal's steps
again in a fresh session (`rebuild`), which tells what came out differently.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prompts import render
from sandbox import Changes, Checkpoint, Execution, Name, Policy, SandboxUnavailable, Session, open_session
from sandbox.text import clean

from .agent import Agent
from .errors import ConfigError
from .events import Event, Finished
from .journal import Journal, Step, digest_names, digest_run, read_trail
from .saving import Saved, save_script
from .saving import Step as SavedStep
from .store import RunFolder, create_run, find_id, read_json, write_json
from .task import RunResult, Task
from .view import make_view

__all__ = ["Conversation", "Home", "Rebuilt", "create_home", "load_home"]

_FILES, _DEPTH = 2000, 4
"""Files whose size and time are noted, and how deep they may lie."""
_RECAP = 3
"""Steps that the model is told of."""
_LINE = 160
OnStep = Callable[[int, int], None]
"""Called with the number of steps done again and of all steps."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that keeps a conversation.

    sessions/20261122-153000-x7k2/
        session.json    what it was opened with
        journal.jsonl   its steps
        figures/        what was drawn
        changes/        the change set that was left when it was closed, or applied last
    """

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def changes(self) -> Path:
        return RunFolder(self.path).changes

    def about(self) -> dict[str, Any]:
        """What the session was opened with: `folder` and `options`. Raises `ConfigError` when it is damaged."""
        try:
            return read_json(self.path / "session.json") or {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path}/session.json is damaged: {error}") from None

    @property
    def folder(self) -> Path | None:
        """The folder it is about."""
        folder = self.about().get("folder")
        return Path(str(folder)) if folder else None


def sessions_folder() -> Path:
    """Where conversations are kept."""
    from .settings import load_settings

    return load_settings().data_dir / "sessions"


def create_home(folder: Path, **options: Any) -> Home:
    """A fresh home for a conversation about `folder`. Raises `ConfigError` when it cannot be made."""
    home = Home(create_run(sessions_folder()).path)
    write_json(home.path / "session.json", {"folder": str(folder.resolve()), "options": options})
    return home


def load_home(ref: str) -> Home:
    """The conversation with this id, a unique beginning of one, or `last`. Raises `ConfigError` for none."""
    root = sessions_folder()
    names = [p.name for p in root.iterdir() if p.is_dir() and not p.is_symlink()] if root.is_dir() else []
    return Home(root / find_id(ref, sorted(names, reverse=True), "session"))


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of doing the steps again in a fresh session."""

    steps: int
    """Steps that hold now."""
    differences: tuple[str, ...] = ()
    """What could not be rebuilt as it was, in words."""


class Conversation:
    """A live session over the folder of `home`, for one thread; `cancel` may be called from any.

    Nothing is in the session that the journal does not tell of: `rebuild` does the steps again where the journal has
    some. Raises `ConfigError` when it is open elsewhere, `SandboxUnavailable`.
    """

    def __init__(self, home: Home, agent: Agent, policy: Policy, kind: str | None = None) -> None:
        self.home = home
        view = make_view(Task("", home.folder))
        self.folder, self.note = view.folder, view.note
        self._agent, self._policy, self._kind = agent, policy, kind
        self._journal = Journal(home.journal)
        self._mark: Checkpoint | None = None
        self._lost: tuple[str, ...] = ()
        self._applied: dict[str, str] = {}
        self._stopped = threading.Event()
        try:
            self._trail = read_trail(home.journal)
            self._session = self._open()
        except BaseException:
            self._journal.close()
            raise
        if not self._trail.last:
            self._write_files("opened")

    # --- what it is ---

    @property
    def session(self) -> Session:
        """The live session. To execute in it goes past the journal."""
        return self._session

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that hold, in order: what the session came about by."""
        return tuple(self._trail.done)

    @property
    def undone(self) -> int:
        """Steps that can be redone."""
        return len(self._trail.undone)

    @property
    def branch_start(self) -> int | None:
        """How many of the steps were there before the branch that is open; None without one."""
        return self._trail.branch

    def names(self) -> tuple[Name, ...]:
        """What the program has defined."""
        return self._session.names()

    def changes(self) -> Changes:
        """What the session did to its view of the folder, as long as somebody refers to it."""
        return self._session.changes()

    # --- steps ---

    def run(self, code: str) -> Execution:
        """Run Python as one step. What fails leaves everything as it was. Raises `SandboxUnavailable` when the session
        is lost: then `rebuild` leads on."""
        execution = self._session.execute(code)
        if execution.ok:
            self._add(code, execution)
        return execution

    def ask(self, text: str) -> Generator[Event]:
        """Have the agent solve a task in the session; the program that passes is one step. Events and errors as in
        `Agent.stream`."""
        with closing(self._agent.stream(text, session=self._session, recap=self._recap())) as events:
            for event in events:
                if isinstance(event, Finished):
                    self._take(text, event.result)
                yield event
        if self._session.undone != len(
            self._trail.undone
        ):  # where no branch can grow, trying is a step that was undone
            self._trail.undone.clear()

    def undo(self, n: int = 1) -> None:
        """Be where the session was `n` steps ago. Raises `ConfigError` when so many cannot be undone."""
        replace(self._trail, done=list(self._trail.done), undone=[]).undo(n)  # refuses before anything is done
        self._session.undo(n)
        self._trail.undo(n)
        self._journal.write("undo", n=n)

    def redo(self, n: int = 1) -> None:
        """Take back the undoing of `n` steps. Raises `ConfigError`."""
        replace(self._trail, done=[], undone=list(self._trail.undone)).redo(n)
        self._session.redo(n)
        self._trail.redo(n)
        self._journal.write("redo", n=n)

    def branch(self) -> None:
        """Begin a branch: what follows can be dropped as a whole. Raises `ConfigError` inside of one."""
        if self._trail.branch is not None:
            raise ConfigError("there is a branch already", hint="`:adopt` keeps what was done in it, `:drop` does not")
        self._mark = self._session.checkpoint()
        self._trail.branch = len(self._trail.done)
        self._journal.write("branch")

    def adopt(self) -> None:
        """End the branch and keep what was done in it. Raises `ConfigError` without one."""
        self._trail.leave()
        self._mark = None
        self._journal.write("adopt")

    def drop(self) -> int:
        """End the branch as if it had never been; returns how many steps it had. Raises `ConfigError` without one."""
        if self._mark is not None:
            self._session.rollback(self._mark)
        dropped = self._trail.drop()
        self._mark = None
        self._journal.write("drop")
        return len(dropped)

    def cancel(self) -> None:
        """Stop what runs, the model as well as the program."""
        self._stopped.set()
        self._agent.cancel()
        self._session.cancel()

    # --- files ---

    def files(self) -> list[tuple[str, str]]:
        """The files of the view with ` `, `+` or `~`, and those that are gone with `-`, by path."""
        changed = {c.path: _MARKS[c.kind] for c in self.changes() if not c.is_dir}
        seen = {path: " " for path, _ in _files(self.folder)} if self.folder else {}
        return sorted(((mark, path) for path, mark in {**seen, **changed}.items()), key=lambda entry: entry[1])

    def apply(self) -> Changes:
        """Write the changes to the folder, and return them. Raises `ConfigError` when the folder was changed by
        somebody else meanwhile."""
        changes = self._keep(self.changes())
        if changes.folder is None:
            raise ConfigError("the session sees no folder of yours: there is nothing to write to", hint=self.note)
        # What was applied before was written while the session was open, but not by somebody else.
        ours = {c.path for c in changes if c.before and self._applied.get(c.path) == c.before.sha256}
        changes.apply(force=all(conflict.path in ours for conflict in changes.conflicts()))
        self._applied |= {c.path: c.sha256 for c in changes}
        self._write_files("applied")
        return changes

    def save(self, target: Path, *, force: bool = False) -> Saved:
        """Compile the steps into a script that was seen to do the same. Errors as in `saving.save_script`."""
        steps = [SavedStep.of(step.code, step.execution) for step in self._trail.done if step.execution is not None]
        task = self._trail.done[-1].task if steps else ""
        return save_script(
            steps,
            target=target,
            folder=self.folder,
            changes=self.changes(),
            applied=self._applied_sets(),
            task=task,
            policy=self._policy,
            kind=self._kind,
            force=force,
        )

    def leave(self) -> Changes:
        """Close the session; the changes that were not applied stay in its home and are returned. A session that
        never had a step leaves no home."""
        try:
            return self._keep(self.changes())
        finally:
            self.close()
            if not self._trail.last:
                shutil.rmtree(self.home.path, ignore_errors=True)

    def close(self) -> None:
        """End the session; its journal stays."""
        self._journal.close()
        self._session.close()

    # --- a fresh session ---

    def rebuild(self, on_step: OnStep = lambda done, total: None) -> Rebuilt:
        """Do the steps that hold again in a fresh session, and tell what came out differently.

        A step that fails is left out. Raises `SandboxUnavailable`.
        """
        trail, self._mark = self._trail, None
        total, again = len(trail.done), list[Step]()
        self._stopped.clear()
        self._session.close()
        self._session = self._open()
        differences = list(self._altered())
        for number, step in enumerate(trail.done):
            on_step(number, total)
            if number == trail.branch:
                self._mark = self._session.checkpoint()
            execution = self._session.execute(step.code)
            if self._stopped.is_set():
                raise ConfigError("the session was not rebuilt", hint=f"`sandsmith repl --resume {self.home.id}` does")
            differences += _compared(step, execution)
            if execution.ok:
                again.append(replace(step, execution=execution))
        if trail.branch == total:
            self._mark = self._session.checkpoint()
        differences += self._other_names(trail.done[-1]) if again else ()
        trail.keep(step.number for step in again)
        trail.done = again
        self._journal.write("resumed", kept=[step.number for step in again])
        self._lost = tuple(differences)
        return Rebuilt(len(again), self._lost)

    # --- small ---

    def _open(self) -> Session:
        return open_session(self._kind, workspace=self.folder, policy=self._policy)

    def _add(self, code: str, execution: Execution, **more: str) -> None:
        names: dict[str, str] = {}
        with suppress(SandboxUnavailable):  # a session lost after its step is found out by the next one
            names = digest_names(self._session.names())
        step = Step(
            self._trail.last + 1, code, execution.status, digest_run(execution), names, **more, execution=execution
        )
        self._trail.add(step)
        self._journal.write("step", **step.to_json())
        self._lost = ()

    def _take(self, text: str, result: RunResult) -> None:
        """A task that was solved in the session is a step of it."""
        if result.ok and result.program and result.execution:
            self._add(result.program.code, result.execution, task=text, run=result.run_id, answer=result.answer)

    def _recap(self) -> str:
        """What the model is told of the last steps, and of what was lost."""
        told = [_told(step) for step in self._trail.done[-_RECAP:]]
        recap = [render("recap", steps="\n".join(told))] if told else []
        lost = [render("lost", differences="\n".join(f"- {d}" for d in self._lost))] if self._lost else []
        return "\n\n".join(recap + lost)

    def _keep(self, changes: Changes) -> Changes:
        """Keep the change set in the home, in the place of the one before, which is put aside when it was applied."""
        kept = self.home.changes
        applied = self._applied_sets()
        if applied and applied[-1].store == kept:
            kept.rename(self.home.path / f"applied-{len(applied):04}")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(changes.store, kept)
        return Changes.load(kept)

    def _applied_sets(self) -> list[Changes]:
        """What was written to the folder since the session began, in order."""
        stores = [*sorted(self.home.path.glob("applied-*")), self.home.changes]
        sets = [Changes.load(store) for store in stores if (store / "changes.json").exists()]
        return [changes for changes in sets if changes.state == "applied"]

    def _write_files(self, entry: str) -> None:
        files = dict(_files(self.folder)) if self.folder else {}
        self._trail.take({"entry": entry, "files": files})
        self._journal.write(entry, files=files)

    def _altered(self) -> Iterator[str]:
        """What happened to the folder since its files were noted."""
        now = dict(_files(self.folder)) if self.folder else {}
        changed = [path for path, stamp in self._trail.files.items() if now.get(path) != stamp]
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            yield f"changed or gone in the folder since: {', '.join(changed[:5])}{more}"
        if self._trail.applied:
            yield "changes were written to the folder, so the steps ran on top of them"

    def _other_names(self, last: Step) -> Iterator[str]:
        """Names that do not hold what they held after the step `last`."""
        now = digest_names(self._session.names())
        other = [name for name, digest in last.names.items() if name in now and now[name] != digest]
        gone = [name for name in last.names if name not in now]
        if other:
            yield f"names that hold something else than before: {', '.join(other)}"
        if gone:
            yield f"names that are gone: {', '.join(gone)}"


_MARKS = {"created": "+", "modified": "~", "deleted": "-"}


def _compared(step: Step, execution: Execution) -> Iterator[str]:
    """What came out of a step differently."""
    what = f"step {step.number} ({_line(step.task or step.code)})"
    if not execution.ok:
        error = f": {execution.error.type}: {execution.error.message}" if execution.error else ""
        yield _line(f"{what} is left out, it ended as {execution.status}{error}", 300)
    elif digest_run(execution) != step.digest:
        yield f"{what} came out differently"


def _told(step: Step) -> str:
    if step.task:
        return f"- task: {_line(step.task)}" + (f" -> {_line(step.answer, 80)}" if step.answer else "")
    return f"- code: {_line(step.code, 80)}"


def _line(text: str, width: int = _LINE) -> str:
    """The beginning of a text, made harmless, in a line."""
    flat = " ".join(clean(text, 8 * width).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _files(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """The first files below `folder`, but for hidden ones, with their stamps."""
    left = _FILES
    for parent, folders, names in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if depth < _DEPTH else []
        for name in sorted(n for n in names if not n.startswith("."))[:left]:
            path = Path(parent, name)
            with suppress(OSError):
                info = path.lstat()
                yield str(path.relative_to(folder)), [info.st_size, info.st_mtime_ns]
        left -= len(names)
        if left <= 0:
            return
