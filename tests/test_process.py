"""llama.cpp in a child process: the same replies, and nothing that this process has to wait for or leaves behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigError, ModelRejected, ModelUnavailable
from agent.models import open_model
from agent.models.base import Completion, Message
from agent.models.catalog import KNOWN_MODELS
from agent.models.process import ModelProcess
from agent.models.share import Share
from agent.models.weights import available, find_weights

ASK = (Message("system", "You are a Python programmer."), Message("user", "Write a function that adds two numbers."))
STORY = (Message("user", "Write a long story about the sea."),)
FENCE = "```python\n"
# Greedy: a draw at a high temperature may be over after a few words.
LONG: dict[str, Any] = {"max_tokens": 1500, "temperature": 0.0}
Ident = tuple[int, str]


def family(pid: int) -> set[Ident]:
    """The living descendants of a process: pid and start time. Zombies are dead."""
    stats = {int(p.name): stat for p in Path("/proc").iterdir() if p.name.isdigit() and (stat := _stat(p))}
    found: set[Ident] = set()
    parents = {pid}
    while parents:
        parents = {child for child, stat in stats.items() if int(stat[1]) in parents and stat[0] != "Z"}
        found |= {(child, stats[child][19]) for child in parents}
    return found


def is_alive(process: Ident) -> bool:
    stat = _stat(Path("/proc", str(process[0])))
    return bool(stat) and stat[0] != "Z" and stat[19] == process[1]


def _stat(folder: Path) -> list[str]:
    """State, parent and so on: proc(5), from the third field on."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def wait_until(condition: Callable[[], Any], seconds: float) -> float:
    """Seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture(scope="session")
def path() -> Path:
    """The weights file of the smallest model that is here already."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the `local` extra)")
    here = [row.name for row in available() if row.where in ("cached", "pieces")]
    if not here:
        pytest.skip("no embedded model is on this machine (the `local` extra or `sandsmith model pull`)")
    return find_weights(min((m for m in KNOWN_MODELS if m.name in here), key=lambda m: m.size))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for `TMPDIR`: an empty one, with a name as short as they are outside of tests."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[ModelProcess]:
    model = ModelProcess(path, context_tokens=2048)
    yield model
    model.close()


@pytest.fixture(scope="module")
def wide(path: Path) -> Iterator[ModelProcess]:
    model = ModelProcess(path, context_tokens=1024, parallel=2)
    yield model
    model.close()


def children() -> set[int]:
    return {pid for pid, _ in family(os.getpid())}


def opened(path: Path) -> tuple[ModelProcess, int]:
    """A model and the pid of its child."""
    before = children()
    model = ModelProcess(path, context_tokens=512)
    [pid] = children() - before
    return model, pid


def in_thread(call: Callable[[], list[Completion]]) -> tuple[threading.Thread, list[Completion]]:
    replies: list[Completion] = []
    thread = threading.Thread(target=lambda: replies.extend(call()))
    thread.start()
    return thread, replies


