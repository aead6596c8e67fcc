"""LangChain chat models: langchain-core's own fakes, and langchain-openai against a server on loopback."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from agent.errors import ConfigError, ModelRejected, ModelUnavailable
from agent.models import open_model
from agent.models.base import Message
from agent.models.chat import ChatModel

ASK = [Message("system", "You write Python."), Message("user", "Add 1 and 2.")]
needs_openai = pytest.mark.skipif(
    importlib.util.find_spec("langchain_openai") is None, reason="langchain-openai is not installed"
)


def saying(*replies: str) -> ChatModel:
    return ChatModel(GenericFakeChatModel(messages=iter([AIMessage(reply) for reply in replies])))


class Knobs(BaseChatModel):
    """Says what its fields hold; its field for the length has another name. Streams two chunks and an end."""

    temperature: float = 0.5
    num_predict: int = 7
    seed: int | None = None
    finish: str = "stop"
    pause: float = 0.0

    @property
    def _llm_type(self):
        return "knobs"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        said = {
            "temperature": self.temperature,
            "num_predict": self.num_predict,
            "seed": self.seed,
            "stops": len(stop or []),
        }
        said["roles"] = [m.type for m in messages]
        yield chunk(json.dumps(said))
        time.sleep(self.pause)
        yield chunk("\nmore")
        usage = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "input_token_details": {"cache_read": 4}}
        yield chunk("", usage_metadata=usage, response_metadata={"finish_reason": self.finish})


def chunk(text, **fields):
    return ChatGenerationChunk(message=AIMessageChunk(text, **fields))


class Failing(BaseChatModel):
    error: Exception

    @property
    def _llm_type(self):
        return "failing"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise self.error


class StatusError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status_code = status


def test_a_reply_streams_and_is_whole():
    pieces = []
    completion = saying("def add(a, b): return a + b").complete(ASK, on_token=pieces.append)[0]
    assert completion.text == "".join(pieces) == "def add(a, b): return a + b"
    assert len(pieces) > 3
    assert completion.finish_reason == "stop"


def test_each_of_n_replies_is_a_call():
    assert [c.text for c in saying("one", "two").complete(ASK, n=2)] == ["one", "two"]


def test_stop_strings_hold_even_where_the_provider_ignores_them():
    completion = saying("x = 1\n``` and so on").complete(ASK, stop=["```"])[0]
    assert (completion.text, completion.finish_reason) == ("x = 1\n", "stop")


def test_options_reach_the_fields_of_the_integration_whatever_they_are_called():
    knobs = Knobs()
    replies = ChatModel(knobs).complete(ASK, n=2, temperature=0.8, max_tokens=99, seed=3, top_k=5, stop=["END"])
    said = [json.loads(r.text.splitlines()[0]) for r in replies]
    expected = {"temperature": 0.8, "num_predict": 99, "stops": 1, "roles": ["system", "human"]}
    assert said == [{**expected, "seed": 3}, {**expected, "seed": 4}]
    assert knobs.temperature == 0.5, "the caller's own object was changed"


def test_usage_is_the_providers():
    usage = ChatModel(Knobs()).complete(ASK)[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (11, 5, 4)
    assert usage.seconds > 0


@pytest.mark.parametrize(
    ("said", "meant"), [("stop", "stop"), ("length", "length"), ("MAX_TOKENS", "length"), ("end_turn", "stop")]
)
def test_finish_reasons(said, meant):
    assert ChatModel(Knobs(finish=said)).complete(ASK)[0].finish_reason == meant


def test_a_filtered_reply_is_a_refusal():
    silent = AIMessage("", response_metadata={"finish_reason": "content_filter"})
    with pytest.raises(ModelRejected, match="content_filter"):
        ChatModel(Silent(reply=silent)).complete(ASK)


class Silent(BaseChatModel):
    reply: AIMessage

    @property
    def _llm_type(self):
        return "silent"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self.reply)])


def test_cancel_acts_between_chunks():
    model = ChatModel(Knobs(pause=0.5))
    threading.Timer(0.1, model.cancel).start()
    replies = model.complete(ASK, n=3)
    assert [r.finish_reason for r in replies] == ["cancelled"]
    assert replies[0].text and "more" not in replies[0].text
    assert model.complete(ASK)[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (StatusError(400, "bad request"), ModelRejected, "bad request"),
        (StatusError(400, "This model's maximum context length is 8192 tokens"), ModelRejected, "too long"),
        (StatusError(401, "no such key"), ModelUnavailable, "no such key"),
        (StatusError(429, "quota"), ModelUnavailable, "quota"),
        (StatusError(503, "overloaded"), ModelUnavailable, "overloaded"),
        (ConnectionRefusedError("refused"), ModelUnavailable, "refused"),
        (TimeoutError("slow"), ModelUnavailable, "slow"),
    ],
)
def test_whose_fault_it_is(error, kind, told):
    with pytest.raises(kind, match=told) as raised:
        ChatModel(Failing(error=error)).complete(ASK)
    assert raised.value.__cause__ is error


def test_a_langchain_model_is_wrapped_by_open_model():
    model = open_model(GenericFakeChatModel(messages=iter([AIMessage("hello")])))
    assert model.complete(ASK)[0].text == "hello"
    assert model.profile.parameters is None and not model.profile.prefill


def test_tokens_are_estimated_from_above():
    code = "def add(first_number, second_number):\n    return first_number + second_number\n"
    assert ChatModel(Knobs()).count_tokens([Message("user", code)]) > 20


def test_an_unknown_provider():
    with pytest.raises(ConfigError, match="nobody") as error:
        open_model("nobody:some-model")
    assert "openai" in error.value.hint


def test_a_provider_whose_package_is_missing():
    if importlib.util.find_spec("langchain_ibm") is not None:
        pytest.skip("langchain-ibm is installed here")
    with pytest.raises(ModelUnavailable) as error:
        open_model("ibm:granite")
    assert error.value.hint == "pip install langchain-ibm"


# langchain-openai against a server on loopback


@pytest.fixture
def openai_server(monkeypatch):
    """A server that speaks the protocol; `server.answers` holds (status, text) and `server.asked` the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append(body)
            status, text = self.server.answers.pop(0) if self.server.answers else (200, "x = 1")
            data = sse(text) if status == 200 else json.dumps({"error": {"message": text, "code": None}})
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if status == 200 else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [], []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("LANGSMITH_TRACING", "false")
        yield server
        server.shutdown()


