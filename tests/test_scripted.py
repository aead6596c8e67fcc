"""The scripted model, the stop gate that it shares with others, and choosing a model by name."""

from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError, ModelUnavailable
from agent.models import open_model
from agent.models.base import Message, ModelProfile
from agent.models.calls import InTurn, StopGate
from agent.models.scripted import ScriptedModel

ASK = [Message("user", "Add two numbers, please.")]
FENCED = "```python\nprint(1 + 2)\n```\nDone."


def test_replies_come_in_order_until_none_is_left():
    model = ScriptedModel(["one", "two", "three"])
    assert [c.text for c in model.complete(ASK, n=2)] == ["one", "two"]
    assert model.complete(ASK)[0].text == "three"
    with pytest.raises(ModelUnavailable, match="3 replies"):
        model.complete(ASK)


@pytest.mark.parametrize("reply", [FENCED, FENCED.removeprefix("```python\n")], ids=["whole", "continued"])
def test_prefill_and_stop_give_the_same_as_with_a_real_model(reply):
    pieces = []
    completion = ScriptedModel([reply]).complete(ASK, prefill="```python\n", stop=["```"], on_token=pieces.append)[0]
    assert completion.text == "```python\nprint(1 + 2)\n"
    assert completion.finish_reason == "stop"
    assert "".join(pieces) == "print(1 + 2)\n" and len(pieces) > 1


def test_a_model_without_prefill_ignores_it():
    assert ScriptedModel(["x = 1"], prefill=False).complete(ASK, prefill="```")[0].text == "x = 1"


def test_max_tokens_cuts():
    completion = ScriptedModel(["a b c d"]).complete(ASK, max_tokens=2)[0]
    assert (completion.text, completion.finish_reason) == ("a b", "length")
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, 2)
    assert ScriptedModel(["a b"]).complete(ASK, max_tokens=2)[0].finish_reason == "stop"


def test_calls_are_recorded():
    model = ScriptedModel(["x"])
    model.complete(ASK, temperature=0.7, seed=3, stop=["```"], prefill="")
    (call,) = model.calls
    assert call.messages == tuple(ASK)
    assert (call.temperature, call.seed, call.stop, call.n) == (0.7, 3, ("```",), 1)


def test_cancel_from_another_thread_keeps_what_was_said():
    model = ScriptedModel(["word " * 1000, "next"], pause=0.05)
    threading.Timer(0.3, model.cancel).start()
    started = time.monotonic()
    replies = model.complete(ASK, n=2)
    assert time.monotonic() - started < 5
    assert [r.finish_reason for r in replies] == ["cancelled"]
    assert replies[0].text.startswith("word")
    assert model.complete(ASK)[0].text == "next"


def test_a_script_from_a_file(tmp_path):
    file = tmp_path / "replies.json"
    file.write_text(json.dumps(["one", "zwei ü"]), "utf-8")
    model = open_model(f"scripted:{file}")
    assert [c.text for c in model.complete(ASK, n=2)] == ["one", "zwei ü"]


def test_a_script_from_a_file_has_a_profile(tmp_path):
    file = tmp_path / "replies.json"
    file.write_text(json.dumps({"name": "big", "parameters": 70, "prefill": False, "replies": ["one"]}))
    model = open_model(f"scripted:{file}")
    assert model.profile == ModelProfile("big", 70, 8192, prefill=False)
    assert model.complete(ASK)[0].text == "one"


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        '{"a": "b"}',
        '{"replies": [], "size": 1}',
        '{"replies": [], "parameters": "70"}',
        '{"replies": [], "prefill": 1}',
        "not json",
        None,
    ],
)
def test_a_script_that_is_none(tmp_path, content):
    file = tmp_path / "replies.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"replies\.json"):
        open_model(f"scripted:{file}")


@given(
    pieces=st.lists(st.text("ab`", max_size=4), max_size=12),
    stop=st.lists(st.text("ab`", min_size=1, max_size=3), max_size=3),
)
def test_the_gate_passes_exactly_what_is_before_the_first_stop(pieces, stop):
    gate = StopGate(stop)
    passed = "".join(gate.feed(piece) for piece in pieces) + gate.flush()
    whole = "".join(pieces)
    found = [at for s in stop if (at := whole.find(s)) >= 0]
    assert gate.closed == bool(found)
    # Piece by piece a later, shorter stop string may be complete before an earlier, longer one.
    assert whole.startswith(passed)
    if not found:
        assert passed == whole
    else:
        assert len(passed) >= min(found) and not any(s in passed for s in stop)


@pytest.mark.parametrize("spec", ["qwen2.5-coder-15b", "gpt", "", "./nothing here"])
def test_an_unknown_name_says_what_is_possible(spec):
    with pytest.raises(ConfigError) as error:
        open_model(spec)
    for possible in ("qwen2.5-coder-1.5b", ".gguf", "provider:model", "hf:", "scripted:"):
        assert possible in error.value.hint


def test_close_names_are_suggested():
    with pytest.raises(ConfigError) as error:
        open_model("qwen2.5-coder-2.5b")
    assert "did you mean qwen2.5-coder-" in error.value.hint


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the model"):
        open_model(str(tmp_path / "none.gguf"))


def test_the_model_of_the_environment_is_used(tmp_path, monkeypatch):
    (tmp_path / "script").write_text('["from the environment"]')
    monkeypatch.setenv("SANDSMITH_MODEL", f"scripted:{tmp_path / 'script'}")
    assert open_model().complete(ASK)[0].text == "from the environment"


def test_a_model_is_passed_through():
    model = ScriptedModel([])
    assert open_model(model) is model


def test_replies_written_side_by_side_are_heard_one_after_another() -> None:
    heard: list[str] = []
    listener = InTurn(heard.append)
    for reply, piece in (
        (0, "a"),
        (1, "x"),
        (0, "b"),
        (2, "s"),
        (1, "y"),
        (1, ""),
        (2, "t"),
        (0, ""),
        (2, "u"),
        (2, ""),
    ):
        listener.take(reply, piece)
    assert heard == ["a", "b", "xy", "st", "u"]
