"""The token loop over a transformers model: reads what it has not read yet, then writes replies token by token.

Covered: keys and values kept from call to call, several replies in one batch, guesses where a reply repeats what stood
before, stopping between two passes. A model that looks back through a sliding window or a running state cannot go back
to an earlier place: nothing is kept and guessed for it, and its replies are written one after another. How many tokens
are computed together decides how sums are rounded: where the model is in doubt, a seed may lead elsewhere in other
company, or after another cache.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from .base import FinishReason
from .calls import StopGate

__all__ = ["Decoder", "Event", "Lookup", "Read", "Reply", "Sampler", "Sampling", "Speller", "Written"]

_BLOCK = 64
"""Prompt tokens read between two looks whether to stop: about two seconds for 1.5B in float32 on two cores."""
_ALIKE = 5
"""So many tokens must have stood before for what followed them to be guessed."""
_GUESS = 10
"""Tokens guessed at once. On a CPU the weights are what a pass waits for, so that a wrong guess costs little."""
_CONTEXT = 8
"""Tokens of the prompt that a reply's first one is spelled with: some tokenizers drop the space before a text."""


@dataclass(frozen=True, slots=True)
class Read:
    """So many of the prompt's tokens are read; `cached` of them were before."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Written:
    """More text of a reply, its tokens so far, and why it ends, when it does."""

    reply: int
    text: str
    tokens: int
    finish: FinishReason | None = None


Event = Read | Written


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen: the likeliest at temperature 0, else by chance among what `top_k` (0: all) and `top_p`
    leave."""

    temperature: float
    top_p: float
    top_k: int
    seed: int | None


class Sampler:
    """Chooses the tokens of one reply, with a generator of its own, so that it does not depend on other replies."""

    def __init__(self, torch: Any, transformers: Any, device: Any, how: Sampling) -> None:
        self._torch = torch
        self._warpers = transformers.LogitsProcessorList()
        if how.temperature > 0:
            self._warpers.append(transformers.TemperatureLogitsWarper(float(how.temperature)))
            if how.top_k > 0:
                self._warpers.append(transformers.TopKLogitsWarper(how.top_k))
            if how.top_p < 1:
                self._warpers.append(transformers.TopPLogitsWarper(how.top_p))
        self._generator = torch.Generator(device)
        if how.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(how.seed)

    def choose(self, logits: Any) -> int:
        """A token, by the model's scores for each."""
        if not self._warpers:
            return int(logits.argmax())
        scores = self._warpers(None, logits[None].float())
        return int(self._torch.multinomial(scores.softmax(-1), 1, generator=self._generator))


class Speller:
    """Turns tokens into text as they come, never half a character: what ends in one waits for the rest of it."""

    def __init__(self, tokenizer: Any, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-_CONTEXT:])
        self._begin, self._told = 0, len(self._ids)

    def spell(self, token: int) -> str:
        """The text that is certain with this token."""
        self._ids.append(token)
        text = self.rest()
        if text.endswith("\ufffd"):
            return ""
        self._begin, self._told = self._told, len(self._ids)
        return text

    def rest(self) -> str:
        """The text that still waits."""
        # A token may read otherwise at the beginning of a text, so those before it are decoded as well.
        return self._text(len(self._ids))[len(self._text(self._told)) :]

    def _text(self, end: int) -> str:
        ids = self._ids[self._begin : end]
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class Reply:
    """One reply as it is written: it chooses its tokens, tells its text, and knows when it is complete."""

    def __init__(
        self, number: int, sampler: Sampler, speller: Speller, gate: StopGate, ends: Collection[int], limit: int
    ) -> None:
        self.choose = sampler.choose
        self._number, self._speller, self._gate = number, speller, gate
        self._ends, self._limit = ends, limit
        self._tokens = 0

    @property
    def left(self) -> int:
        """Tokens that it may still have."""
        return self._limit - self._tokens

    def take(self, token: int) -> Written:
        """Add a token: the text that it brings, and whether the reply is complete with it."""
        self._tokens += 1
        if token in self._ends:
            return self._end("", "stop")
        text = self._gate.feed(self._speller.spell(token))
        if self._gate.closed or self.left <= 0:
            return self._end(text, "length")
        return Written(self._number, text, self._tokens)

    def _end(self, text: str, finish: FinishReason) -> Written:
        if not self._gate.closed:
            text += self._gate.feed(self._speller.rest()) + self._gate.flush()
        return Written(self._number, text, self._tokens, "stop" if self._gate.closed else finish)


