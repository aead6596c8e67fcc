"""transformers, with tiny models of random weights that are made here, and with real weights where there are some."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent import Agent, Budget
from agent.bench.results import read_rows
from agent.errors import ModelRejected, ModelUnavailable
from agent.models import decode, open_model
from agent.models.base import Message
from agent.models.calls import StopGate

needs_transformers = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="torch and transformers are not installed (the `transformers` extra)",
)
ASK = [Message("system", "You write Python."), Message("user", "Add.")]
AGAIN = [*ASK, Message("assistant", "print(1)"), Message("user", "That is wrong. Repair it.")]
LISTING = "def add(a, b):\n    return a + b\n" * 4
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
LETTERS = [*map(chr, range(32, 127)), "\n"]
SMALL = {"vocab_size": len(LETTERS), "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LLAMA = SMALL | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny sums are faster without company."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def tokenizer_of(alphabet: Iterable[str]):
    """One token for each letter, in the manner of byte-level BPE; a question mark for all others."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, [], unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def save_tokenizer(folder: Path, template: str | None = None) -> None:
    tokenizer = tokenizer_of({" ": "Ġ", "\n": "Ċ"}.get(c, c) for c in LETTERS)
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def save_model(folder: Path, kind: str, **config) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, f"{kind}Config")(**config)
    transformers.AutoModelForCausalLM.from_config(made).save_pretrained(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model in the style of GPT-2, without a chat template."""
    folder = tmp_path_factory.mktemp("base")
    save_tokenizer(folder)
    save_model(folder, "GPT2", **SMALL, n_positions=512, n_embd=32, n_layer=2, n_head=2)
    return folder


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A model in the style of Llama, with a chat template."""
    folder = tmp_path_factory.mktemp("chat")
    save_tokenizer(folder, TEMPLATE)
    save_model(folder, "Llama", **LLAMA)
    return folder


@pytest.fixture
def model(chat):
    return open_model(f"hf:{chat}")


@pytest.fixture
def base_model(base):
    return open_model(f"hf:{base}")


def with_template(chat: Path, folder: Path, template: str) -> str:
    """The name of the chat model with another template."""
    shutil.copytree(chat, folder / "copy")
    (folder / "copy" / "chat_template.jinja").unlink()
    save_tokenizer(folder / "copy", template)
    return f"hf:{folder / 'copy'}"


def generated(folder: Path, prompt: str, tokens: int) -> str:
    """What the library itself writes at temperature 0."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        row = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )[0]
    return tokenizer.decode(row[len(ids[0]) :], skip_special_tokens=True)


@dataclass
class Bench:
    """A decoder without a thread around it."""

    folder: Path
    stop_after: int = 1_000_000
    """Events after which it is to stop."""
    events: list = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(self.folder)
        self.decoder = decode.Decoder(torch, transformers, model)

    def write(self, prompt: str, n: int = 1, tokens: int = 60, temperature: float = 0.0) -> list[str]:
        ids = self.tokenizer.encode(prompt, add_special_tokens=False)
        self.events.clear()
        replies = [
            decode.Reply(
                i,
                self.decoder.sampler(decode.Sampling(temperature, 1.0, 0, 7 + i)),
                decode.Speller(self.tokenizer, ids),
                StopGate(()),
                ends=(),
                limit=tokens,
            )
            for i in range(n)
        ]
        with contextlib.closing(self.decoder.decode(ids, replies)) as events:
            self.events += itertools.islice(events, self.stop_after)
        return ["".join(e.text for e in self.written if e.reply == i) for i in range(n)]

    @property
    def written(self) -> list[decode.Written]:
        return [e for e in self.events if isinstance(e, decode.Written)]

    @property
    def read(self) -> list[decode.Read]:
        return [e for e in self.events if isinstance(e, decode.Read)]


# --- prompts ---


@needs_transformers
def test_the_profile_and_exact_counts(model):
    assert model.profile.context_tokens == 1024
    assert 0 < model.profile.parameters < 0.001
    assert model.profile.lanes == 4
    assert model.count_tokens(ASK) == len("<system>You write Python.<user>Add.<assistant>")


@needs_transformers
def test_a_base_model_reads_plain_text(base_model, base):
    assert base_model.count_tokens(ASK) == len("You write Python.\n\nAdd.\n\n")
    reply = base_model.complete(ASK, max_tokens=20, prefill="def ")[0]
    assert reply.text == "def " + generated(base, "You write Python.\n\nAdd.\n\ndef ", 20)


@needs_transformers
def test_a_template_that_knows_no_system_message(chat, tmp_path):
    model = open_model(with_template(chat, tmp_path, NO_SYSTEM))
    assert model.count_tokens(ASK) == len("<user>You write Python.\n\nAdd.<assistant>")
    assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"


@needs_transformers
@pytest.mark.parametrize(
    ("template", "said"),
    [("{% for m in %}", "Expected an expression"), ("{{ raise_exception('not today') }}", "not today")],
)
def test_a_template_that_fails(chat, tmp_path, template, said):
    model = open_model(with_template(chat, tmp_path, template))
    for ask in (ASK, ASK[1:]):
        with pytest.raises(ModelRejected, match=said) as error:
            model.complete(ask)
        assert "template" in error.value.hint


@needs_transformers
def test_a_prompt_that_does_not_fit(model):
    with pytest.raises(ModelRejected, match="1024 tokens"):
        model.complete([Message("user", "a" * 1000)])


@needs_transformers
@pytest.mark.parametrize(("rope", "tokens"), [("longrope", 128), ("dynamic", 1024), ("linear", 8192)])
def test_no_context_in_which_the_keys_would_change(tmp_path, rope, tokens):
    parameters = {"rope_type": rope, "rope_theta": 10000.0, "factor": 8.0}
    parameters |= {"long_factor": [1.0] * 8, "short_factor": [1.0] * 8, "original_max_position_embeddings": 128}
    longer = {"max_position_embeddings": 8192 if rope == "linear" else 1024}
    if rope != "longrope":
        parameters = {key: parameters[key] for key in ("rope_type", "rope_theta", "factor")}
    save_tokenizer(tmp_path)
    save_model(tmp_path, "Llama", **LLAMA | longer, rope_parameters=parameters)
    assert open_model(f"hf:{tmp_path}").profile.context_tokens == tokens


# --- replies ---


@needs_transformers
def test_greedy_replies_are_those_of_the_library(model, chat):
    pieces = []
    reply = model.complete(ASK, max_tokens=60, prefill="def ", on_token=pieces.append)[0]
    assert reply.text == "def " + "".join(pieces)
    assert "".join(pieces) == generated(chat, "<system>You write Python.<user>Add.<assistant>def ", 60)
    assert len(pieces) > 20
    assert reply.finish_reason == "length"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (model.count_tokens(ASK) + 4, 60)
    assert reply.usage.seconds > 0


@needs_transformers
def test_seeds_decide_the_draws_whatever_their_company(model):
    options = {"temperature": 1.5, "max_tokens": 40, "top_k": 50, "top_p": 0.95}
    three = [r.text for r in model.complete(ASK, n=3, seed=7, **options)]
    assert len(set(three)) == 3
    assert [model.complete(ASK, seed=seed, **options)[0].text for seed in (7, 8, 9)] == three
    assert model.complete(ASK, **options)[0].text != model.complete(ASK, **options)[0].text


@needs_transformers
@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.0001}, {"temperature": 1e-4}])
def test_chance_can_be_narrowed_down_to_the_likeliest(model, narrow):
    greedy = model.complete(ASK, max_tokens=30)[0].text
    assert model.complete(ASK, seed=3, **{"max_tokens": 30, "temperature": 1.0, **narrow})[0].text == greedy
    assert model.complete(ASK, max_tokens=30, seed=3, temperature=1.0)[0].text != greedy


@needs_transformers
def test_replies_are_written_in_one_batch(model):
    model.complete(ASK, max_tokens=1)
    before = model.passes
    replies = model.complete(ASK, n=4, max_tokens=40, temperature=1.0, seed=1)
    assert sum(r.usage.completion_tokens for r in replies) > 120
    assert model.passes - before == 40  # one for the prompt's last token, the others for all four


@needs_transformers
def test_replies_of_a_batch_are_heard_one_after_another(model):
    pieces = []
    replies = model.complete(ASK, n=3, max_tokens=40, temperature=1.0, seed=1, on_token=pieces.append)
    assert "".join(pieces) == "".join(r.text for r in replies)


@needs_transformers
def test_a_stop_string_ends_its_reply_and_no_other(model):
    options = {"max_tokens": 60, "temperature": 1.0, "seed": 1}
    one, other = (r.text for r in model.complete(ASK, n=2, **options))
    stop = next(one[i : i + 3] for i in range(20, 50) if one[i : i + 3] not in other)
    pieces = []
    cut, whole = model.complete(ASK, n=2, stop=[stop], on_token=pieces.append, **options)
    assert cut.text == one[: one.index(stop)]
    assert (cut.finish_reason, whole.finish_reason) == ("stop", "length")
    assert whole.text == other
    assert "".join(pieces) == cut.text + whole.text
    assert cut.usage.completion_tokens < whole.usage.completion_tokens == 60


@needs_transformers
@pytest.mark.parametrize("n", [1, 2])
def test_any_of_the_end_tokens_ends_a_reply(chat, tmp_path, n):
    text = open_model(f"hf:{chat}").complete(ASK, max_tokens=40)[0].text
    copy = shutil.copytree(chat, tmp_path / "copy")
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [3, LETTERS.index(text[20])]}))
    for reply in open_model(f"hf:{copy}").complete(ASK, n=n, max_tokens=40):
        assert reply.text == text[: text.index(text[20])]
        assert reply.finish_reason == "stop"


@needs_transformers
def test_no_half_of_a_character_is_told():
    from tokenizers import pre_tokenizers

    tokenizer = tokenizer_of(sorted(pre_tokenizers.ByteLevel.alphabet()))
    speller = decode.Speller(tokenizer, tokenizer.encode("before é"))
    assert [speller.spell(token) for token in tokenizer.encode("aé漢!")] == ["a", "", "é", "", "", "漢", "!"]
    assert [speller.spell(token) for token in tokenizer.encode("漢")[:2]] == ["", ""]
    assert speller.rest() == "\ufffd"


@needs_transformers
def test_a_space_that_begins_a_reply_is_told():
    """Tokenizers in the style of Llama drop it at the beginning of a text."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"▁a": 0, "▁b": 1, "c": 2}, "c"))
    tokenizer.decoder = decoders.Metaspace()
    speller = decode.Speller(PreTrainedTokenizerFast(tokenizer_object=tokenizer), [0])
    assert [speller.spell(token) for token in (1, 2, 0)] == [" b", "c", " a"]


# --- what was read is kept ---


@needs_transformers
@pytest.mark.parametrize("n", [1, 3])
def test_what_was_read_is_not_read_again(model, n):
    count = model.count_tokens(ASK)
    first, *others = model.complete(ASK, n=n, max_tokens=5, temperature=1.0)
    assert first.usage.cached_tokens == 0
    assert {r.usage.cached_tokens for r in others} <= {count}
    assert model.complete(ASK, max_tokens=5)[0].usage.cached_tokens == count - 1
    repair = model.complete(AGAIN, max_tokens=30)[0]
    assert repair.usage.cached_tokens >= count
    assert model.complete(ASK, max_tokens=5)[0].usage.cached_tokens == count - 1


@needs_transformers
def test_a_repair_from_the_cache_is_the_same(model, chat):
    model.complete(ASK, n=2, max_tokens=30, temperature=1.0)
    model.complete(ASK, max_tokens=30)
    assert (
        model.complete(AGAIN, max_tokens=30)[0].text == open_model(f"hf:{chat}").complete(AGAIN, max_tokens=30)[0].text
    )


@needs_transformers
def test_a_reply_that_is_continued_is_not_read_again(model):
    begun = model.complete(ASK, max_tokens=30, prefill="def ")[0]
    assert begun.text.isascii()
    rest = model.complete(ASK, max_tokens=30, prefill=begun.text)[0]
    assert rest.usage.cached_tokens == rest.usage.prompt_tokens - 1
    assert rest.text == model.complete(ASK, max_tokens=60, prefill="def ")[0].text


@needs_transformers
def test_another_prompt_is_read_from_its_beginning(model, chat):
    other = [Message("user", "Something else.")]
    model.complete(ASK, max_tokens=5)
    reply = model.complete(other, max_tokens=30)[0]
    assert reply.usage.cached_tokens == 1  # the "<" that every prompt begins with
    assert reply.text == open_model(f"hf:{chat}").complete(other, max_tokens=30)[0].text


@needs_transformers
def test_reading_is_reported(model):
    told = []
    ask = [Message("user", "a" * 300)]
    model.complete(ask, max_tokens=1, on_progress=lambda what, share: told.append((what, share)))
    assert {what for what, _ in told} == {"reading the prompt"}
    shares = [share for _, share in told]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# --- guesses ---


@needs_transformers
def test_guesses_save_passes_and_change_nothing(base):
    bench = Bench(base)
    assert bench.write(LISTING, tokens=100) == [generated(base, LISTING, 100)]
    assert bench.decoder.guessed > 30
    # The last token is written without running the model on it.
    assert bench.decoder.passes == len(bench.read) + 99 - bench.decoder.guessed


@needs_transformers
def test_guesses_do_not_change_what_is_drawn_by_chance(base):
    """In a batch nothing is guessed."""
    together, alone = Bench(base), Bench(base)
    one, other = together.write(LISTING, n=2, tokens=100, temperature=0.04)
    assert together.decoder.guessed == 0
    assert alone.write(LISTING, tokens=100, temperature=0.04) == [one] != [other]
    assert alone.decoder.guessed > 10


@needs_transformers
def test_a_guess_that_goes_too_far_leaves_no_trace(base):
    """The reply ends in the middle of what was guessed, and another one goes on from there."""
    bench = Bench(base)
    whole = bench.write(LISTING, tokens=100)[0]
    for tokens in range(40, 50):
        assert bench.write(LISTING, tokens=tokens)[0] == whole[:tokens]
    assert bench.write(LISTING, tokens=100)[0] == whole


def test_the_lookup_guesses_what_followed_last():
    lookup = decode.Lookup([*range(10, 30), 1, *range(10, 20), 2, 3])
    assert lookup.guess(5) == []
    for token in range(12, 17):
        lookup.add(token)
    assert lookup.guess(3) == [17, 18, 19]
    assert lookup.guess(100) == [17, 18, 19, 2, 3, 12, 13, 14, 15, 16]
    assert lookup.guess(0) == []


# --- models that cannot go back ---


@needs_transformers
@pytest.mark.filterwarnings("ignore")  # of Mamba, which is slow without its kernels
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("Mistral", LLAMA | {"sliding_window": 16}),
        ("Mamba", SMALL | {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "initializer_range": 0.5}),
    ],
)
def test_a_model_that_cannot_go_back_is_read_anew(tmp_path, kind, config):
    save_tokenizer(tmp_path)
    save_model(tmp_path, kind, **config)
    bench = Bench(tmp_path)
    greedy = generated(tmp_path, LISTING, 60)
    for _ in range(2):
        assert bench.write(LISTING) == [greedy]
        assert [e.cached for e in bench.read] == [0]
    assert bench.write(LISTING, n=2) == [greedy, greedy]
    one, other = bench.write(LISTING, n=2, temperature=1.0)
    assert bench.write(LISTING, temperature=1.0) == [one] != [other]
    assert bench.decoder.guessed == 0


