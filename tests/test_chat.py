"""LangChain chat models: langchain-core's own fakes, and providers' packages against a server on loopback."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from loopback import wait_until
from tenacity import wait_none

from agent.errors import ConfigError, ModelRejected, ModelUnavailable
from agent.models import chat, open_model
from agent.models.base import Message, Usage
from agent.models.chat import ChatModel
from agent.models.providers import reported_cost, retry_after

ASK = [Message("system", "You write Python."), Message("user", "Add 1 and 2.")]


def needs(package):
    absent = importlib.util.find_spec(package.replace("-", "_")) is None
    return pytest.mark.skipif(absent, reason=f"{package} is not installed (the `dev` extra)")


needs_openai = needs("langchain-openai")
needs_anthropic = needs("langchain-anthropic")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The next try comes at once where the provider does not say when."""
    monkeypatch.setattr(chat, "_BACKOFF", wait_none())


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


class Held(BaseChatModel):
    """Says one word, then nothing before `go` is set."""

    go: threading.Event
    left: threading.Event
    whole: threading.Event

    @property
    def _llm_type(self):
        return "held"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        try:
            yield chunk("one")
            self.go.wait()
            yield chunk(" two")
            yield chunk(" three")
            self.whole.set()
        finally:
            self.left.set()


@pytest.fixture
def held():
    model = Held(go=threading.Event(), left=threading.Event(), whole=threading.Event())
    yield model
    model.go.set()
    model.left.wait()


def test_cancel_acts_while_nothing_comes(held):
    model = ChatModel(held)
    reply = model.complete(ASK, on_token=lambda piece: threading.Timer(0.1, model.cancel).start())[0]
    assert (reply.text, reply.finish_reason) == ("one", "cancelled")
    assert not held.left.is_set()


def test_a_reply_that_falls_silent_is_given_up(held):
    pieces = []
    with pytest.raises(ModelUnavailable, match=r"nothing came for 0\.2 s from Held") as error:
        ChatModel(held, next_seconds=0.2).complete(ASK, on_token=pieces.append)
    assert pieces == ["one"] and error.value.hint


def test_the_stream_is_left_when_nobody_listens_any_more(held):
    def on_token(piece):
        raise KeyError(piece)

    with pytest.raises(KeyError, match="one"):
        ChatModel(held).complete(ASK, on_token=on_token)
    held.go.set()
    assert wait_until(held.left.is_set) and not held.whole.is_set()


PLACE = ContextVar("PLACE", default="nowhere")


class Placed(Silent):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage(PLACE.get()))])


def test_the_model_is_asked_in_the_callers_context():
    token = PLACE.set("here")
    try:
        assert ChatModel(Placed(reply=AIMessage(""))).complete(ASK)[0].text == "here"
    finally:
        PLACE.reset(token)


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


# Costs


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        ({}, None),
        ({"cost": 0.002}, 0.002),
        ({"cost": 0}, 0.0),
        ({"cost": [0.001, 0.003]}, 0.003),
        ({"token_usage": {"cost": 0.004}}, 0.004),
        ({"token_usage": {"total_tokens": 4}}, None),
        *(({"cost": nonsense}, None) for nonsense in ("free", -1, True, float("nan"), float("inf"), None)),
    ],
)
def test_the_cost_is_what_the_provider_says_and_nothing_else(said, cost):
    assert reported_cost(AIMessage("", response_metadata=said)) == cost


def test_costs_add_up_where_they_are_known():
    assert Usage().cost is None and (Usage() + Usage()).cost is None
    assert (Usage() + Usage(cost=0.5)).cost == (Usage(cost=0.5) + Usage()).cost == 0.5
    assert (Usage(cost=0.5) + Usage(cost=0.25)).cost == 0.75


# Trying again


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("0.5", 0.5), ("", None), ("soon", None), ("-3", None), ("inf", None)]
)
def test_how_long_the_provider_says_to_wait(header, seconds):
    assert retry_after(refusal(header)) == seconds
    assert retry_after(ValueError()) is None


