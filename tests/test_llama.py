"""The embedded model: real weights, the smallest that are on this machine, run by llama.cpp."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from agent.errors import ConfigError, ModelRejected, ModelUnavailable
from agent.models import open_model
from agent.models.base import Message
from agent.models.catalog import KNOWN_MODELS
from agent.models.llama import LlamaModel, _open_states, physical_cores
from agent.models.share import Share
from agent.models.weights import available, find_weights

ASK = (Message("system", "You are a Python programmer."), Message("user", "Write a function that adds two numbers."))
FENCE = "```python\n"
ALPHABET = "a b c d e f g h i j k l m n o p q r s t u v w x y z\n"


@pytest.fixture(scope="module")
def path():
    """The weights file of the smallest model that is here already."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the `local` extra)")
    here = [row.name for row in available() if row.where in ("cached", "pieces")]
    if not here:
        pytest.skip("no embedded model is on this machine (the `local` extra or `sandsmith model pull`)")
    return find_weights(min((m for m in KNOWN_MODELS if m.name in here), key=lambda m: m.size))


@pytest.fixture(scope="module")
def model(path):
    model = LlamaModel(path, context_tokens=2048)
    yield model
    model.close()


class TestReplies:
    pytestmark = pytest.mark.model

    def test_the_profile_comes_from_the_file(self, model, path):
        assert model.profile.name == path.stem
        assert 0.1 < model.profile.parameters < 2
        assert model.profile.context_tokens == 2048
        assert model.profile.prefill
        assert model.profile.lanes == 4

    def test_a_reply_goes_on_from_the_prefill_and_ends_before_the_stop(self, model):
        pieces = []
        reply = model.complete(ASK, prefill=FENCE, stop=["```"], max_tokens=120, on_token=pieces.append)[0]
        assert reply.text.startswith(FENCE)
        assert reply.text == FENCE + "".join(pieces)
        assert "```" not in reply.text.removeprefix(FENCE)
        assert "def " in reply.text

    def test_usage_counts_what_was_read_and_written(self, model):
        first = model.complete(ASK, max_tokens=5)[0]
        again = model.complete(ASK, max_tokens=5)[0]
        assert first.finish_reason == again.finish_reason == "length"
        assert first.usage.prompt_tokens == again.usage.prompt_tokens == model.count_tokens(ASK)
        assert first.usage.completion_tokens == again.usage.completion_tokens == 5
        assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1
        assert again.text == first.text
        assert again.usage.seconds > 0

    def test_the_state_of_an_earlier_prompt_is_kept(self, model):
        model.complete(ASK, max_tokens=1)
        model.complete([Message("user", "Tell me about the sea and its fish. " * 8)], max_tokens=1)
        back = model.complete(ASK, max_tokens=1)[0].usage
        assert back.cached_tokens >= back.prompt_tokens - 1

    def test_replies_written_at_once_differ_by_their_seeds(self, model):
        options = {"temperature": 1.2, "max_tokens": 12}
        four, again = (model.complete(ASK, n=4, seed=5, **options) for _ in "ab")
        assert [c.text for c in four] == [c.text for c in again]
        assert len({c.text for c in four}) == 4
        shifted = model.complete(ASK, n=4, seed=6, **options)
        assert [c.text for c in shifted[:3]] == [c.text for c in four[1:]]

    def test_the_prompt_of_several_replies_is_read_once(self, model):
        read = [c.usage for c in model.complete([Message("user", "Count to ten. " * 20)], n=3, max_tokens=2)]
        assert read[0].cached_tokens < read[0].prompt_tokens
        assert [u.cached_tokens for u in read[1:]] == [read[0].prompt_tokens] * 2
        assert [u.completion_tokens for u in read] == [2, 2, 2]

    def test_a_listener_hears_replies_one_after_another(self, model):
        pieces = []
        options = {"temperature": 1.2, "seed": 1, "prefill": FENCE, "stop": ["\n"]}
        replies = model.complete(ASK, n=6, max_tokens=20, on_token=pieces.append, **options)
        assert "".join(pieces) == "".join(r.text.removeprefix(FENCE) for r in replies)
        assert all(r.finish_reason in ("stop", "length") for r in replies)

    def test_replies_wait_where_the_context_has_no_room_for_all(self, model, monkeypatch):
        lanes = []
        stream = model._engine.stream
        monkeypatch.setattr(
            model._engine, "stream", lambda request, *rest: lanes.append(request["n"]) or stream(request, *rest)
        )
        for longest, together in ((900, [2, 1]), (5000, [1, 1, 1]), (20, [3])):
            lanes.clear()
            replies = model.complete(ASK, n=3, max_tokens=longest, prefill=FENCE, stop=[" "])
            assert ([r.finish_reason for r in replies], lanes) == (["stop"] * 3, together)

    def test_what_a_reply_repeats_is_guessed_and_changes_nothing(self, model, path, monkeypatch):
        # Where a model is in doubt, rounding decides: a step with guesses adds up in another order.
        sure = {"prefill": ALPHABET * 2 + "a b c d e", "max_tokens": 40}

        def written(model: LlamaModel) -> tuple[str, int]:
            timings = []
            stream = model._engine.stream

            def listen(*call):
                for chunk in stream(*call):
                    timings.append(chunk.get("timings", {}).get("draft_n_accepted", 0))
                    yield chunk

            monkeypatch.setattr(model._engine, "stream", listen)
            return model.complete([Message("user", "Repeat the alphabet.")], **sure)[0].text, max(timings)

        text, guessed = written(model)
        assert guessed > 10
        monkeypatch.setattr("agent.models.llama._ALIKE", 2000)
        plain = LlamaModel(path, context_tokens=2048)
        assert written(plain) == (text, 0)
        plain.close()

    def test_nothing_is_printed(self, path, capfd):
        model = LlamaModel(path, context_tokens=512)
        model.complete(ASK, max_tokens=2)
        model.close()
        assert capfd.readouterr() == ("", "")

    def test_a_prompt_that_does_not_fit_is_refused_with_numbers(self, model):
        with pytest.raises(ModelRejected, match=r"has 2\d\d\d tokens.* 2048 tokens"):
            model.complete([Message("user", "one two three four " * 500)])

    def test_two_threads_take_turns(self, model):
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(model.complete(ASK, max_tokens=8)[0].text)) for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(replies) == 2 and replies[0] == replies[1]