# --- being stopped ---


@needs_transformers
@pytest.mark.parametrize("n", [1, 2])
def test_it_stops_between_two_passes(base, n):
    bench = Bench(base)
    whole = bench.write(LISTING * 2, n=n)
    fresh = Bench(base, stop_after=2)
    assert fresh.write(LISTING * 2, n=n) == [""] * n
    assert (len(fresh.read), fresh.decoder.passes) == (2, 2)
    fresh.stop_after = 20
    stopped = fresh.write(LISTING * 2, n=n)
    assert fresh.read[0].cached == fresh.read[0].done - 64 == 128
    assert all(0 < len(cut) < len(text) and text.startswith(cut) for cut, text in zip(stopped, whole, strict=True))
    fresh.stop_after = 1_000_000
    assert fresh.write(LISTING * 2, n=n) == whole


@needs_transformers
@pytest.mark.parametrize("n", [1, 2])
def test_cancel(model, n):
    pieces = []

    def on_token(piece: str) -> None:
        pieces.append(piece)
        time.sleep(0.05)

    threading.Timer(0.3, model.cancel).start()
    replies = model.complete(ASK, n=n, max_tokens=600, temperature=1.0, on_token=on_token)
    assert [r.finish_reason for r in replies] == ["cancelled"] * n
    assert replies[0].text.startswith("".join(pieces))
    assert 0 < len(pieces) < 50
    assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"


