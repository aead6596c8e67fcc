"""Several calls at once to a model in a child process, over the real protocol, with an engine that only plays one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Event
from typing import IO, Any

import pytest
from loopback import wait_until

from agent.errors import ModelUnavailable
from agent.models import process
from agent.models.base import Completion, Message
from agent.models.process import ModelProcess
from agent.models.share import Share

ENGINE = """
    import sys
    sys.path[:] = {path!r}
    from agent.models import llama, serve
    from agent.models.base import Completion, ModelProfile

    class Engine:
        '''Writes what it was asked for, again and again.'''

        def __init__(self, path, **options):
            self.profile = ModelProfile("played")

        def draw(self, messages, *, on_piece, cancelled, max_tokens, prefill, **options):
            text = prefill
            for number in range(max_tokens):
                if cancelled.wait(0.02):
                    return [Completion(text, "cancelled")]
                text += messages[-1].content
                on_piece(0, messages[-1].content)
            on_piece(0, "")
            return [Completion(text)]

        def count_tokens(self, messages):
            return len(messages)

    llama.LlamaModel = Engine
    serve.main({fd}, {parent})
"""
LONG = 100_000


class Stage:
    """Models whose children play an engine."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.children: list[subprocess.Popen[bytes]] = []
        self.models: list[ModelProcess] = []

    def open(self, parallel: int) -> ModelProcess:
        self.models.append(ModelProcess(self.file, parallel=parallel))
        return self.models[-1]

    def spawn(self, theirs: Any, folder: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        code = textwrap.dedent(ENGINE).format(path=sys.path, fd=theirs.fileno(), parent=os.getpid())
        command = [sys.executable, "-c", code]
        self.children.append(subprocess.Popen(command, stderr=errors, pass_fds=[theirs.fileno()]))
        return self.children[-1]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    file = tmp_path / "played.gguf"
    file.write_bytes(b"GGUF")
    stage = Stage(file)
    monkeypatch.setattr(process, "_spawn", stage.spawn)
    yield stage
    for model in stage.models:
        model.close()


class Asked:
    """A call in a thread of its own: its reply or its error."""

    def __init__(self, model: Any, what: str, tokens: int, heard: Callable[[], object] = lambda: None) -> None:
        self.begun = Event()
        self.reply: Completion | None = None
        self.error: Exception | None = None
        self._call = (model, what, tokens, heard)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def end(self) -> Asked:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self

    @property
    def told(self) -> tuple[str, str]:
        assert self.reply is not None, self.error
        return self.reply.finish_reason, self.reply.text

    def _ask(self) -> None:
        model, what, tokens, heard = self._call

        def on_token(piece: str) -> None:
            if not self.begun.is_set():
                self.begun.set()
                heard()

        try:
            [self.reply] = model.complete([Message("user", what)], max_tokens=tokens, on_token=on_token)
        except Exception as error:
            self.error = error


def test_calls_are_answered_at_once_each_with_its_own(stage: Stage) -> None:
    model, both = stage.open(2), Barrier(2)
    calls = [Asked(model, what, 9, lambda: both.wait(30)) for what in "ab"]
    assert [call.end().told for call in calls] == [("stop", "a" * 9), ("stop", "b" * 9)]


def test_more_calls_than_turns_wait(stage: Stage) -> None:
    model, go_on = stage.open(2), Event()
    both = [Asked(model, what, 3, lambda: go_on.wait(30)) for what in "ab"]
    assert all(call.begun.wait(30) for call in both)
    third = Asked(model, "c", 3)
    assert wait_until(lambda: len(model._turns.waiting) == 1)
    assert not third.begun.wait(0.3)
    go_on.set()
    assert third.end().told == ("stop", "ccc")
    assert [call.end().told[0] for call in both] == ["stop", "stop"]


def test_one_is_cancelled_and_the_others_go_on(stage: Stage) -> None:
    model = stage.open(2)
    shares, go_on = [Share(model) for _ in "abc"], Event()
    long, other = Asked(shares[0], "a", LONG), Asked(shares[1], "b", 60, lambda: go_on.wait(30))
    assert long.begun.wait(30) and other.begun.wait(30)
    waiting = Asked(shares[2], "c", 2)
    assert wait_until(lambda: len(model._turns.waiting) == 1)
    shares[2].cancel()
    assert waiting.end().told == ("cancelled", "")
    shares[0].cancel()
    assert long.end().told[0] == "cancelled"
    go_on.set()
    assert other.end().told == ("stop", "b" * 60)
    assert Asked(shares[0], "a", 2).end().told == ("stop", "aa")


def test_tokens_are_counted_while_replies_are_written(stage: Stage) -> None:
    model = stage.open(1)
    call = Asked(model, "a", LONG)
    assert call.begun.wait(30)
    assert model.count_tokens([Message("user", "x")] * 5) == 5
    model.cancel()
    assert call.end().told[0] == "cancelled"


def test_a_child_that_dies_fails_all_calls_and_is_replaced_once(stage: Stage) -> None:
    model = stage.open(3)
    calls = [Asked(model, what, LONG) for what in "abc"]
    assert all(call.begun.wait(30) for call in calls)
    os.kill(stage.children[0].pid, signal.SIGKILL)
    for call in calls:
        assert isinstance(call.end().error, ModelUnavailable) and "died (signal 9)" in str(call.error)
    again = [Asked(model, what, 2) for what in "abc"]
    assert [call.end().told for call in again] == [("stop", what * 2) for what in "abc"]
    assert len(stage.children) == 2


def test_calls_that_find_a_dead_child_replace_it_once(stage: Stage) -> None:
    model = stage.open(3)
    os.kill(stage.children[0].pid, signal.SIGKILL)
    calls = [Asked(model, what, 2) for what in "abc"]
    assert [call.end().told for call in calls] == [("stop", what * 2) for what in "abc"]
    assert len(stage.children) == 2


def test_closing_ends_all_calls_with_what_they_have(stage: Stage) -> None:
    model = stage.open(2)
    calls = [Asked(model, what, LONG) for what in "ab"]
    assert all(call.begun.wait(30) for call in calls)
    waiting = Asked(model, "c", 2)
    assert wait_until(lambda: len(model._turns.waiting) == 1)
    model.close()
    assert [call.end().told[0] for call in (*calls, waiting)] == ["cancelled"] * 3
    assert stage.children[0].wait(30) == -signal.SIGKILL
    assert isinstance(Asked(model, "d", 2).end().error, ModelUnavailable)
