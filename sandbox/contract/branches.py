"""Branches: sessions that grow from one, run at the same time, and of which one may be adopted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .bench import Bench, check, value
from .history import names, refuses


@check("branches")
def branches_run_at_the_same_time_on_files_of_their_own(bench: Bench) -> None:
    """Each has a copy of memory and files; the one that is adopted is one step of the session, and can be undone."""
    look = "x, open('f').read(), Path('a.txt').exists()"
    with bench.session() as session:
        session.execute("from pathlib import Path\nx = [0]\nopen('f', 'w').write('base')")
        branches = session.branch(3)

        def run(n: int) -> str | None:
            change = f"import time\nx.append({n})\nwith open('f', 'a') as f: f.write('{n}')\ntime.sleep(0.3)\n"
            return value(branches[n], change + ("Path('a.txt').unlink()\n" if n == 1 else "") + look)

        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(run, range(3)))
        assert found == [repr(([0, n], f"base{n}", n != 1)) for n in range(3)], found
        branches[1].adopt()
        assert value(session, look) == repr(([0, 1], "base1", False))
        assert {change.path: change.kind for change in session.changes()} == {"f": "created", "a.txt": "deleted"}
        session.undo(2)
        assert value(session, look) == repr(([0], "base", True))


@check("branches")
def a_session_with_branches_stands_still(bench: Bench) -> None:
    """Until one is adopted or all are closed, the session they have grown from refuses everything else."""
    with bench.session() as session:
        session.execute("x = 1")
        one, two = session.branch(2)
        for act in (lambda: session.execute("x"), session.names, session.undo, session.branch, session.checkpoint):
            refuses(act, "branches")
        one.close()
        refuses(session.names, "branches")
        two.close()
        assert names(session) == {"x": "1"} and session.steps == 1
        refuses(lambda: one.execute("x"), "closed")


@check("branches")
def a_branch_has_a_history_and_branches_of_its_own(bench: Bench) -> None:
    """What a branch has undone is no part of what is adopted."""
    with bench.session() as session:
        session.execute("x = [1]")
        [branch] = session.branch()
        branch.execute("x.append(2)")
        branch.execute("x.append(3)")
        branch.undo()
        inner, other = branch.branch(2)
        inner.execute("x.append(4)")
        other.execute("x.append(5)")
        inner.adopt()
        assert value(branch, "x") == "[1, 2, 4]"
        branch.adopt()
        assert (value(session, "x"), session.steps) == ("[1, 2, 4]", 3)
        session.undo(2)
        assert names(session) == {"x": "[1]"}


@check("branches")
def a_failure_in_a_branch_stays_there(bench: Bench) -> None:
    """Errors and timeouts of one branch are not felt in another."""
    with bench.session() as session:
        session.execute("x = 1")
        one, two = session.branch(2)
        assert one.execute("x = 2\nwhile True: pass", wall_seconds=0.5).status == "timeout"
        assert one.execute("x = 3\n1 / 0").status == "error"
        assert (names(one)["x"], names(two)["x"]) == ("1", "1")
        two.execute("x = 4")
        two.adopt()
        assert value(session, "x") == "4"


@check("branches")
def senseless_numbers_of_branches_are_refused(bench: Bench) -> None:
    """The caller is told how many there can be, and the session goes on."""
    with bench.session() as session:
        for n in (0, -1, 1000):
            refuses(lambda n=n: session.branch(n), "1 to")
        assert value(session, "1") == "1"


@check("branches")
def closing_a_session_ends_its_branches(bench: Bench) -> None:
    """No branch outlives the session that it has grown from."""
    with bench.session() as session:
        branches = session.branch(2)
        session.close()
        for branch in branches:
            refuses(lambda branch=branch: branch.execute("1"), "closed")