@needs_transformers
def test_a_listener_that_fails_stops_the_reply(model):
    def on_token(piece: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.complete(ASK, max_tokens=900, on_token=on_token)
    model.complete(ASK, max_tokens=1)  # waits for the thread
    assert model.passes < 900


@needs_transformers
def test_a_closed_model_is_told(model):
    threading.Timer(0.2, model.close).start()
    reply = model.complete(ASK, max_tokens=900, temperature=1.0, on_token=lambda piece: time.sleep(0.02))[0]
    assert reply.finish_reason == "cancelled"
    model.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        model.complete(ASK)


@needs_transformers
def test_an_interpreter_ends_in_the_middle_of_a_reply(chat):
    code = (
        "import os, sys; from agent.models import open_model; from agent.models.base import Message\n"
        "model = open_model(sys.argv[1])\n"
        "model.complete([Message('user', 'Go')], max_tokens=900, on_token=lambda piece: sys.exit(7))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, f"hf:{chat}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr


# --- what goes wrong ---


@needs_transformers
def test_out_of_memory_is_told_and_survived(model):
    import torch

    count = model.count_tokens(ASK)
    expected = model.complete(ASK, max_tokens=30)[0].text

    def fill(*_: object) -> None:
        torch.empty(1 << 60)

    from torch.nn.modules import module

    hook = module.register_module_forward_pre_hook(fill)
    try:
        with pytest.raises(ModelUnavailable, match="out of memory") as error:
            model.complete(ASK, max_tokens=30)
    finally:
        hook.remove()
    assert "smaller model" in error.value.hint
    assert error.value.__cause__ is error.value.__context__ is None  # it would keep the tensors
    reply = model.complete(ASK, max_tokens=30)[0]
    assert (reply.text, reply.usage.cached_tokens) == (expected, 0)
    assert model.complete(ASK, max_tokens=30)[0].usage.cached_tokens == count - 1


@needs_transformers
def test_an_error_in_the_model_is_told(model):
    from torch.nn.modules import module

    def fail(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    hook = module.register_module_forward_pre_hook(fail)
    try:
        with pytest.raises(ModelUnavailable, match="no luck"):
            model.complete(ASK)
    finally:
        hook.remove()


@needs_transformers
def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot load") as error:
        open_model(f"hf:{tmp_path}")
    assert "config.json" in error.value.hint


@needs_transformers
@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "~/nowhere-at-all", "nowhere.gguf"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ModelUnavailable, match=f"there is no {name}"):
        open_model(f"hf:{name}")


@needs_transformers
@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_that_lacks_a_file(chat, tmp_path, lost):
    copy = shutil.copytree(chat, tmp_path / "copy")
    (copy / lost).unlink()
    with pytest.raises(ModelUnavailable, match="cannot load"):
        open_model(f"hf:{copy}")


@needs_transformers
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_that_is_cut_off(chat, tmp_path, file):
    copy = shutil.copytree(chat, tmp_path / "copy")
    with (copy / file).open("r+b") as damaged:
        damaged.truncate((copy / file).stat().st_size // 2)
    with pytest.raises(ModelUnavailable, match="cannot load"):
        open_model(f"hf:{copy}")


@needs_transformers
def test_code_of_a_checkpoint_is_not_run(chat, tmp_path):
    copy = shutil.copytree(chat, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(ModelUnavailable) as error:
        open_model(f"hf:{copy}")
    assert "is not run" in error.value.hint
    assert not (tmp_path / "was-run").exists()


def open_from(hub: str, cache: Path) -> str:
    """What a fresh process that knows this hub says of a repository that is not there."""
    code = (
        "from agent.models import open_model\n"
        "try:\n    open_model('hf:nobody/nothing')\nexcept Exception as e:\n    print(type(e).__name__, e, e.hint)\n"
    )
    env = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("ModelUnavailable"), done.stderr
    return done.stdout


@needs_transformers
def test_a_hub_that_does_not_answer(tmp_path):
    assert "within reach" in open_from("http://127.0.0.1:9", tmp_path)


@needs_transformers
def test_a_hub_that_does_not_know_the_repository(tmp_path):
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = open_from(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
    assert "nobody/nothing" in said
    assert any("nobody/nothing" in path for path in asked)


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelUnavailable) as error:
        open_model("hf:anything")
    assert error.value.hint == "pip install 'sandsmith[transformers]'"


# --- the loop ---


@pytest.fixture(scope="module", params=["base", "chat"])
def roomy(request, tmp_path_factory):
    """A model whose context has room for a task and its rules, without a chat template and with one."""
    folder = tmp_path_factory.mktemp(f"roomy-{request.param}")
    save_tokenizer(folder, TEMPLATE if request.param == "chat" else None)
    save_model(folder, "Llama", **LLAMA | {"max_position_embeddings": 8192})
    return folder


@needs_transformers
@pytest.mark.jail
def test_the_loop_gives_up_on_a_model_that_knows_nothing(roomy, tmp_path):
    budget = Budget(drafts=2, repairs=1, max_tokens=40)
    with Agent(f"hf:{roomy}", runs=tmp_path / "runs", budget=budget) as agent:
        result = agent.run("What is 6 * 7?", checks=["answer == 42"])
    assert result.outcome in ("failed", "gave_up")
    assert not result.ok
    assert result.drafts + result.repairs >= 2
    assert result.usage.completion_tokens >= 80
    assert 0 < result.usage.cached_tokens < result.usage.prompt_tokens


@needs_transformers
@pytest.mark.jail
@pytest.mark.parametrize("roomy", ["chat"], indirect=True)
def test_a_bench_says_that_a_model_which_knows_nothing_solves_nothing(roomy, tmp_path):
    doc = '    """Add one.\n    >>> more(1)\n    2\n    """\n'
    test = "def check(candidate):\n    assert candidate(5) == 6\n"
    problem = {"task_id": "HumanEval/0", "prompt": f"def more(x):\n{doc}", "entry_point": "more", "test": test}
    (tmp_path / "humaneval.jsonl").write_text(json.dumps(problem) + "\n")
    options = ["--data", ".", "--model", f"hf:{roomy}", "--drafts", "2", "--repairs", "0"]
    line = [sys.executable, "-m", "agent", "bench", "humaneval", *options, "--out", "out"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # see one_thread
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert (row.solved, row.first_passed, row.author) == (False, False, "task")
    assert row.outcome in ("failed", "gave_up")
    assert row.error and row.drafts == 2 and row.completion_tokens > 100
    assert "called solved and is not: 0" in done.stdout


@pytest.fixture(scope="module")
def smollm():
    """The weights of SmolLM2-135M, which transformers dequantises."""
    from agent.models import weights

    for name in ("torch", "transformers", "gguf", "accelerate"):
        pytest.importorskip(name, reason=f"no {name}: pip install 'sandsmith[transformers]'")
    try:
        return weights.pull("smollm2-135m")
    except ModelUnavailable as error:
        pytest.skip(f"no weights: {error}")


@needs_transformers
@pytest.mark.model
@pytest.mark.jail
def test_a_real_model_goes_through_the_loop(smollm, tmp_path):
    with Agent(f"hf:{smollm}", runs=tmp_path, budget=Budget(drafts=3, repairs=1, max_tokens=120)) as agent:
        result = agent.run("Print the text hello.")
    assert result.outcome == "unverified", result
    assert "hello" in result.answer.lower()
    assert result.usage.completion_tokens > 0