def test_the_provider_may_name_a_time():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 0 < retry_after(refusal(soon)) <= 100
    assert retry_after(refusal("Wed, 21 Oct 2015 07:28:00 GMT")) == 0


def refusal(header):
    error = StatusError(429, "too many requests")
    error.response = SimpleNamespace(headers={"retry-after": header})
    return error


class Flaky(Silent):
    """Fails as often as there are errors."""

    errors: list[Exception]

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if self.errors:
            raise self.errors.pop(0)
        return super()._generate(messages, stop, run_manager, **kwargs)


def test_what_failed_for_a_reason_that_passes_is_tried_again():
    told = []
    errors = [StatusError(503, "overloaded"), ConnectionResetError("reset"), StatusError(409, "locked")]
    model = ChatModel(Flaky(errors=errors, reply=AIMessage("x = 1")))
    assert model.complete(ASK, on_progress=lambda what, share: told.append(what))[0].text == "x = 1"
    assert told == ["waiting for Flaky"] * 3


def test_no_more_than_a_few_tries():
    model = Flaky(errors=[StatusError(503, str(i)) for i in range(9)], reply=AIMessage("x = 1"))
    with pytest.raises(ModelUnavailable, match="3"):
        ChatModel(model).complete(ASK)
    assert len(model.errors) == 5


def test_an_error_of_the_listener_is_not_the_providers():
    def on_progress(what, share):
        raise KeyError(what)

    model = Flaky(errors=[StatusError(503, "overloaded")], reply=AIMessage("x = 1"))
    with pytest.raises(KeyError, match="waiting"):
        ChatModel(model).complete(ASK, on_progress=on_progress)


# Providers' packages against a server on loopback