class TestStopping:
    pytestmark = pytest.mark.model

    def test_cancel_while_it_writes(self, model):
        pieces = []

        def on_token(piece: str) -> None:
            pieces.append(piece)
            if len(pieces) == 3:
                cancelled_at.append(time.monotonic())
                threading.Thread(target=model.cancel).start()

        cancelled_at: list[float] = []
        replies = model.complete(ASK, n=3, max_tokens=600, temperature=1.5, on_token=on_token)
        assert time.monotonic() - cancelled_at[0] < 1
        assert [r.finish_reason for r in replies] == ["cancelled"] * 3
        assert replies[0].text == "".join(pieces)
        assert replies[0].usage.completion_tokens >= 3
        assert all(r.text for r in replies)
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_cancel_while_it_reads_the_prompt(self, model):
        shares: list[float] = []
        cancelled_at: list[float] = []

        def on_progress(what: str, share: float) -> None:
            assert what == "reading the prompt"
            shares.append(share)
            if len(shares) == 2:
                cancelled_at.append(time.monotonic())
                model.cancel()

        prompt = [Message("user", " ".join(str(i) for i in range(400)))]
        reply = model.complete(prompt, max_tokens=50, on_progress=on_progress)[0]
        assert time.monotonic() - cancelled_at[0] < 1
        assert (reply.finish_reason, reply.text) == ("cancelled", "")
        assert shares == sorted(shares) and shares[-1] < 1

    def test_cancel_without_a_call_does_not_reach_the_next_one(self, model):
        model.cancel()
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_an_error_in_the_listener_reaches_the_caller_and_the_model_lives_on(self, model):
        def on_token(piece: str) -> None:
            raise BrokenPipeError("nobody listens")

        with pytest.raises(BrokenPipeError):
            model.complete(ASK, max_tokens=500, on_token=on_token)
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_closing_frees_it_for_good(self, path):
        model = LlamaModel(path, context_tokens=512)
        model.close()
        model.close()
        with pytest.raises(ModelUnavailable, match="closed"):
            model.complete(ASK)

    @pytest.mark.parametrize(
        ("ending", "code"),
        [
            ("pass", 0),
            ("threading.Thread(target=write, daemon=True).start(); time.sleep(0.5)", 0),
            ("threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start(); write()", -signal.SIGINT),
        ],
        ids=["idle", "while a daemon thread generates", "Ctrl-C"],
    )
    def test_the_interpreter_ends_soon_and_in_order(self, path, tmp_path, ending, code):
        script = f"""
            import os, signal, sys, threading, time
            from agent.models.llama import LlamaModel
            from agent.models.base import Message
            def hook(kind, *rest):
                os.write(1, b"interrupted ") if kind is KeyboardInterrupt else sys.__excepthook__(kind, *rest)
            sys.excepthook = hook
            model = LlamaModel({str(path)!r}, context_tokens=2048)
            def write():
                model.complete([Message("user", "Write a long story.")], max_tokens=1900, temperature=0.0)
            {ending}
            os.write(1, str(time.time()).encode())
        """
        env = os.environ | {"TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        ended = time.time()
        assert done.stderr == ""
        assert done.returncode in (code, 130 if code else 0)
        if code == 0:
            assert ended - float(done.stdout) < 5
        else:
            assert done.stdout == "interrupted "
        assert list(tmp_path.iterdir()) == []

    def test_there_is_no_door_for_others(self, path):
        script = f"""
            import os, re
            from pathlib import Path
            from agent.models.llama import LlamaModel
            model = LlamaModel({str(path)!r}, context_tokens=512)
            links = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
            inodes = set(re.findall(r"socket:\\[(\\d+)", " ".join(links)))
            assert inodes, "a socket was expected"
            def mine(kind, column):
                rows = [line.split() for line in Path("/proc/self/net", kind).read_text().splitlines()[1:]]
                return [row for row in rows if row[column] in inodes]
            print(mine("tcp", 9), mine("tcp6", 9), [p for row in mine("unix", 6) for p in row[7:] if Path(p).exists()])
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120
        )
        assert (done.stdout, done.stderr) == ("[] [] []\n", "")


class Asked:
    """A call in a thread of its own; `begun`, which several may share, is set by its first word."""

    def __init__(self, model, messages, tokens, begun=None):
        self.begun, self.replies = begun or threading.Event(), []
        self._call = (model, messages, tokens)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self):
        model, messages, tokens = self._call
        self.replies += model.complete(messages, max_tokens=tokens, on_token=lambda _: self.begun.set())

    @property
    def goes_on(self):
        return self._thread.is_alive()

    def end(self):
        self._thread.join(120)
        return self.replies[0]


class TestSideBySide:
    """Several calls at once, each in lanes of its own."""

    pytestmark = pytest.mark.model
    STORY = (Message("user", "Write a long story about the sea."),)
    REVERSE = (Message("user", "Write a function that reverses a string."),)

    @pytest.fixture
    def two(self, path):
        model = LlamaModel(path, context_tokens=1024, parallel=2)
        yield model
        model.close()

    def test_calls_at_once_say_what_each_says_alone(self, two):
        alone = [two.complete(messages, max_tokens=24)[0].text for messages in (ASK, self.REVERSE)]
        calls = [Asked(two, messages, 24) for messages in (ASK, self.REVERSE)]
        assert [call.end().text for call in calls] == alone
        assert two.profile.context_tokens == 1024
        assert two._engine.turns.free == 2

    def test_a_call_is_answered_and_cancelled_while_another_goes_on(self, two):
        shares = Share(two), Share(two)
        long = Asked(shares[0], self.STORY, 900)
        assert long.begun.wait(60)
        assert Asked(shares[1], ASK, 4).end().finish_reason == "length"
        assert long.goes_on, "the second call had to wait for the first"
        other = Asked(shares[1], self.STORY, 900)
        assert other.begun.wait(60)
        shares[1].cancel()
        assert other.end().finish_reason == "cancelled"
        assert long.goes_on, "the first call was cancelled, too"
        shares[0].cancel()
        assert long.end().finish_reason == "cancelled" and len(long.end().text) > len(other.end().text)

    def test_the_prompt_of_each_call_may_fill_its_own_context(self, two):
        prompts = [(Message("user", " ".join(f"{word}{n}" for n in range(200))),) for word in "ab"]
        assert all(700 < two.count_tokens(prompt) < 960 for prompt in prompts)
        assert [call.end().finish_reason for call in [Asked(two, prompt, 9) for prompt in prompts]] == ["length"] * 2

    def test_rules_are_read_once_for_all_and_while_nobody_else_is_answered(self, path, tmp_path):
        model = LlamaModel(path, context_tokens=1024, parallel=2, states=tmp_path, sha256="sum")
        rules = [Message("system", f"You write {what} programs. " * 12) for what in ("Python", "C")]
        calls = [Asked(model, [rules[0], Message("user", what)], 4) for what in ("Add.", "Sort.")]
        assert [call.end().finish_reason for call in calls] == ["length"] * 2
        assert len([*tmp_path.iterdir()]) == 1
        shares, add = (Share(model), Share(model)), [rules[1], Message("user", "Add.")]
        long = Asked(shares[0], self.STORY, 900)
        assert long.begun.wait(60)
        other = Asked(shares[1], add, 4)
        assert not other.begun.wait(0.5), "a lane was saved that may be in use"
        shares[1].cancel()
        assert other.end().finish_reason == "cancelled"
        shares[0].cancel()
        assert Asked(model, add, 4).end().finish_reason == "length"
        assert len([*tmp_path.iterdir()]) == 2
        model.close()

    def test_closing_stops_all(self, two):
        begun = threading.Event()
        calls = [Asked(two, self.STORY, 900, begun) for _ in "abc"]
        assert begun.wait(60)
        two.close()
        assert [call.end().finish_reason for call in calls] == ["cancelled"] * 3
        with pytest.raises(ModelUnavailable, match="closed"):
            two.complete(ASK)


class TestLaterRuns:
    """What was read of the rules, kept on the disk."""

    @pytest.mark.model
    def test_the_rules_are_read_once_and_again_where_their_state_is_damaged(self, path, tmp_path, monkeypatch):
        rules = Message("system", "You write Python programs. " * 12)

        def run(question: str) -> tuple[str, int]:
            model = LlamaModel(path, context_tokens=1024, states=tmp_path, sha256="sum")
            asked = []
            stream = model._engine.stream
            monkeypatch.setattr(model._engine, "stream", lambda *call: asked.append(call) or stream(*call))
            reply = model.complete([rules, Message("user", question)], max_tokens=12)[0]
            assert reply.usage.cached_tokens > model.count_tokens([rules]) - 8
            model.close()
            return reply.text, len(asked) - 1

        text, read = run("Add two numbers.")
        assert read == 1
        [file] = tmp_path.iterdir()
        state = file.read_bytes()
        assert run("Count the lines of a file.")[1] == 0
        file.write_bytes(state[:-1000])  # this would abort the runtime
        assert run("Add two numbers.") == (text, 1)
        assert [f.read_bytes() for f in tmp_path.iterdir()] == [state]

    @pytest.mark.model
    def test_a_folder_that_cannot_be_made_is_done_without(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert _open_states(tmp_path / "file" / "states", "sum") is None
        assert _open_states(tmp_path / "states", "sum") is not None


class TestLoading:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot read the model"):
            LlamaModel(tmp_path / "none.gguf")

    def test_a_file_of_another_kind(self, tmp_path):
        file = tmp_path / "page.gguf"
        file.write_text("<html>not found</html>")
        with pytest.raises(ModelUnavailable, match="is not a GGUF file"):
            open_model(str(file))

    def test_the_runtime_is_missing(self, tmp_path, monkeypatch):
        file = tmp_path / "m.gguf"
        file.write_bytes(b"GGUF")
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        with pytest.raises(ModelUnavailable) as error:
            LlamaModel(file)
        assert error.value.hint == "pip install 'sandsmith[local]'"

    @pytest.mark.model
    @pytest.mark.parametrize("size", [4, 2000, 8_000_000])
    def test_a_file_that_was_cut(self, path, tmp_path, size):
        file = tmp_path / "cut.gguf"
        with path.open("rb") as whole:
            file.write_bytes(whole.read(size))
        with pytest.raises(ModelUnavailable, match="cannot load"):
            LlamaModel(file)

    def test_cores_are_within_what_this_process_may_use(self):
        assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))