@pytest.mark.model
class TestSideBySide:
    def test_two_calls_are_answered_at_once(self, wide: ModelProcess) -> None:
        assert wide.profile.context_tokens == 1024
        order: list[str] = []
        long, a = in_thread(lambda: wide.complete(STORY, on_token=lambda _: order.append("long"), **LONG))
        wait_until(lambda: order, 60)
        reply = wide.complete(ASK, prefill=FENCE, max_tokens=8, n=2, on_token=lambda _: order.append("short"))
        assert [r.finish_reason for r in reply] == ["length"] * 2 and order[-1] in ("short", "long")
        wide.cancel()
        long.join(20)
        assert a[0].finish_reason == "cancelled" and a[0].usage.completion_tokens > 2
        assert set(order) == {"short", "long"}
        between = "".join(name[0] for name in order)
        assert "ls" in between and "sl" in between  # the long one was heard on both sides of the short one

    def test_a_call_that_is_cancelled_leaves_the_other(self, wide: ModelProcess) -> None:
        one, other = Share(wide), Share(wide)
        heard = threading.Event()
        first, a = in_thread(lambda: one.complete(STORY, on_token=lambda _: heard.set(), **LONG))
        second, b = in_thread(lambda: other.complete(ASK, prefill=FENCE, max_tokens=60, temperature=0.0))
        assert heard.wait(60)
        one.cancel()
        for thread in (first, second):
            thread.join(60)
        assert a[0].finish_reason == "cancelled"
        assert b[0].finish_reason in ("stop", "length") and b[0].usage.completion_tokens > 10

    def test_more_calls_than_turns_wait_for_theirs(self, wide: ModelProcess) -> None:
        calls = [in_thread(lambda: wide.complete(ASK, prefill=FENCE, max_tokens=4)) for _ in range(5)]
        for thread, _ in calls:
            thread.join(60)
        assert [replies[0].finish_reason for _, replies in calls] == ["length"] * 5

    def test_a_child_that_dies_ends_all_its_calls_and_one_takes_its_place(self, path: Path) -> None:
        before = children()
        model = ModelProcess(path, context_tokens=512, parallel=2)
        [pid] = children() - before
        errors: list[ModelUnavailable] = []

        def ask() -> None:
            try:
                model.complete(STORY, on_token=lambda _: heard.release(), max_tokens=400)
            except ModelUnavailable as error:
                errors.append(error)

        heard = threading.Semaphore(0)
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert heard.acquire(timeout=60)
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(30)
        assert len(errors) >= 1 and all("died" in str(error) for error in errors)
        replies = [in_thread(lambda: model.complete(ASK, max_tokens=2)) for _ in range(2)]
        for thread, _ in replies:
            thread.join(60)
        assert [r[0].finish_reason for _, r in replies] == ["length"] * 2
        assert len(children() - before) == 1
        model.close()


@pytest.mark.model
class TestReplies:
    def test_the_profile_comes_from_the_file(self, model: ModelProcess, path: Path) -> None:
        assert model.profile.name == path.stem
        assert 0.1 < (model.profile.parameters or 0) < 2
        assert model.profile.context_tokens == 2048
        assert model.profile.prefill

    def test_all_options_reach_the_engine(self, model: ModelProcess) -> None:
        pieces: list[str] = []
        reply = model.complete(ASK, prefill=FENCE, stop=["```"], max_tokens=60, on_token=pieces.append)[0]
        assert reply.text == FENCE + "".join(pieces)
        assert "```" not in reply.text.removeprefix(FENCE)
        assert model.complete(ASK, max_tokens=5)[0].finish_reason == "length"

    def test_usage_counts_what_was_read_and_written(self, model: ModelProcess) -> None:
        usage = model.complete(ASK, max_tokens=5)[0].usage
        assert usage.prompt_tokens == model.count_tokens(ASK)
        assert usage.completion_tokens == 5
        assert usage.seconds > 0

    def test_replies_are_written_at_once_and_heard_one_after_another(self, model: ModelProcess) -> None:
        pieces: list[str] = []
        options: dict[str, Any] = {"temperature": 1.2, "top_p": 0.95, "top_k": 40, "max_tokens": 12}
        four = model.complete(ASK, n=4, seed=5, on_token=pieces.append, **options)
        assert "".join(pieces) == "".join(c.text for c in four)
        assert len({c.text for c in four}) == 4
        assert [c.text for c in model.complete(ASK, n=4, seed=5, **options)] == [c.text for c in four]

    def test_listeners_are_called_in_the_thread_of_the_caller(self, model: ModelProcess) -> None:
        threads: set[int] = set()
        shares: list[float] = []

        def on_progress(what: str, share: float) -> None:
            assert what == "reading the prompt"
            threads.add(threading.get_ident())
            shares.append(share)

        prompt = [Message("user", " ".join(str(i) for i in range(100)))]
        model.complete(
            prompt, max_tokens=3, on_token=lambda _: threads.add(threading.get_ident()), on_progress=on_progress
        )
        assert threads == {threading.get_ident()}
        assert shares == sorted(shares) and shares[-1] == 1

    def test_what_the_engine_refuses_is_refused_here(self, model: ModelProcess) -> None:
        with pytest.raises(ModelRejected, match=r"has 2\d\d\d tokens.* 2048 tokens") as error:
            model.complete([Message("user", "one two three four " * 500)])
        assert error.value.hint == "shorten the task or name fewer files"

    def test_two_threads_take_turns(self, model: ModelProcess) -> None:
        first, a = in_thread(lambda: model.complete(ASK, max_tokens=8))
        second, b = in_thread(lambda: model.complete(ASK, max_tokens=8))
        first.join(60)
        second.join(60)
        assert a[0].text == b[0].text

    def test_text_of_any_kind_crosses_over(self, model: ModelProcess) -> None:
        assert model.count_tokens([Message("user", "ü 日本 \n\0 \x1b \u2028 😀")]) > 5


