"""How executions, sessions and sandboxes end; and many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from .bench import Bench, check, value
from .history import names, refuses

_TOGETHER = 8


@check()
def cancel_from_another_thread(bench: Bench) -> None:
    """What runs is `killed`, memory and files are as they were, and the session goes on."""
    with bench.session() as session:
        session.execute("x = 1")
        over = threading.Event()

        def cancel() -> None:
            while not over.wait(0.3):  # the first one may come before there is anything to cancel
                session.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            run = session.execute("x = 2; open('made', 'w')\nwhile True: pass")
        finally:
            over.set()
            canceller.join()
        assert run.status == "killed" and run.limit is None and run.seconds < 20, run
        assert names(session) == {"x": "1"} and len(session.changes()) == 0


@check()
def cancelling_nothing_is_harmless(bench: Bench) -> None:
    """A `cancel` that comes too early or too late does not hit the next execution, nor a closed session."""
    with bench.session() as session:
        session.cancel()
        assert value(session, "6 * 7") == "42"
        session.cancel()
        assert value(session, "6 * 7") == "42"


@check()
def a_closed_session_says_so(bench: Bench) -> None:
    """Closing twice is closing; whatever else is asked of a closed session is the caller's mistake."""
    session = bench.session()
    session.execute("x = 1")
    session.close()
    session.close()
    acts = (
        lambda: session.execute("1"),
        session.names,
        session.undo,
        session.checkpoint,
        session.branch,
        session.changes,
    )
    for act in acts:
        refuses(act, "closed")


@check()
def whoever_waits_for_the_end_is_called_once(bench: Bench) -> None:
    """`on_close` is called when a session has been closed, not before, and once."""
    called: list[int] = []
    session = bench.session()
    session.on_close(lambda: called.append(1))
    session.execute("1")
    assert not called
    session.close()
    session.close()
    assert called == [1], called


@check()
def closing_a_sandbox_ends_its_sessions(bench: Bench) -> None:
    """A closed sandbox opens none, and those that it had opened are closed; twice is once."""
    sandbox = bench.sandbox()
    session = sandbox.open()
    assert value(session, "6 * 7") == "42"
    sandbox.close()
    sandbox.close()
    refuses(sandbox.open, "closed")
    refuses(lambda: session.execute("1"), "closed")


@check()
def sessions_run_at_the_same_time(bench: Bench) -> None:
    """Eight sessions of one sandbox, each in a thread, with a state, a failure and files of its own."""
    together = threading.Barrier(_TOGETHER)

    def work(n: int) -> str | None:
        with bench.session() as session:
            session.execute(f"x = {n}; open('f', 'w').write('{n}')")
            together.wait(60)
            assert session.execute("x = -1; open('f', 'w').write('spoiled'); 1 / 0").status == "error"
            return value(session, "x, open('f').read(), sum(range(x * 1000))")

    bench.session().close()  # it is warm before they all want it
    with ThreadPoolExecutor(_TOGETHER) as pool:
        found = list(pool.map(work, range(_TOGETHER)))
    assert found == [repr((n, str(n), sum(range(n * 1000)))) for n in range(_TOGETHER)], found


@check()
def many_sessions_one_after_another(bench: Bench) -> None:
    """Threads open and close sessions of one sandbox as they like."""

    def run(number: int) -> str | None:
        with bench.session() as session:
            return value(session, f"{number} * 2")

    with ThreadPoolExecutor(_TOGETHER) as pool:
        assert list(pool.map(run, range(24))) == [str(2 * n) for n in range(24)]