def sse(text: str) -> str:
    frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": c} for c in text)]
    chunks = [{**frame, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    usage = {"prompt_tokens": 9, "completion_tokens": len(text), "total_tokens": 9 + len(text)}
    chunks.append({**frame, "choices": [], "usage": usage})
    return "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"


@needs_openai
def test_openai_streams_with_all_options(openai_server):
    pieces = []
    model = open_model("openai:gpt-4o-mini")
    completion = model.complete(
        ASK, temperature=0.3, max_tokens=50, seed=1, stop=["END"], top_p=0.9, on_token=pieces.append
    )[0]
    assert completion.text == "x = 1" == "".join(pieces) and len(pieces) == 5
    assert completion.finish_reason == "length"
    asked = openai_server.asked[0]
    assert (asked["temperature"], asked["seed"], asked["top_p"], asked["stop"]) == (0.3, 1, 0.9, ["END"])
    assert 50 in (asked.get("max_tokens"), asked.get("max_completion_tokens"))
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]


@needs_openai
def test_an_option_that_the_provider_refuses_is_left_out_from_then_on(openai_server):
    openai_server.answers.append((400, "Unsupported parameter: 'temperature' is not supported with this model."))
    model = open_model("openai:some-model")
    assert [c.text for c in model.complete(ASK, n=2, temperature=0.3)] == ["x = 1", "x = 1"]
    assert ["temperature" in asked for asked in openai_server.asked] == [True, False, False]


@needs_openai
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, "Incorrect API key", ModelUnavailable),
        (404, "no such model", ModelUnavailable),
        (400, "bad", ModelRejected),
    ],
)
def test_openai_errors(openai_server, status, text, kind):
    openai_server.answers.append((status, text))
    with pytest.raises(kind, match=text) as error:
        open_model("openai:gpt-4o-mini").complete(ASK)
    assert status == 400 or error.value.hint


@needs_openai
def test_openai_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        open_model("openai:gpt-4o-mini").complete(ASK)


@needs_openai
def test_a_missing_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelUnavailable) as error:
        open_model("openai:gpt-4o-mini").complete(ASK)
    assert "API" in str(error.value) + error.value.hint