@pytest.mark.model
class TestStopping:
    def test_cancel_while_it_writes(self, model: ModelProcess) -> None:
        pieces: list[str] = []
        cancelled_at: list[float] = []

        def on_token(piece: str) -> None:
            pieces.append(piece)
            if len(pieces) == 3:
                cancelled_at.append(time.monotonic())
                threading.Thread(target=model.cancel).start()

        replies = model.complete(STORY, n=3, on_token=on_token, prefill="Once", **LONG)
        assert time.monotonic() - cancelled_at[0] < 0.5
        assert {r.finish_reason for r in replies} == {"cancelled"}
        assert replies[0].text == "Once" + "".join(pieces)
        assert replies[0].usage.completion_tokens == len(pieces)
        began = time.monotonic()
        assert model.complete(STORY, max_tokens=2)[0].finish_reason == "length"
        assert time.monotonic() - began < 5, "the child went on with a reply that nobody waits for"

    def test_cancel_while_it_reads_the_prompt(self, model: ModelProcess) -> None:
        shares: list[float] = []

        def on_progress(what: str, share: float) -> None:
            shares.append(share)
            model.cancel()

        prompt = [Message("user", " ".join(str(i) for i in range(400)))]
        reply = model.complete(prompt, max_tokens=50, on_progress=on_progress)[0]
        assert (reply.finish_reason, reply.text) == ("cancelled", "")
        assert len(shares) == 1

    def test_cancel_reaches_a_call_that_waits_for_its_turn(self, model: ModelProcess) -> None:
        started = threading.Event()
        first, a = in_thread(lambda: model.complete(STORY, on_token=lambda _: started.set(), **LONG))
        started.wait(20)
        second, b = in_thread(lambda: model.complete(STORY, **LONG))
        time.sleep(0.2)
        model.cancel()
        for thread in (first, second):
            thread.join(1)
        assert [c.finish_reason for c in (*a, *b)] == ["cancelled"] * 2

    def test_cancel_without_a_call_does_not_reach_the_next_one(self, model: ModelProcess) -> None:
        model.cancel()
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_an_error_in_the_listener_reaches_the_caller_and_the_model_lives_on(self, model: ModelProcess) -> None:
        def on_token(piece: str) -> None:
            raise BrokenPipeError("nobody listens")

        with pytest.raises(BrokenPipeError):
            model.complete(STORY, on_token=on_token, **LONG)
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_ctrl_c_reaches_the_caller_at_once_and_the_model_lives_on(self, model: ModelProcess) -> None:
        struck: list[float] = []

        def strike() -> None:
            struck.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

        def on_token(piece: str) -> None:
            if not struck:
                threading.Timer(0.2, strike).start()
                struck.append(time.monotonic())

        with pytest.raises(KeyboardInterrupt):
            model.complete(STORY, on_token=on_token, **LONG)
        assert time.monotonic() - struck[-1] < 3
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"

    def test_closing_ends_the_child_at_once(self, path: Path) -> None:
        model, child = opened(path)
        started = threading.Event()
        thread, replies = in_thread(lambda: model.complete(STORY, on_token=lambda _: started.set(), max_tokens=400))
        started.wait(20)
        began = time.monotonic()
        model.close()
        assert child not in children()
        thread.join(5)
        assert time.monotonic() - began < 5
        assert replies[0].finish_reason == "cancelled"
        model.close()
        for call in (lambda: model.complete(ASK), lambda: model.count_tokens(ASK)):
            with pytest.raises(ModelUnavailable, match="the model is closed"):
                call()

    def test_a_model_that_is_forgotten_ends(self, path: Path) -> None:
        model, child = opened(path)
        del model
        wait_until(lambda: child not in children(), 1)


