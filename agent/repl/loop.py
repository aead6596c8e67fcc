"""Reads inputs, has the conversation do them, shows what came of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from agent.conversation import Conversation
from agent.errors import ConfigError, Fault, ModelRejected, ModelUnavailable, SandboxUnavailable
from agent.events import Event, Finished, Tokens
from agent.task import RunResult
from sandbox import Changes

from ..cli.display import open_display
from ..cli.effects import print_lines
from ..cli.lines import Line, network_hint
from ..cli.pump import Pump
from ..cli.terminal import note, say
from . import commands
from .figures import show_figures
from .prompt import Reader
from .rule import Entry
from .show import running, show_code, show_execution, show_rebuilt

__all__ = ["Repl"]

T = TypeVar("T")
_PATHS = 500


class Repl:
    """One conversation and what is shown of it."""

    def __init__(self, talk: Conversation, *, verbose: bool = False) -> None:
        self.talk = talk
        self.verbose = verbose
        self.failed = False
        """Whether an input came to nothing."""
        self.over = False
        self.events: list[Event] = []
        """Of the last task."""
        self.names: Collection[str] = ()

    @property
    def branched(self) -> bool:
        return self.talk.branch_start is not None

    def paths(self) -> Iterable[str]:
        """What lies in the folder, for completion."""
        with suppress(OSError):
            return sorted(path.name for path in self.talk.folder.iterdir())[:_PATHS] if self.talk.folder else ()
        return ()

    def run(self, reader: Reader) -> None:
        """Do every input up to the last, then close the session. Raises `SandboxUnavailable` when no session can be
        had any more."""
        self.look()
        while not self.over and (entry := reader.read()) is not None:
            try:
                self.failed |= not self._do(entry)
                self.look()
            except KeyboardInterrupt:  # what takes long is stopped by `_stoppable`, or is a command
                note("interrupted")
                self.failed = True
        self._leave()

    def rebuild(self) -> None:
        """Do the steps of the journal again in a fresh session."""
        found = list(self._stoppable(lambda: (self.talk.rebuild(),)))
        if not found:  # half a session is none
            raise SystemExit(130)
        show_rebuilt(found[0])

    def look(self) -> None:
        """Learn which names there are now."""
        with suppress(SandboxUnavailable):  # the next step finds that out, too
            self.names = {name.name for name in self.talk.names()}

    # --- one input ---

    def _do(self, entry: Entry) -> bool:
        """Whether it came to something."""
        try:
            match entry.kind:
                case "python":
                    return self._python(entry.text)
                case "task":
                    return self._task(entry.text)
                case "command":
                    return commands.run(self, entry.text)
                case "nothing":
                    return True
        except (ConfigError, ModelUnavailable, ModelRejected) as error:
            return _complain(error)
        except SandboxUnavailable as error:
            _complain(error)
            self.rebuild()
            return False

    def _python(self, code: str) -> bool:
        with running():
            executions = list(self._stoppable(lambda: (self.talk.run(code),)))
        for execution in executions:
            show_execution(execution)
            show_figures(execution.displays, self.talk.home.figures)
        return bool(executions) and all(execution.ok for execution in executions)

    def _task(self, text: str) -> bool:
        self.events = []
        with open_display(verbose=self.verbose) as display:
            for event in self._stoppable(lambda: self.talk.ask(text)):
                display.show(event)
                if not isinstance(event, Tokens):
                    self.events.append(event)
        result = next((e.result for e in reversed(self.events) if isinstance(e, Finished)), None)
        return self._took(result or RunResult("interrupted"))

    def _took(self, result: RunResult) -> bool:
        """What became of a task."""
        if not result.ok:
            if hint := network_hint(result.execution) if result.execution else "":
                note(hint)
            note("the session goes on: names and files are as before; `:trace` shows what was tried")
            return False
        if result.program is not None:
            show_code(result.program.code)
        say(result.answer)
        if result.execution is not None:
            show_figures(result.execution.displays, self.talk.home.figures)
        return True

    def _stoppable(self, work: Callable[[], Iterable[T]]) -> Iterator[T]:
        """The items of `work`, which Ctrl-C stops; a request to end the process ends it afterwards."""
        pump = Pump(work, self.talk.cancel, patient=True)
        yield from pump
        if pump.signal == signal.SIGTERM:
            raise SystemExit(pump.exit_code)

    def _leave(self) -> None:
        """Close the session, and tell what it leaves behind."""
        try:
            self._announce(self.talk.leave())
        except SandboxUnavailable as error:  # lost, but for the journal
            _complain(error)
        if self.talk.steps:
            note(f"`sandsmith repl --resume {self.talk.home.id}` goes on from here")

    def _announce(self, changes: Changes) -> None:
        if changes and changes.folder is not None:
            note(f"changes that were not written to {changes.folder}:")
            print_lines(Line(f"  {line}") for line in changes.summary())


def _complain(error: Fault) -> bool:
    note(f"sandsmith: {error}")
    if error.hint:
        note(f"hint: {error.hint}")
    return False
