"""Where inputs come from: a prompt on a terminal, or the lines of a pipe."""

from __future__ import annotations

import builtins
import io
import keyword
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .rule import Entry, blocks, is_block, is_unfinished, read_entry, unforced

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.lexers import Lexer

__all__ = ["Known", "Pipe", "Reader", "Terminal", "choices", "ends_here", "next_indent"]

_INDENT = "    "
_WIDTH = 7
_WORD = re.compile(r"[\w./-]*\Z")


class Known(Protocol):
    """What the prompt has to know of the session."""

    @property
    def names(self) -> Collection[str]: ...

    @property
    def branched(self) -> bool: ...

    def paths(self) -> Iterable[str]: ...


class Reader(Protocol):
    def read(self) -> Entry | None:
        """The next input, None at the end."""
        ...


class Pipe:
    """Inputs from a stream without a terminal: one a line, or a block of Python."""

    def __init__(self, known: Known) -> None:
        self._known = known
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace")
        self._blocks: Iterator[str] = blocks(lines)

    def read(self) -> Entry | None:
        text = next(self._blocks, None)
        return None if text is None else read_entry(text, self._known.names)


class Terminal:
    """A prompt with history, completion and several lines. It says what the input is while it is typed.

    Enter runs what is whole and goes on with what is not; Alt-Enter runs in any case, Ctrl-O goes on in any case.
    """

    def __init__(self, known: Known, commands: Collection[str], history: Path) -> None:
        self._known = known
        self._session = _session(known, commands, history, self._prompt)

    def read(self) -> Entry | None:
        while True:
            try:
                return read_entry(self._session.prompt(), self._known.names)
            except KeyboardInterrupt:  # Ctrl-C: forget what was typed
                continue
            except EOFError:
                return None

    def _prompt(self) -> StyleAndTextTuples:
        from prompt_toolkit.application import get_app

        kind = read_entry(get_app().current_buffer.text, self._known.names).kind
        label = "" if kind == "nothing" else kind
        branch = "branch " if self._known.branched else ""
        return [("ansiyellow", branch), (_COLOURS[kind], f"{label:>{_WIDTH}}"), ("", "> ")]


_COLOURS = {"python": "ansiblue bold", "task": "ansigreen bold", "command": "ansimagenta bold", "nothing": ""}


def ends_here(text: str, names: Collection[str] = ()) -> bool:
    """Whether Enter at the end of `text` runs it: Python that is whole, a block after an empty line, anything else."""
    entry = read_entry(text, names)
    if entry.kind != "python":
        return True
    code = unforced(text)
    if is_unfinished(code):
        return False
    return not is_block(code) or "\n" not in code or not code.rpartition("\n")[2].strip()


def next_indent(line: str) -> str:
    """The indentation of the line after `line`."""
    indent = line[: len(line) - len(line.lstrip())]
    return indent + _INDENT if line.rstrip().endswith(":") else indent


def _session(
    known: Known, commands: Collection[str], history: Path, prompt: Callable[[], StyleAndTextTuples]
) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.lexers import DynamicLexer
    from prompt_toolkit.output import create_output

    history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(history, os.O_WRONLY | os.O_CREAT, 0o600))
    session: PromptSession[str] = PromptSession(
        prompt,
        multiline=True,
        prompt_continuation=lambda width, line, soft: "... ".rjust(width),
        key_bindings=_keys(known),
        completer=_completer(known, commands),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
        history=FileHistory(str(history)),
        lexer=DynamicLexer(lambda: _lexer(session, known)),
        output=create_output(stdout=sys.stderr),
    )
    return session


def _lexer(session: PromptSession[str], known: Known) -> Lexer | None:
    """Python is coloured, words are not."""
    from prompt_toolkit.lexers import PygmentsLexer  # rich brings pygments

    kind = read_entry(session.default_buffer.text, known.names).kind
    return PygmentsLexer.from_filename("input.py") if kind == "python" else None


def _keys(known: Known) -> KeyBindings:
    from prompt_toolkit.filters import is_searching
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        document = buffer.document
        if document.text_after_cursor.strip() or not ends_here(buffer.text, known.names):
            buffer.insert_text("\n" + next_indent(document.current_line_before_cursor))
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~is_searching)
    def _run(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-o", filter=~is_searching)
    def _line(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.insert_text("\n" + next_indent(buffer.document.current_line_before_cursor))

    @keys.add("tab", filter=~is_searching)
    def _tab(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if not buffer.document.current_line_before_cursor.strip():
            buffer.insert_text(_INDENT)
        elif buffer.complete_state:
            buffer.complete_next()
        else:
            buffer.start_completion(insert_common_part=True)

    _ = (_enter, _run, _line, _tab)
    return keys


def _completer(known: Known, commands: Collection[str]) -> Completer:
    from prompt_toolkit.completion import Completer, Completion

    class Names(Completer):
        """Commands after a colon; else names of the session, files of the folder, and what Python has."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            before = document.text_before_cursor
            match = _WORD.search(before)
            word = match[0] if match else ""
            for choice in dict.fromkeys(choices(before, word, known, commands)):
                if choice.startswith(word) and choice != word:
                    yield Completion(choice, -len(word))

    return Names()


def choices(before: str, word: str, known: Known, commands: Collection[str]) -> Iterator[str]:
    """What could stand where `word` is typed, after the text `before`, which ends with it."""
    if before.lstrip() == f":{word}":
        yield from commands
        return
    yield from sorted(known.names)
    yield from known.paths()
    if word and "/" not in word:
        yield from keyword.kwlist
        yield from (name for name in dir(builtins) if not name.startswith("_"))
