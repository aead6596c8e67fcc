"""A model that says what it was told to say: for tests, and to replay a trace without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

from agent.errors import ConfigError, ModelUnavailable

from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, StopGate

__all__ = ["Call", "ScriptedModel"]


@dataclass(frozen=True, slots=True)
class Call:
    """What one `complete` was asked for."""

    messages: tuple[Message, ...]
    n: int
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None
    prefill: str


class ScriptedModel:
    """Gives `replies` in order, from a sequence or from a JSON file.

    The file holds a list of strings, or an object with that list as `replies` and any of the other arguments: with
    `{"parameters": 70, "prefill": false, "replies": [...]}` it is driven as a big hosted model is.

    A token is a word with the space before it. A reply that does not begin with the prefill's first line is put after
    the prefill; one that does is a whole reply. `pause`: seconds before each token. `calls` holds what was asked.
    Raises `ModelUnavailable` when no reply is left.
    """

    def __init__(
        self,
        replies: Sequence[str] | Path,
        *,
        name: str = "scripted",
        parameters: float | None = None,
        context_tokens: int = 8192,
        prefill: bool = True,
        lanes: int = 1,
        pause: float = 0.0,
    ) -> None:
        said: dict[str, Any] = _read_script(replies) if isinstance(replies, Path) else {"replies": list(replies)}
        self._replies: list[str] = said.pop("replies")
        self._pause: float = said.pop("pause", pause)
        given: dict[str, Any] = {
            "name": name,
            "parameters": parameters,
            "context_tokens": context_tokens,
            "prefill": prefill,
            "lanes": lanes,
        }
        self._profile = ModelProfile(**{**given, **said})
        self._calls = Calls()
        self._next = 0
        self._taking = Lock()
        self.calls: list[Call] = []

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    def complete(
        self,
        messages: Sequence[Message],
        *,
        n: int = 1,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int = 1024,
        stop: Sequence[str] = (),
        seed: int | None = None,
        prefill: str = "",
        on_token: OnToken | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Completion]:
        """See `Model.complete`."""
        stop = tuple(stop)
        self.calls.append(Call(tuple(messages), n, temperature, top_p, top_k, max_tokens, stop, seed, prefill))
        begun = prefill if self._profile.prefill else ""
        usage = Usage(prompt_tokens=self.count_tokens(messages))
        drawn: list[Completion] = []
        with self._calls.begin() as cancelled:
            for _ in range(n):
                said = self._say(self._take(), begun, stop, max_tokens, cancelled, on_token)
                drawn.append(Completion(said.text, said.finish_reason, said.usage + usage))
                if cancelled.is_set():
                    break
        return drawn

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The words of the messages."""
        return sum(len(m.content.split()) for m in messages)

    def cancel(self) -> None:
        self._calls.cancel()

    def close(self) -> None:
        """Nothing to free."""

    def _take(self) -> str:
        with self._taking:
            number, self._next = self._next, min(self._next + 1, len(self._replies))
        if number == len(self._replies):
            raise ModelUnavailable(
                f"the script has {number} replies and all were given", hint="add replies to the script"
            )
        return self._replies[number]

    def _say(
        self, reply: str, begun: str, stop: Sequence[str], max_tokens: int, cancelled: Event, on_token: OnToken | None
    ) -> Completion:
        first = "".join(begun.splitlines(keepends=True)[:1])
        begun = first if reply.startswith(first) and not reply.startswith(begun) else begun
        text, tokens = begun, 0
        gate = StopGate(stop)
        finish: FinishReason = "stop"
        for token in _tokens(reply.removeprefix(begun)):
            if cancelled.wait(self._pause) if self._pause else cancelled.is_set():
                finish = "cancelled"
                break
            if tokens == max_tokens:
                finish = "length"
                break
            tokens += 1
            text += _tell(gate.feed(token), on_token)
            if gate.closed:
                break
        text += _tell(gate.flush(), on_token)
        return Completion(text, finish, Usage(completion_tokens=tokens))


def _tell(piece: str, on_token: OnToken | None) -> str:
    if piece and on_token is not None:
        on_token(piece)
    return piece


def _tokens(text: str) -> Iterator[str]:
    return (m.group() for m in re.finditer(r"\s*\S+|\s+\Z", text))


_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "parameters": (int, float),
    "context_tokens": (int,),
    "prefill": (bool,),
    "pause": (int, float),
}
"""What a file may say beside the replies."""


def _read_script(file: Path) -> dict[str, Any]:
    """The arguments that the file holds, `replies` among them."""
    try:
        data: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"cannot read the script {file}: {e}", hint="it holds a JSON list of strings") from e
    said: dict[str, Any] = data if isinstance(data, dict) else {"replies": data}  # pyright: ignore[reportUnknownVariableType]
    replies: Any = said.get("replies")
    if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):  # pyright: ignore[reportUnknownVariableType]
        raise ConfigError(f"the script {file} holds something else than replies", hint="write a JSON list of strings")
    wrong = [key for key, value in said.items() if key != "replies" and type(value) not in _KINDS.get(key, ())]
    if wrong:
        hint = f"possible are numbers, texts and booleans for {', '.join(_KINDS)}"
        raise ConfigError(f"the script {file} has a wrong `{wrong[0]}`", hint=hint)
    return dict(said)
