"""A conversation through all that can happen to it: undoing, branches, limits, parts that are killed, a fresh start."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_restart import launchers

from agent import Agent, ConfigError, SandboxUnavailable
from agent.conversation import Conversation, Home, create_home, load_home
from agent.models.scripted import ScriptedModel
from sandbox import Policy

pytestmark = pytest.mark.jail
POLICY = Policy(wall_seconds=20, memory_bytes=512 << 20)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "a.txt").write_text("one\n")
    return path


@pytest.fixture
def opened() -> Iterator[list[Conversation]]:
    found: list[Conversation] = []
    yield found
    for talk in found:
        talk.close()


@pytest.fixture
def begin(folder: Path, opened: list[Conversation]) -> Callable[..., Conversation]:
    def begin(*replies: str, home: Home | None = None) -> Conversation:
        agent = Agent(ScriptedModel([fenced(r) for r in replies], parameters=1.5), policy=POLICY)
        opened.append(Conversation(home or create_home(folder), agent, POLICY))
        return opened[-1]

    return begin


def values(talk: Conversation) -> dict[str, str]:
    return {name.name: name.preview for name in talk.names()}


def codes(talk: Conversation) -> list[str]:
    return [step.code for step in talk.steps]


def test_steps_are_undone_and_done_again_with_their_files(begin) -> None:
    talk = begin()
    talk.run("x = 1")
    talk.run("x = 2; open('b.txt', 'w').write('b')")
    talk.undo()
    assert (values(talk), talk.changes().items, talk.undone) == ({"x": "1"}, (), 1)
    talk.redo()
    assert values(talk) == {"x": "2"}
    assert talk.files() == [(" ", "a.txt"), ("+", "b.txt")]
    with pytest.raises(ConfigError, match="there are 2"):
        talk.undo(3)
    assert codes(talk) == ["x = 1", "x = 2; open('b.txt', 'w').write('b')"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("x = 2; open('b.txt', 'w').write('b'); 1 / 0", "error"),
        ("x = 2; bytearray(1 << 30)", "memory"),
        ("x = 2\nwhile True: print('spam' * 9999)", "output"),
        ("x = 2; import os; os.kill(os.getpid(), 11)", "killed"),
    ],
)
def test_what_fails_leaves_everything_as_it_was(begin, code: str, status: str) -> None:
    talk = begin()
    talk.run("x = 1")
    assert talk.run(code).status == status
    assert values(talk) == {"x": "1"}
    assert not talk.changes()
    assert talk.run("x").value == "1"
    assert codes(talk) == ["x = 1", "x"]


def test_a_timeout_and_a_stop_keep_the_session(folder: Path, opened: list[Conversation]) -> None:
    opened.append(talk := Conversation(create_home(folder), Agent(ScriptedModel([])), Policy(wall_seconds=2)))
    talk.run("x = 1")
    assert talk.run("x = 2\nwhile True: pass").status == "timeout"
    timer = threading.Timer(0.5, talk.cancel)
    timer.start()
    assert talk.run("x = 3\nwhile True: pass").status in ("killed", "timeout")
    timer.join()
    assert values(talk) == {"x": "1"}


def test_a_branch_is_adopted_or_dropped(begin) -> None:
    talk = begin()
    talk.run("x = 1")
    talk.branch()
    with pytest.raises(ConfigError, match="a branch already"):
        talk.branch()
    talk.run("x = 2")
    talk.run("open('b.txt', 'w').write('b')")
    with pytest.raises(ConfigError, match="there are 2"):
        talk.undo(3)
    assert talk.drop() == 2
    assert (values(talk), codes(talk), talk.changes().items) == ({"x": "1"}, ["x = 1"], ())
    with pytest.raises(ConfigError, match="redone"):
        talk.redo()
    talk.branch()
    talk.run("x = 3")
    talk.adopt()
    assert (values(talk), talk.branch_start) == ({"x": "3"}, None)
    talk.undo()
    assert values(talk) == {"x": "1"}
    with pytest.raises(ConfigError, match="no branch"):
        talk.drop()


def test_a_task_is_a_step_and_the_next_is_told_of_it(begin) -> None:
    talk = begin("y = x + 1; print('it is', y)", "print(y)")
    talk.run("x = 41")
    list(talk.ask("add one to x"))
    list(talk.ask("what is y?"))
    first, second = talk.steps[1:]
    assert (first.task, first.answer, first.code) == ("add one to x", "it is 42", "y = x + 1; print('it is', y)\n")
    assert second.execution is not None
    told = talk._agent._model.load().calls[-1].messages[-1].content  # pyright: ignore
    assert "- code: x = 41\n- task: add one to x -> it is 42" in told
    talk.undo(2)
    assert values(talk) == {"x": "41"}


def test_what_the_journal_tells_is_built_again(begin, folder: Path) -> None:
    talk = begin("z = x + 1; print(z)")
    talk.run("x = 1")
    talk.run("import random; r = random.random(); print('hello')")
    talk.run("import os; print(os.urandom(4))")
    talk.run("gone = 1")
    talk.undo()
    list(talk.ask("print one more than x"))
    talk.run("open('b.txt', 'w').write(open('a.txt').read())")
    talk.run("last = open('a.txt').read()")
    home = talk.home
    talk.close()
    (folder / "a.txt").write_text("two\n")
    again = begin(home=load_home(home.id))
    rebuilt = again.rebuild()
    assert rebuilt.steps == 6
    told = "\n".join(rebuilt.differences)
    assert "changed or gone in the folder since: a.txt" in told
    assert "step 3 (import os; print(os.urandom(4))) came out differently" in told
    assert "names that hold something else than before: r, last" in told
    assert len(rebuilt.differences) == 3
    assert values(again)["z"] == "2"
    assert "gone" not in values(again)
    assert again.changes().read("b.txt") == b"two\n"
    again.undo()
    assert "last" not in values(again)


def test_a_step_that_fails_now_is_left_out_and_told(begin, folder: Path) -> None:
    talk = begin()
    talk.run("text = open('a.txt').read()")
    talk.run("n = 1")
    talk.close()
    (folder / "a.txt").unlink()
    again = begin(home=talk.home)
    rebuilt = again.rebuild()
    assert (rebuilt.steps, values(again)) == (1, {"n": "1"})
    assert any("is left out, it ended as error: FileNotFoundError" in d for d in rebuilt.differences)
    assert "names that are gone: text" in rebuilt.differences
    again.close()
    assert begin(home=talk.home).rebuild().steps == 1


def test_an_open_branch_is_open_again(begin) -> None:
    talk = begin()
    talk.run("x = 1")
    talk.branch()
    talk.run("x = 2")
    talk.close()
    again = begin(home=talk.home)
    again.rebuild()
    assert (again.branch_start, values(again)) == (1, {"x": "2"})
    again.drop()
    assert values(again) == {"x": "1"}


def test_a_session_whose_jail_was_killed_is_built_again(begin) -> None:
    before = launchers()
    talk = begin("print(x)")
    talk.run("x = 1")
    [launcher] = launchers() - before
    os.kill(launcher, signal.SIGKILL)
    with pytest.raises(SandboxUnavailable):
        for _ in range(3):  # the first may find the session's own processes alive still
            talk.run("x = 2")
    talk.rebuild()
    assert values(talk)["x"] in ("1", "2")
    list(talk.ask("what is x?"))
    assert "task: what is x?" in f"task: {talk.steps[-1].task}"


def test_the_model_is_told_of_what_was_lost(begin) -> None:
    talk = begin()
    talk.run("import os; token = os.urandom(3).hex()")
    talk.close()
    again = begin("print(1)", home=talk.home)
    again.rebuild()
    list(again.ask("print one"))
    told = again._agent._model.load().calls[-1].messages[-1].content  # pyright: ignore
    assert "The session was lost since" in told
    assert "names that hold something else than before: token" in told


def test_changes_are_applied_again_and_again_but_not_over_others(begin, folder: Path) -> None:
    talk = begin()
    for text in ("one", "two"):
        talk.run(f"open('b.txt', 'w').write({text!r})")
        talk.apply()
        assert (folder / "b.txt").read_text() == text
    talk.run("open('b.txt', 'w').write('three')")
    (folder / "b.txt").write_text("mine")
    with pytest.raises(ConfigError, match="changed"):
        talk.apply()
    assert (folder / "b.txt").read_text() == "mine"


def test_what_was_not_applied_is_kept(begin, folder: Path) -> None:
    talk = begin()
    talk.run("open('b.txt', 'w').write('b')")
    changes = talk.leave()
    assert changes.read("b.txt") == b"b"
    assert changes.store == talk.home.changes
    assert not (folder / "b.txt").exists()


def test_a_session_is_open_once_and_found_by_its_beginning(begin) -> None:
    talk = begin()
    with pytest.raises(ConfigError, match="open in another process"):
        begin(home=talk.home)
    assert load_home(talk.home.id[:-1]).path == talk.home.path
    with pytest.raises(ConfigError, match="no session 'nothing'"):
        load_home("nothing")


def test_what_was_applied_belongs_to_the_script_that_is_saved(begin, folder: Path, tmp_path: Path) -> None:
    talk = begin()
    talk.run("text = open('a.txt').read()\nopen('a.txt', 'w').write(text.upper())")
    talk.run("open('b.txt', 'w').write('b')")
    talk.apply()
    talk.run("open('b.txt', 'a').write('more')")
    talk.apply()
    talk.run("open('c.txt', 'w').write('c')\nopen('gone.txt', 'w').write('')")
    talk.apply()
    talk.run("import os\nos.remove('gone.txt')\nunneeded = 1")
    code = talk.save(tmp_path / "out.py").code
    assert "'more'" in code and "upper" in code and "'c'" in code
    assert (folder / "a.txt").read_text() == "ONE\n"  # the folder itself is left as it is
    (folder / "b.txt").write_text("mine")
    assert "'more'" in talk.save(tmp_path / "out.py", force=True).code


def test_what_was_applied_and_then_undone_is_not_passed_over_in_silence(begin, tmp_path: Path) -> None:
    talk = begin()
    talk.run("x = 6")
    talk.run("open('a.txt', 'w').write('two')")
    talk.apply()
    talk.undo()  # memory goes back; the folder keeps what was written to it
    with pytest.raises(ConfigError, match=r"a\.txt was modified before and left alone now"):
        talk.save(tmp_path / "out.py")
