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
from agent.models.llama import LlamaModel, physical_cores
from agent.models.weights import available, find_weights

ASK = (Message("system", "You are a Python programmer."), Message("user", "Write a function that adds two numbers."))
FENCE = "```python\n"


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

    def test_n_replies_are_those_of_successive_seeds(self, model):
        options = {"temperature": 1.2, "max_tokens": 12}
        both = model.complete(ASK, n=2, seed=5, **options)
        alone = [model.complete(ASK, seed=seed, **options)[0] for seed in (5, 6)]
        assert [c.text for c in both] == [c.text for c in alone]
        assert both[0].text != both[1].text

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
        replies = model.complete(ASK, n=3, max_tokens=1500, temperature=1.5, on_token=on_token)
        assert time.monotonic() - cancelled_at[0] < 1
        assert [r.finish_reason for r in replies] == ["cancelled"]
        assert replies[0].text == "".join(pieces)
        assert replies[0].usage.completion_tokens >= 3
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
                model.complete([Message("user", "Write a long story.")], max_tokens=1900, temperature=1.5)
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
