"""A causal language model through transformers: slower than llama.cpp on a CPU, but it takes any checkpoint."""

from __future__ import annotations

import importlib
import queue
import time
from collections.abc import Iterator, Sequence
from threading import Event, Lock, Thread
from typing import Any

from agent.errors import ModelRejected, ModelUnavailable

from .base import Completion, FinishReason, Message, ModelProfile, OnProgress, OnToken, Usage
from .calls import Calls, StopGate

__all__ = ["TransformersModel"]

_LEAST_REPLY = 64
_CONTEXT = 8192


class TransformersModel:
    """A checkpoint in a folder or on the hub, on the GPU where there is one.

    A model without a chat template gets the messages as plain text. Raises `ModelUnavailable` when the checkpoint
    cannot be loaded or the packages are not installed.
    """

    def __init__(self, checkpoint: str, *, context_tokens: int = _CONTEXT) -> None:
        self._torch, self._transformers = _import("torch"), _import("transformers")
        self._tokenizer, self._model = self._load(checkpoint)
        trained = getattr(self._model.config, "max_position_embeddings", None) or context_tokens
        self._profile = ModelProfile(
            name=checkpoint,
            parameters=self._model.num_parameters() / 1e9,
            context_tokens=min(context_tokens, trained),
            prefill=True,
        )
        self._calls = Calls()
        self._turn = Lock()

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
        """See `Model.complete`. The replies are drawn one after another, with seeds `seed`, `seed + 1`, ..."""
        prompt = self._encode(messages, prefill)
        options: dict[str, Any] = {"max_new_tokens": min(max_tokens, self._room(len(prompt[0])))}
        if temperature > 0:
            options |= {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": top_k}
        else:
            options |= {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        drawn: list[Completion] = []
        with self._calls.begin() as cancelled, self._turn:
            for i in range(n):
                draw = _Draw(self, prompt, options, None if seed is None else seed + i, cancelled)
                drawn.append(draw.run(prefill, StopGate(stop), on_token))
                if cancelled.is_set():
                    break
        return drawn

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The exact number of prompt tokens."""
        return len(self._encode(messages, "")[0])

    def cancel(self) -> None:
        self._calls.cancel()

    def close(self) -> None:
        """Stop what runs and free the memory."""
        self._calls.cancel()
        with self._turn:
            self._model = None

    def generate(self, prompt: Any, seed: int | None, **options: Any) -> int:
        """Generate in this thread and return the number of new tokens."""
        if self._model is None:
            raise ModelUnavailable("the model is closed", hint="open it again")
        if seed is not None:
            self._torch.manual_seed(seed)
        with self._torch.inference_mode():
            ids = prompt.to(self._model.device)
            output = self._model.generate(
                ids, attention_mask=self._torch.ones_like(ids), pad_token_id=self._tokenizer.eos_token_id, **options
            )
        return len(output[0]) - len(prompt[0])

    def watch(self, pieces: queue.SimpleQueue[str | None], is_over: Event) -> dict[str, Any]:
        """What `generate` needs to report each piece of text and to be stopped between two tokens."""
        transformers = self._transformers

        class Streamer(transformers.TextStreamer):
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                pieces.put(text)

        class Stopper(transformers.StoppingCriteria):
            def __call__(self, *args: Any, **kwargs: Any) -> bool:
                return is_over.is_set()

        streamer = Streamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        return {"streamer": streamer, "stopping_criteria": transformers.StoppingCriteriaList([Stopper()])}

    def _load(self, checkpoint: str) -> tuple[Any, Any]:
        try:
            tokenizer = self._transformers.AutoTokenizer.from_pretrained(checkpoint)
            model = self._transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
        except (OSError, ValueError, RuntimeError) as e:
            said = " ".join(str(e).split())[:300]
            raise ModelUnavailable(
                f"transformers cannot load {checkpoint!r}: {said}", hint="name a folder or a repository of the hub"
            ) from e
        return tokenizer, model.to("cuda" if self._torch.cuda.is_available() else "cpu").eval()

    def _encode(self, messages: Sequence[Message], prefill: str) -> Any:
        """The prompt's token numbers, as one row."""
        if self._tokenizer.chat_template:
            turns = [{"role": m.role, "content": m.content} for m in messages]
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            return self._tokenizer(text + prefill, add_special_tokens=False, return_tensors="pt")["input_ids"]
        text = "\n\n".join(m.content for m in messages) + "\n\n"
        return self._tokenizer(text + prefill, return_tensors="pt")["input_ids"]

    def _room(self, prompt: int) -> int:
        limit = self._profile.context_tokens
        if prompt + _LEAST_REPLY > limit:
            raise ModelRejected(
                f"the prompt has {prompt} tokens; with a reply of at least {_LEAST_REPLY} it does not fit into "
                f"{limit} tokens",
                hint="shorten the task or name fewer files",
            )
        return limit - prompt


class _Draw:
    """One reply, generated in a thread of its own so that the caller can be interrupted."""

    def __init__(
        self, model: TransformersModel, prompt: Any, options: dict[str, Any], seed: int | None, cancelled: Event
    ) -> None:
        self._model, self._prompt, self._options, self._seed = model, prompt, options, seed
        self._cancelled = cancelled
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._left = Event()
        self._tokens = 0
        self._error: Exception | None = None

    def run(self, prefill: str, gate: StopGate, on_token: OnToken | None) -> Completion:
        started, text = time.monotonic(), prefill
        thread = Thread(target=self._generate, name="transformers", daemon=True)
        thread.start()
        try:
            for piece in self._until_cancelled():
                passed = gate.feed(piece)
                text += passed
                if passed and on_token is not None:
                    on_token(passed)
                if gate.closed:
                    break
            text += gate.flush()
        finally:
            self._left.set()
            thread.join()
        if self._error:
            raise ModelUnavailable(f"transformers failed: {self._error}", hint="open the model again") from self._error
        usage = Usage(len(self._prompt[0]), self._tokens, 0, time.monotonic() - started)
        return Completion(text, self._finish(gate), usage)

    def _generate(self) -> None:
        try:
            watched = self._model.watch(self._pieces, self._left)
            self._tokens = self._model.generate(self._prompt, self._seed, **watched, **self._options)
        except Exception as e:
            self._error = e
        finally:
            self._pieces.put(None)

    def _until_cancelled(self) -> Iterator[str]:
        while not self._cancelled.is_set():
            try:
                piece = self._pieces.get(timeout=0.05)
            except queue.Empty:
                continue
            if piece is None:
                return
            yield piece

    def _finish(self, gate: StopGate) -> FinishReason:
        if gate.closed:
            return "stop"
        if self._cancelled.is_set():
            return "cancelled"
        return "length" if self._tokens >= self._options["max_new_tokens"] else "stop"


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise ModelUnavailable(f"{name} cannot be imported ({e})", hint="pip install 'sandsmith[transformers]'") from e
