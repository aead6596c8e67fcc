"""transformers, with a tiny model of random weights that is made here."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time

import pytest

from agent.errors import ModelRejected, ModelUnavailable
from agent.models import open_model
from agent.models.base import Message

needs_transformers = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="torch and transformers are not installed (the `transformers` extra)",
)
ASK = [Message("system", "You write Python."), Message("user", "Add.")]
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint: one token a byte, two layers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate(["<end>", *bytes_])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("checkpoint")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=257, n_positions=512, n_embd=32, n_layer=2, n_head=2, eos_token_id=0, bos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return open_model(f"hf:{folder}")


@needs_transformers
def test_the_profile_and_exact_counts(model):
    assert model.profile.context_tokens == 512
    assert 0 < model.profile.parameters < 0.001
    assert model.count_tokens(ASK) == len("<system>You write Python.<user>Add.<assistant>")


@needs_transformers
def test_greedy_replies_are_the_same_and_go_on_from_the_prefill(model):
    pieces = []
    first = model.complete(ASK, max_tokens=20, prefill="def ", on_token=pieces.append)[0]
    assert first.text == "def " + "".join(pieces)
    assert first.text == model.complete(ASK, max_tokens=20, prefill="def ")[0].text
    assert first.finish_reason == "length"
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (model.count_tokens(ASK) + 4, 20)


@needs_transformers
def test_seeds_decide_the_draws(model):
    options = {"temperature": 1.5, "max_tokens": 20, "top_k": 50, "top_p": 0.95}
    both = model.complete(ASK, n=2, seed=7, **options)
    assert both[0].text != both[1].text
    assert model.complete(ASK, seed=8, **options)[0].text == both[1].text


@needs_transformers
def test_a_stop_string_ends_the_reply(model):
    whole = model.complete(ASK, max_tokens=60, temperature=2.0, seed=1)[0].text
    stop = whole[20:23]
    cut = model.complete(ASK, max_tokens=60, temperature=2.0, seed=1, stop=[stop])[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


@needs_transformers
def test_cancel(model):
    pieces = []

    def on_token(piece: str) -> None:
        pieces.append(piece)
        time.sleep(0.05)

    threading.Timer(0.3, model.cancel).start()
    replies = model.complete(ASK, n=2, max_tokens=400, temperature=1.0, on_token=on_token)
    assert [r.finish_reason for r in replies] == ["cancelled"]
    assert len(pieces) < 50
    assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"


@needs_transformers
def test_a_prompt_that_does_not_fit(model):
    with pytest.raises(ModelRejected, match="512 tokens"):
        model.complete([Message("user", "a" * 600)])


@needs_transformers
def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot load"):
        open_model(f"hf:{tmp_path}")


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelUnavailable) as error:
        open_model("hf:anything")
    assert error.value.hint == "pip install 'sandsmith[transformers]'"