@pytest.mark.model
class TestDying:
    @pytest.mark.parametrize(
        ("number", "hint"),
        [(signal.SIGABRT, "try again: a new one is started"), (signal.SIGKILL, "it may have run out")],
    )
    def test_a_child_that_dies_is_an_error_and_is_replaced(self, path: Path, number: signal.Signals, hint: str) -> None:
        model, child = opened(path)
        with pytest.raises(ModelUnavailable) as error:
            model.complete(STORY, max_tokens=400, on_token=lambda _: os.kill(child, number))
        assert str(error.value) == f"the model process died (signal {int(number)})"
        assert error.value.hint.startswith(hint)
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"
        model.close()

    def test_a_child_that_died_between_two_calls_is_replaced(self, path: Path) -> None:
        model, child = opened(path)
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: child not in children(), 20)
        time.sleep(0.1)
        heard: list[str] = []
        model.complete(ASK, max_tokens=2, on_progress=lambda what, _: heard.append(what))
        assert heard[0] == "loading the model"
        model.close()

    def test_a_replacement_that_was_interrupted_is_replaced_too(self, path: Path) -> None:
        model, child = opened(path)
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: child not in children(), 20)
        time.sleep(0.1)

        def interrupt(what: str, share: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model.complete(ASK, max_tokens=2, on_progress=interrupt)
        assert child not in children()
        replies = model.complete(ASK, max_tokens=2, on_progress=lambda what, _: model.cancel())
        assert replies[0].finish_reason == "cancelled"
        assert model.complete(ASK, max_tokens=2)[0].finish_reason == "length"
        model.close()

    def test_the_thread_that_opened_it_may_end(self, path: Path) -> None:
        models: list[ModelProcess] = []
        thread = threading.Thread(target=lambda: models.append(ModelProcess(path, context_tokens=512)))
        thread.start()
        thread.join(60)
        time.sleep(0.3)
        assert models[0].complete(ASK, max_tokens=2)[0].finish_reason == "length"
        models[0].close()

    def test_the_child_knows_no_secret_and_has_no_terminal(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
        model, child = opened(path)
        assert b"sk-private" not in Path(f"/proc/{child}/environ").read_bytes()
        assert os.getsid(child) == child
        assert os.readlink(f"/proc/{child}/cwd") == "/"
        model.close()


OPEN = """
    import os, signal, sys, threading, time
    from agent.models.base import Message
    from agent.models.process import ModelProcess
    def strike(seconds):
        def kill():
            os.write(1, f"{time.time()} ".encode())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(seconds, kill).start()
    def loading(what, share):
        if share == 0: AT_LOADING
    model = ModelProcess(sys.argv[1], context_tokens=2048, on_progress=loading)
    def write():
        model.complete([Message("user", "Write a long story.")], max_tokens=1900, temperature=1.5)
    AT_LOADED
    os.write(1, str(time.time()).encode())
"""


@pytest.mark.model
class TestEnding:
    @pytest.mark.parametrize(
        ("at_loading", "at_loaded", "code"),
        [
            ("pass", "pass", 0),
            ("pass", "threading.Thread(target=write, daemon=True).start(); time.sleep(0.5)", 0),
            ("pass", "strike(0.5); write()", -signal.SIGINT),
            ("strike(0.1)", "pass", -signal.SIGINT),
            ("strike(0.35)", "time.sleep(5)", -signal.SIGINT),
            ("strike(0.6); raise RuntimeError('the listener')", "pass", 1),
        ],
        ids=["idle", "generating in a daemon thread", "Ctrl-C", "Ctrl-C early", "Ctrl-C while loading", "error"],
    )
    def test_the_interpreter_ends_soon_and_leaves_nothing(
        self, path: Path, temporary: Path, at_loading: str, at_loaded: str, code: int
    ) -> None:
        script = textwrap.dedent(OPEN).replace("AT_LOADING", at_loading).replace("AT_LOADED", at_loaded)
        command = [sys.executable, "-W", "error", "-c", script, str(path)]
        env = os.environ | {"TMPDIR": str(temporary)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
            seen: set[Ident] = set()
            while process.poll() is None:
                seen |= family(process.pid)
                time.sleep(0.02)
            ended = time.time()
            out, errors = process.communicate()
        assert process.returncode in (code, 130 if code < 0 else code)
        assert (seen or code == 1) and not any(map(is_alive, seen))
        assert list(temporary.iterdir()) == []
        if code == 1:
            assert "RuntimeError: the listener" in errors
        else:
            assert ended - float(out.split()[0]) < 1
            assert errors.strip().splitlines()[-1:] in ([], ["KeyboardInterrupt"])

    def test_nothing_in_the_working_folder_stands_in_for_a_module(self, path: Path, tmp_path: Path) -> None:
        for name in ("agent", "json", "queue", "xllamacpp", "sandbox"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')")
        script = textwrap.dedent(OPEN).replace("AT_LOADING", "pass").replace("AT_LOADED", "pass")
        # As a console script does it: the working folder is not among the places to look in, but may get there.
        command = [
            sys.executable,
            "-P",
            "-c",
            "import sys\nimport agent.models.process\nsys.path.insert(0, '')\n" + script,
        ]
        done = subprocess.run([*command, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


class TestLoading:
    @pytest.mark.model
    def test_everything_else_goes_on_while_it_loads(self, path: Path) -> None:
        gaps: list[float] = []
        over = threading.Event()

        def watch() -> None:
            last = time.monotonic()
            while not over.wait(0.02):
                now = time.monotonic()
                gaps.append(now - last)
                last = now

        thread = threading.Thread(target=watch)
        thread.start()
        shares: list[float] = []

        def on_progress(what: str, share: float) -> None:
            assert what == "loading the model"
            shares.append(share)

        ModelProcess(path, context_tokens=512, on_progress=on_progress).close()
        over.set()
        thread.join()
        assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)
        assert max(gaps) < 0.5

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read the model"):
            ModelProcess(tmp_path / "none.gguf")

    def test_a_file_of_another_kind(self, tmp_path: Path) -> None:
        file = tmp_path / "page.gguf"
        file.write_text("<html>not found</html>")
        with pytest.raises(ModelUnavailable, match="is not a GGUF file"):
            ModelProcess(file)

    @pytest.mark.model
    @pytest.mark.parametrize("size", [4, 8_000_000])
    def test_a_file_that_was_cut(self, path: Path, tmp_path: Path, size: int) -> None:
        file = tmp_path / "cut.gguf"
        with path.open("rb") as whole:
            file.write_bytes(whole.read(size))
        before = children()
        with pytest.raises(ModelUnavailable, match="cannot load") as error:
            ModelProcess(file)
        assert error.value.hint == "fetch the file again, or choose a smaller model"
        assert children() == before

    def test_a_missing_runtime_is_noticed_before_weights_are_joined(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        monkeypatch.setenv("SANDSMITH_CACHE_DIR", str(tmp_path / "cache"))
        with pytest.raises(ModelUnavailable) as error:
            open_model("smollm2-135m")
        assert error.value.hint == "pip install 'sandsmith[local]'"
        assert not (tmp_path / "cache").exists()

    @pytest.mark.model
    def test_names_and_paths_open_one(self, path: Path) -> None:
        name = next(m.name for m in KNOWN_MODELS if m.file == path.name)
        for spec in (name, str(path)):
            model = open_model(spec)
            assert isinstance(model, ModelProcess)
            model.close()