class Lookup:
    """Guesses what comes next: what followed the last few tokens where they stood before."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        if len(self._ids) >= _ALIKE:
            self._after[tuple(self._ids[-_ALIKE:])] = len(self._ids)
        self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """At most so many tokens, none where the last ones are new."""
        at = self._after.get(tuple(self._ids[-_ALIKE:]))
        return [] if at is None else self._ids[at : at + min(most, _GUESS)]


class Decoder:
    """A model, and what it has read last with the keys and values computed from that."""

    def __init__(self, torch: Any, transformers: Any, model: Any) -> None:
        self._torch, self._transformers = torch, transformers
        self._model: Any = model
        parameters = inspect.signature(model.forward).parameters
        self._cache_name = "past_key_values" if "past_key_values" in parameters else "cache_params"
        self._keeps_last = "logits_to_keep" in parameters
        self._cache: Any = self._fresh()
        # Any other layer forgets something, or changes in place.
        self.goes_back = all(type(layer) is transformers.DynamicLayer for layer in self._cache.layers)
        """Whether it keeps what was read, guesses, and writes several replies in one batch."""
        self._ids: list[int] = []
        """The tokens whose keys and values are in the cache."""
        self.passes = 0
        """Times that the model was run."""
        self.guessed = 0
        """Tokens that were guessed right: each saved a pass."""

    def sampler(self, how: Sampling) -> Sampler:
        """A sampler where the model is."""
        return Sampler(self._torch, self._transformers, self._model.device, how)

    def close(self) -> None:
        """Free the memory. No call may follow."""
        self._model = self._cache = None

    def decode(self, prompt: Sequence[int], replies: Sequence[Reply]) -> Generator[Event]:
        """Read the prompt, of which at least one token is given, and write the replies to it.

        Whoever does not want the rest closes the generator: what was read until then is kept.
        """
        try:
            with self._torch.inference_mode():
                logits = yield from self._read(prompt)
                if not self.goes_back:
                    yield from self._write_in_turn(logits, replies)
                elif len(replies) > 1:
                    yield from self._write_together(logits, replies)
                else:
                    yield from self._write(logits, replies[0])
        except Exception:
            self._forget()  # some layers may be ahead of others
            raise

    def _read(self, prompt: Sequence[int]) -> Generator[Event, None, Any]:
        """What the model makes of the last token."""
        known = self._recall(prompt)
        # A running state is not computed from an earlier one by all models, so that they read all at once.
        step = _BLOCK if self.goes_back else len(prompt)
        logits = None
        for at in range(known, len(prompt), step):
            block = list(prompt[at : at + step])
            logits = self._forward(self._cache, [block])[0]
            self._ids += block
            yield Read(len(self._ids), len(prompt), known)
        return logits

    def _recall(self, prompt: Sequence[int]) -> int:
        """Go back to where the prompt differs from what was read; the place. Its last token is always read anew."""
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self._ids, prompt[:-1], strict=False))
        known = sum(1 for _ in same) if self.goes_back else 0
        if known:
            self._go_back(len(self._ids) - known)
        else:
            self._forget()
        return known

    def _go_back(self, tokens: int) -> None:
        if tokens:
            self._cache.crop(-tokens)
            del self._ids[-tokens:]

    def _forget(self) -> None:
        self._cache, self._ids = self._fresh(), []

    def _fresh(self) -> Any:
        return self._transformers.DynamicCache(config=self._model.config.get_text_config(decoder=True))

    def _write(self, logits: Any, reply: Reply) -> Generator[Event]:
        """Write one reply, guessing ahead. A guess is taken where it is what the reply chooses anyway."""
        lookup, guess = Lookup(self._ids), list[int]()
        while True:
            right = 0
            while True:
                token = reply.choose(logits[right])
                lookup.add(token)
                yield (written := reply.take(token))
                if written.finish or guess[right : right + 1] != [token]:
                    break
                right += 1
            self.guessed += right
            self._go_back(len(guess) - right)
            if written.finish:
                return
            guess = lookup.guess(reply.left - 1)
            logits = self._forward(self._cache, [[token, *guess]], len(guess) + 1)[0]
            self._ids += [token, *guess]

    def _write_together(self, logits: Any, replies: Sequence[Reply]) -> Generator[Event]:
        """Write replies side by side in one batch, which a reply leaves when it is complete."""
        cache = copy.copy(self._cache)
        # The layers of the copy get tensors of their own when they are repeated; those of the prompt stay.
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        cache.batch_repeat_interleave(len(replies))
        rows, writing = [logits] * len(replies), list(replies)
        while True:
            tokens = [reply.choose(row[-1]) for reply, row in zip(writing, rows, strict=True)]
            written = [reply.take(token) for reply, token in zip(writing, tokens, strict=True)]
            yield from written
            going = [i for i, one in enumerate(written) if not one.finish]
            if not going:
                return
            if len(going) < len(writing):
                cache.batch_select_indices(self._torch.tensor(going, device=self._model.device))
                writing = [writing[i] for i in going]
            rows = self._forward(cache, [[tokens[i]] for i in going])

    def _write_in_turn(self, logits: Any, replies: Sequence[Reply]) -> Generator[Event]:
        """Write replies one after another, each from a copy of what was read. Nothing of it is kept."""
        for reply in replies:
            cache, rows = copy.deepcopy(self._cache), logits
            while True:
                token = reply.choose(rows[-1])
                yield (written := reply.take(token))
                if written.finish:
                    break
                rows = self._forward(cache, [[token]])[0]
        self._forget()

    def _forward(self, cache: Any, rows: list[list[int]], last: int = 1) -> Any:
        """Run the model on more tokens of each row: its scores for what follows each of the `last` ones."""
        self.passes += 1
        ids = self._torch.tensor(rows, device=self._model.device)
        options = {self._cache_name: cache, **({"logits_to_keep": last} if self._keeps_last else {})}
        return self._model(input_ids=ids, use_cache=True, **options).logits[:, -last:]
