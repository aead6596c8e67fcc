"""Going back: after a failure, and when asked to."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ConfigError, SandboxUnavailable
from ..session import Session
from .bench import Bench, check, value

_SPOIL = (
    "from pathlib import Path\nkept.append('spoiled')\nnew = 1\nPath('a.txt').unlink()\nPath('sub/b.csv').unlink()\n"
    "Path('sub').rmdir()\nwith open('made.txt', 'a') as f: f.write('more')\nwith open('c', 'w') as f: f.write('c')\n"
)
_LOOK = (
    "from pathlib import Path\nkept, 'new' in dir(), open('a.txt').read(), open('sub/b.csv').read(), "
    "open('made.txt').read(), Path('c').exists()"
)
_FOUND = repr(([1], False, "hello\n", "x,y\n1,2\n", "made", False))
_FAILURES = (
    "1 / 0",
    "exit(2)",
    "while True: pass",
    "print('x' * 10 ** 7)",
    "class A:\n    def __repr__(self):\n        while True: pass\nA()",
)
_DEATHS = ("import os; os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)", "import os; os._exit(3)")


def names(session: Session) -> dict[str, str]:
    """What the program has defined, and its previews."""
    return {name.name: name.preview for name in session.names()}


def refuses(act: Callable[[], object], word: str = "") -> None:
    """Assert that the caller is told of a mistake of his own, in words with `word`."""
    try:
        act()
    except ConfigError as error:
        assert word in str(error), error
    else:
        raise AssertionError(f"{act} was not refused")


def _goes_back_after(bench: Bench, failures: tuple[str, ...]) -> None:
    with bench.session() as session:
        assert session.execute("kept = [1]\nwith open('made.txt', 'w') as f: f.write('made')").ok
        for failure in failures:
            assert not session.execute(_SPOIL + failure, wall_seconds=1).ok, failure
            assert value(session, _LOOK) == _FOUND, failure


@check()
def a_failure_changes_nothing(bench: Bench) -> None:
    """After an error, an exit, a timeout or too much output, memory and files are as they were before."""
    _goes_back_after(bench, _FAILURES)


@check("system")
def a_death_changes_nothing(bench: Bench) -> None:
    """After a process that was killed, crashed or ended itself, memory and files are as they were before."""
    _goes_back_after(bench, _DEATHS)


@check()
def memory_that_ran_out_changes_nothing(bench: Bench) -> None:
    """The same after `memory`."""
    with bench.session(memory_bytes=160 << 20) as session:
        session.execute("x = [1]; open('f', 'w').write('1')")
        run = session.execute("x.clear(); open('f', 'w').write('2')\nwhile True: x.append(b'x' * (1 << 20))")
        assert run.status == "memory", run
        assert value(session, "x, open('f').read()") == "([1], '1')"


@check()
def going_back_many_times(bench: Bench) -> None:
    """Failures between steps leave no trace, however many."""
    with bench.session() as session:
        session.execute("n = 0")
        for _ in range(15):
            assert session.execute("n += 1").ok
            assert not session.execute("n += 100; 1 / 0").ok
        assert value(session, "n") == "15"


@check()
def a_program_that_does_not_parse_is_no_step(bench: Bench) -> None:
    """A syntax error changes nothing, and there is nothing to undo."""
    with bench.session() as session:
        assert session.execute("x = (").status == "error"
        assert session.steps == 0 and not session.names()


@check()
def keep_leaves_the_failure_in_place(bench: Bench) -> None:
    """With `on_error="keep"` what a failed execution did stays, and is a step."""
    with bench.session() as session:
        session.execute("x = 1; open('f', 'w').write('f')\n1 / 0", on_error="keep")
        assert value(session, "x, open('f').read()") == "(1, 'f')"
        session.undo(2)
        assert "x" not in names(session)


@check("system", "copies")
def keep_after_a_death(bench: Bench) -> None:
    """With `on_error="keep"` files stay; the memory of a process that is gone is that of before, which is said."""
    with bench.session() as session:
        session.execute("x = 1")
        run = session.execute("x = 2; open('kept.txt', 'w').write('x'); import os; os.abort()", on_error="keep")
        assert run.signal == 6 and run.notes, run
        assert value(session, "x, open('kept.txt').read()") == "(1, 'x')"


@check("system")
def a_session_that_is_lost_says_so(bench: Bench) -> None:
    """Without a history nothing brings back what died: the session is lost, which is no failure of the next program."""
    with bench.session(history=0) as session:
        assert session.execute("import os; os.abort()", on_error="keep").signal == 6
        for _ in range(2):
            try:
                session.execute("1")
            except SandboxUnavailable as error:
                assert error.hint, error
            else:
                raise AssertionError("it goes on")


@check()
def steps_are_undone_and_redone(bench: Bench) -> None:
    """Memory and files go back and forth together."""
    with bench.session() as session:
        for n in range(4):
            session.execute(f"n = {n}; open('n.txt', 'w').write('{n}')")
        session.undo()
        assert (value(session, "n, open('n.txt').read(), 1 / 1"), session.steps) == ("(2, '2', 1.0)", 4)
        session.undo(3)
        assert (names(session), session.undone) == ({"n": "0"}, 3)
        session.redo(2)
        assert (names(session)["n"], session.undone) == ("2", 1)
        session.undo(3)
        assert names(session) == {} and session.steps == 0


@check()
def what_cannot_be_undone_or_redone_is_said(bench: Bench) -> None:
    """Too many steps, none, or fewer, are the caller's mistake, and change nothing."""
    with bench.session() as session:
        refuses(session.undo, "there is none")
        session.execute("x = 1")
        refuses(lambda: session.undo(2), "only the last 1")
        refuses(session.redo, "cannot be redone")
        refuses(lambda: session.undo(0))
        refuses(lambda: session.undo(-1))
        assert names(session) == {"x": "1"}