@dataclass
class Answer:
    """What the server does with a request."""

    text: str = "x = 1"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    usage: dict[str, object] = field(default_factory=dict)
    """Beside the counts."""
    stops_after: int | None = None
    """Pieces of text after which no more comes."""
    cuts: bool = False
    """Whether the connection is cut then, else it is held."""
    fault: dict[str, object] | None = None
    """An error in place of the events."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        answer = self.server.answers.pop(0) if self.server.answers else Answer()
        write = anthropic_events if self.path.endswith("/messages") else openai_events
        events = write(answer) if answer.status == 200 else [json.dumps({"error": {"message": answer.text}})]
        data, cut = "".join(events), answer.stops_after
        sent = data if cut is None else "".join(events[: cut + 1])
        if cut != -1:
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/event-stream" if answer.status == 200 else "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent.encode())
        if cut is not None and not answer.cuts:
            self.server.over.wait()
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server that speaks both protocols; `answers` are to be given in turn, `asked` are the requests."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked, server.over = [], [], threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
        monkeypatch.setenv("LANGSMITH_TRACING", "false")
        yield server
        server.over.set()
        server.shutdown()


def openai_events(answer):
    """One for the role, one for each letter, two for the end."""
    if answer.fault:
        return [f"data: {json.dumps({'error': answer.fault})}\n\n"]
    frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": c} for c in answer.text)]
    chunks = [{**frame, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    size = len(answer.text)
    usage = {"prompt_tokens": 9, "completion_tokens": size, "total_tokens": 9 + size, **answer.usage}
    chunks.append({**frame, "choices": [], "usage": usage})
    return [*(f"data: {json.dumps(c)}\n\n" for c in chunks), "data: [DONE]\n\n"]


def anthropic_events(answer):
    usage = {"input_tokens": 3, "output_tokens": 1, **answer.usage}
    message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    delta = {"type": "text_delta", "text": answer.text}
    events = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events]


@needs_openai
class TestOpenAI:
    def test_streams_with_all_options(self, server):
        pieces = []
        model = open_model("openai:gpt-4o-mini")
        completion = model.complete(
            ASK, temperature=0.3, max_tokens=50, seed=1, stop=["END"], top_p=0.9, on_token=pieces.append
        )[0]
        assert completion.text == "x = 1" == "".join(pieces) and len(pieces) == 5
        assert completion.finish_reason == "length"
        asked = server.asked[0]
        assert (asked["temperature"], asked["seed"], asked["top_p"], asked["stop"]) == (0.3, 1, 0.9, ["END"])
        assert 50 in (asked.get("max_tokens"), asked.get("max_completion_tokens"))
        assert [m["role"] for m in asked["messages"]] == ["system", "user"]
        assert asked["messages"][0]["content"] == ASK[0].content

    def test_tokens_are_counted_for_any_server(self, server):
        server.answers.append(Answer(usage={"prompt_tokens_details": {"cached_tokens": 4}}))
        usage = open_model("openai:some-model").complete(ASK)[0].usage
        assert server.asked[0]["stream_options"] == {"include_usage": True}
        assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (9, 5, 4)

    def test_the_cost_is_passed_on(self, server):
        server.answers += [Answer(usage={"cost": 0.00125}), Answer()]
        replies = open_model("openai:some-model").complete(ASK, n=2)
        assert [reply.usage.cost for reply in replies] == [0.00125, None]

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
            ("Unrecognized request argument supplied: stream_options", "stream_options"),
            ("[{'loc': ['body', 'seed'], 'msg': 'Extra inputs are not permitted'}]", "seed"),
        ],
    )
    def test_an_option_that_the_provider_refuses_is_left_out_from_then_on(self, server, text, field):
        server.answers.append(Answer(text, 400))
        model = open_model("openai:some-model")
        assert [c.text for c in model.complete(ASK, n=2, temperature=0.3, seed=1)] == ["x = 1", "x = 1"]
        assert [field in asked for asked in server.asked] == [True, False, False]

    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
    def test_what_may_pass_is_tried_four_times_in_all(self, server, status):
        server.answers += [Answer("not now", status, {"Retry-After": "0"}) for _ in range(9)]
        with pytest.raises(ModelUnavailable, match="not now") as error:
            open_model("openai:some-model").complete(ASK)
        assert len(server.asked) == 4 and error.value.hint

    @pytest.mark.parametrize(
        ("status", "text", "kind"),
        [
            (400, "bad", ModelRejected),
            (401, "Incorrect API key", ModelUnavailable),
            (403, "not for you", ModelUnavailable),
            (404, "no such model", ModelUnavailable),
            (413, "too large", ModelRejected),
            (422, "malformed", ModelRejected),
            (429, "insufficient_quota", ModelUnavailable),
        ],
    )
    def test_what_will_not_pass_is_not_tried_again(self, server, status, text, kind):
        server.answers.append(Answer(text, status))
        with pytest.raises(kind, match=text) as error:
            open_model("openai:gpt-4o-mini").complete(ASK)
        assert len(server.asked) == 1
        assert kind is ModelRejected or error.value.hint

    def test_the_provider_says_when_to_try_again(self, server, monkeypatch):
        def backoff(state):
            raise AssertionError("the provider was not asked")

        monkeypatch.setattr(chat, "_BACKOFF", backoff)
        server.answers.append(Answer("too many requests", 429, {"Retry-After": "0"}))
        assert open_model("openai:some-model").complete(ASK)[0].text == "x = 1"
        assert len(server.asked) == 2

    def test_nobody_waits_for_an_hour(self, server):
        server.answers.append(Answer("too many requests", 429, {"Retry-After": "3600"}))
        with pytest.raises(ModelUnavailable) as error:
            open_model("openai:some-model").complete(ASK)
        assert len(server.asked) == 1 and "3600 s" in error.value.hint

    def test_a_connection_that_breaks_before_the_reply_is_tried_again(self, server):
        server.answers.append(Answer(stops_after=-1, cuts=True))
        assert open_model("openai:some-model").complete(ASK)[0].text == "x = 1"
        assert len(server.asked) == 2

    def test_a_reply_that_has_begun_is_not_asked_for_again(self, server):
        pieces = []
        server.answers.append(Answer(stops_after=2, cuts=True))
        with pytest.raises(ModelUnavailable):
            open_model("openai:some-model").complete(ASK, on_token=pieces.append)
        assert len(server.asked) == 1 and pieces == ["x", " "]

    @pytest.mark.parametrize(("code", "asked"), [(502, 2), (403, 1)])
    def test_an_error_may_come_as_an_event(self, server, code, asked):
        server.answers += [Answer(fault={"code": code, "message": "the host is down"}), Answer(status=403)]
        with pytest.raises(ModelUnavailable):
            open_model("openai:some-model").complete(ASK)
        assert len(server.asked) == asked

    def test_cancel_ends_the_wait_for_the_next_try(self, server):
        server.answers += [Answer("not now", 503, {"Retry-After": "80"}) for _ in range(9)]
        model = open_model("openai:some-model")
        reply = model.complete(ASK, on_progress=lambda what, share: threading.Timer(0.1, model.cancel).start())[0]
        assert (reply.text, reply.finish_reason) == ("", "cancelled")
        assert len(server.asked) == 1 and reply.usage.seconds < 60

    def test_cancel_acts_before_the_first_sign(self, server):
        server.answers.append(Answer(stops_after=-1))
        model = open_model("openai:some-model")
        threading.Thread(target=lambda: wait_until(lambda: server.asked) and model.cancel()).start()
        replies = model.complete(ASK, n=3)
        assert [(reply.text, reply.finish_reason) for reply in replies] == [("", "cancelled")]

    @pytest.mark.parametrize(("stops_after", "limit"), [(-1, "first_seconds"), (2, "next_seconds")])
    def test_a_silent_server_is_given_up(self, server, stops_after, limit):
        server.answers.append(Answer(stops_after=stops_after))
        with pytest.raises(ModelUnavailable, match=r"nothing came for 0\.5 s") as error:
            ChatModel("openai:some-model", **{limit: 0.5}).complete(ASK)
        assert len(server.asked) == 1 and error.value.hint

    def test_a_ready_made_model_tries_again_as_it_was_told_to(self, server):
        from langchain_openai import ChatOpenAI

        given = ChatOpenAI(model="some-model", max_retries=1)
        server.answers += [
            *(Answer("not now", 503, {"Retry-After": "0.01"}) for _ in range(2)),
            Answer(usage={"cost": 0.5}),
        ]
        with pytest.raises(ModelUnavailable, match="not now"):
            open_model(given).complete(ASK)
        assert len(server.asked) == 2
        assert open_model(given).complete(ASK)[0].usage.cost == 0.5
        assert type(given) is ChatOpenAI, "the caller's own object was changed"

    def test_a_server_that_cannot_be_reached(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            open_model("openai:gpt-4o-mini").complete(ASK)

    def test_a_missing_key(self, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ModelUnavailable) as error:
            open_model("openai:gpt-4o-mini").complete(ASK)
        assert "API" in str(error.value) + error.value.hint


@needs_anthropic
class TestAnthropic:
    def test_rules_and_task_are_marked_for_the_cache(self, server):
        messages = [*ASK, Message("assistant", "x"), Message("user", "Fix it.")]
        server.answers.append(Answer(usage={"cache_read_input_tokens": 2000}))
        reply = open_model("anthropic:some-model").complete(messages)[0]
        asked, mark = server.asked[0], {"type": "ephemeral"}
        assert asked["system"] == [{"type": "text", "text": ASK[0].content, "cache_control": mark}]
        assert asked["messages"][0]["content"] == [{"type": "text", "text": ASK[1].content, "cache_control": mark}]
        assert "cache_control" not in json.dumps(asked["messages"][1:])
        assert (reply.text, reply.finish_reason) == ("x = 1", "stop")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens) == (2003, 5, 2000)

    def test_the_prompt_need_not_have_rules(self, server):
        open_model("anthropic:some-model").complete([Message("system", ""), Message("user", "Hello.")])
        assert json.dumps(server.asked[0]).count("cache_control") == 1

    def test_what_may_pass_is_tried_four_times_in_all(self, server):
        server.answers += [Answer("overloaded", 529) for _ in range(9)]
        with pytest.raises(ModelUnavailable, match="overloaded"):
            open_model("anthropic:some-model").complete(ASK)
        assert len(server.asked) == 4
