"""LangChain end to end: langchain-openai against llama.cpp's own OpenAI-compatible server, with real weights."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import urllib.request

import pytest

from agent import Agent, Budget
from agent.models import open_model
from agent.models.base import Message

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        importlib.util.find_spec("langchain_openai") is None,
        reason="langchain-openai is not installed (the `dev` extra)",
    ),
]

ASK = [Message("system", "You are a Python programmer."), Message("user", "Write a function that adds two numbers.")]
SERVE = """
import os, sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel = 4096, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
params.warmup, params.verbosity, params.offline, params.ui = False, -1, True, False
params.hostnames, params.port = ["127.0.0.1"], 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()  # to its end, which comes with that of the tests, however they end
os._exit(0)
"""


@pytest.fixture(scope="module")
def address(smallest_weights):
    """Where a llama.cpp server in a process of its own listens."""
    command = [sys.executable, "-c", SERVE, str(smallest_weights)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), f"the server said {address!r}"
        yield address
        child.stdin.close()


@pytest.fixture
def model(address, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    return open_model("openai:local")


def count(address, messages):
    """Prompt tokens, exactly, as the server counts them without a reply."""
    body = {"messages": [{"role": m.role, "content": m.content} for m in messages]}
    url = f"{address}/v1/chat/completions/input_tokens"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["input_tokens"]


def test_a_reply_streams_and_ends_by_itself(model):
    pieces = []
    brief = [ASK[0], Message("user", "Write a function add(a, b). Reply with its two lines of code alone.")]
    reply = model.complete(brief, max_tokens=600, on_token=pieces.append)[0]
    assert reply.text == "".join(pieces) and len(pieces) > 10
    assert "def add" in reply.text
    assert reply.finish_reason == "stop"


def test_tokens_are_counted(model, address):
    first, again = (model.complete(ASK, max_tokens=12)[0] for _ in range(2))
    assert first.finish_reason == again.finish_reason == "length"
    assert first.usage.prompt_tokens == again.usage.prompt_tokens == count(address, ASK)
    assert first.usage.completion_tokens == again.usage.completion_tokens == 12
    assert 0 < again.usage.cached_tokens < again.usage.prompt_tokens
    assert first.usage.cost is None
    assert model.count_tokens(ASK) >= first.usage.prompt_tokens


def test_a_stop_string_ends_the_reply_at_the_server(model):
    reply = model.complete([Message("user", "Count from 1 to 30: 1, 2, 3, and so on.")], stop=["7"], max_tokens=300)[0]
    assert reply.finish_reason == "stop"
    assert "6" in reply.text and "7" not in reply.text
    assert 0 < reply.usage.completion_tokens < 300, "the counts come last, so the stream was read to its end"


def test_draws_differ_by_their_seeds_and_a_seed_repeats(model):
    options = {"temperature": 1.5, "max_tokens": 12}
    model.complete(ASK, max_tokens=1)  # what is read anew is rounded otherwise than what is in the cache
    one, two = (c.text for c in model.complete(ASK, n=2, seed=5, **options))
    assert one != two
    assert model.complete(ASK, seed=5, **options)[0].text == one


def test_cancel_ends_a_reply_in_the_middle_and_the_server_serves_the_next(model):
    pieces = []

    def on_token(piece):
        pieces.append(piece)
        if len(pieces) == 5:
            model.cancel()

    reply = model.complete([Message("user", "Tell a very long story.")], max_tokens=3000, on_token=on_token)[0]
    assert reply.finish_reason == "cancelled"
    assert reply.text == "".join(pieces) and len(pieces) == 5
    assert model.complete(ASK, max_tokens=5)[0].usage.completion_tokens == 5


@pytest.mark.jail
def test_a_whole_task(model, tmp_path):
    budget = Budget(max_tokens=400, seconds=500)
    with Agent(model, runs=tmp_path, budget=budget) as agent:
        result = agent.run("Write a function double(x) that returns 2 * x.", checks=["double(4) == 8"])
    assert result.outcome == "solved", result.reason
    assert result.verdict.author == "user"
    assert "def double" in result.program.code
    assert result.usage.prompt_tokens > result.usage.completion_tokens > 0