@check()
def a_new_step_forgets_what_was_undone(bench: Bench) -> None:
    """There is one line of states; a checkpoint that is off it is gone."""
    with bench.session() as session:
        session.execute("x = 1")
        mark = session.checkpoint()
        session.execute("x = 2")
        gone = session.checkpoint()
        session.undo()
        session.execute("x = 3")
        refuses(lambda: session.rollback(gone), "gone")
        session.rollback(mark)
        assert names(session)["x"] == "1" and session.undone == 1


@check()
def a_checkpoint_is_kept_beyond_the_last_steps(bench: Bench) -> None:
    """`Policy.history` steps can be undone, at least; a checkpoint stays longer."""
    with bench.session(history=3) as session:
        session.execute("x = 'marked'; open('f', 'w').write('marked')")
        mark = session.checkpoint()
        for n in range(6):
            session.execute(f"x = {n}; open('f', 'w').write('{n}')")
        assert session.steps >= 3
        session.rollback(mark)
        assert value(session, "x, open('f').read()") == "('marked', 'marked')"


@check()
def names_are_no_step_and_run_nothing(bench: Bench) -> None:
    """Names come with types and short previews, and nothing of the program is run for them."""
    with bench.session() as session:
        session.execute(
            "class Slow:\n    def __repr__(self):\n        while True: pass\n"
            "s, d, text = Slow(), {'k': [1]}, '\\x1b[31m'\ndef f(a, b=2): ..."
        )
        found = {name.name: (name.type, name.preview) for name in session.names()}
        assert found["s"] == ("Slow", "") and found["d"] == ("dict", "{'k': [1]}") and found["f"][1] == "f(a, b=2)"
        assert "\x1b" not in found["text"][1] and session.steps == 1, found


@check("system")
def names_with_an_underscore_are_private(bench: Bench) -> None:
    """Nobody is told of them, as by `import *`."""
    with bench.session() as session:
        session.execute("_hidden = 1; shown = 2")
        assert names(session) == {"shown": "2"}


@check()
def generators_and_iterators_go_back(bench: Bench) -> None:
    """What has been used up is there again."""
    with bench.session() as session:
        session.execute("g = (n * n for n in range(9)); next(g); next(g); it = iter('abc'); next(it)")
        session.execute("next(g); next(it); raise ValueError")
        assert value(session, "next(g), next(it)") == "(4, 'b')"


@check()
def open_files_are_where_they_were(bench: Bench) -> None:
    """Open files come back at their offsets, and with the content of then."""
    with bench.session() as session:
        session.execute("f = open('a.txt'); log = open('log', 'w'); log.write('one'); log.flush(); f.read(1)")
        session.execute("f.read(); log.write('two'); log.flush(); 1 / 0")
        assert value(session, "log.write('three'); log.flush(); f.read(2), open('log').read()") == "('el', 'onethree')"


@check()
def random_numbers_go_on_as_they_would_have(bench: Bench) -> None:
    """A generator of random numbers goes back as well; sessions draw different ones."""
    with bench.session() as session, bench.session() as other:
        session.execute("import random; random.seed(7); random.random()")
        first = value(session, "random.random()")
        session.execute("random.random(); 1 / 0")
        session.undo()
        assert value(session, "random.random()") == first
        draw = "import random; random.random()"
        assert value(other, draw) not in (first, value(session, draw))
