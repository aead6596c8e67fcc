"""Attacks of more than one program where there are no namespaces: effects, going back, siblings, a host that dies."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from arena import Arena, descendants
from specials import SPECIALS as ALL
from specials import Special, kill_the_host, paths, settles

from sandbox import SandboxUnavailable, open_sandbox

_AS_THEY_ARE = """
B11-planted-modules C07-sibling-by-autobind
C10-descriptors-to-a-sibling E24-large-source H12-leftover-frames H17-patched-worker
""".split()
"""Of the others, those of class D need daemons and those of class I a frozen copy."""
SPECIALS: dict[str, Special] = {name: ALL[name] for name in _AS_THEY_ARE}


def special(function: Special) -> Special:
    SPECIALS[function.__name__] = function
    return function


@special
def tier_and_receipt(arena: Arena) -> None:
    with arena.box({}).open() as session:
        receipt = session.execute("1").receipt
    assert receipt.tier == "landlock" and "no namespaces" not in receipt.layers, receipt
    assert any("cannot fork" in note for note in receipt.notes), receipt


@special
def undo_redo_and_branches(arena: Arena) -> None:
    """They do what they do elsewhere, by running again."""
    with arena.box({"wall_seconds": 10}).open() as session:
        for n in (1, 2):
            assert session.execute(f"x = {n}; open('f', 'w').write('{n}')").ok
        mark = session.checkpoint()
        session.undo()
        assert (session.execute("x, open('f').read(); 1 / 0").status, session.steps, session.undone) == ("error", 1, 1)
        session.redo()
        one, two = session.branch(2)
        one.execute("x += 10; open('f', 'a').write('one')")
        two.execute("x = 'other'; open('f', 'w').write('other')")
        assert one.execute("x, open('f').read()").value == repr((12, "2one"))
        one.undo()
        one.adopt()
        assert (session.execute("x, open('f').read()").value, session.steps) == (repr((12, "2one")), 4)
        session.rollback(mark)
        assert session.execute("x, open('f').read()").value == repr((2, "2"))


@special
def special_files_and_modes(arena: Arena) -> None:
    target = arena.base / "scratch-apply"
    target.mkdir(exist_ok=True)
    with open_sandbox("jail", workspace=target) as box, box.open() as session:
        run = session.execute(
            "import os, socket\nos.mkfifo('fifo')\nos.mknod('sock', 0o140600)\n"
            "os.close(os.open('suid', os.O_CREAT | os.O_WRONLY, 0o6777))\n"
            "open('one', 'w').write('x'); os.link('one', 'two')\n"
        )
        assert run.ok, run
        changes = session.changes()
        changes.apply()
    assert {c.path for c in changes} == {"suid"} and len(changes.skipped) == 4, changes
    assert (target / "suid").stat().st_mode & 0o6000 == 0
    shutil.rmtree(target)


@special
def links_are_not_followed(arena: Arena) -> None:
    canary = str(arena.outside / "canary.txt")
    with arena.box({}).open() as session:
        run = session.execute(
            f"import os\nos.symlink({canary!r}, 'out.txt')\nos.symlink('/', 'root')\n"
            f"os.remove('data.csv')\nos.symlink({canary!r}, 'data.csv')\nopen('fair.txt', 'w').write('x')"
        )
        assert run.ok, run
        changes, left = paths(session)
    assert changes.get("fair.txt") == "created" and not {"out.txt", "root"} & changes.keys(), changes
    assert changes.get("data.csv") in (None, "deleted") and "out.txt" in left


@special
def hostile_names_and_depths(arena: Arena) -> None:
    with arena.box({}).open() as session:
        run = session.execute(
            "import os\nhere = os.getcwd()\n"
            "for n in (b'a\\nb', b'\\xff\\xfe', b'n' * 255, b'\\x1b[31mred', '\\u202egnp.exe'.encode()):\n"
            "    with open(n, 'w') as f: f.write('x')\n"
            "for n in range(200): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
            "os.mkdir('closed', 0)\nos.chdir(here)"
        )
        assert run.ok, run
        changes, left = paths(session)
        assert all(path.isprintable() for path in changes) and "\x1b" not in left
        assert session.execute("1 / 0").status == "error"
        assert session.execute("len(os.listdir('.'))").ok
        place = session._place  # pyright: ignore
    assert not place.exists()


@special
def too_deep_is_too_much(arena: Arena) -> None:
    with arena.box({"wall_seconds": 10}).open() as session:
        run = session.execute("import os, time\nfor n in range(900): os.mkdir('d'); os.chdir('d')\ntime.sleep(5)")
        assert (run.status, run.limit) == ("error", "files"), run
        assert (
            session.execute("import os; 'data.csv' in os.listdir('.'), 'd' in os.listdir('.')").value == "(True, False)"
        )
        place = session._place  # pyright: ignore
    assert not place.exists()


@special
def going_back(arena: Arena) -> None:
    with arena.box({"wall_seconds": 1}).open() as session:
        assert session.execute("kept = [1]; open('made', 'w').write('x')").ok
        for failure in ("1 / 0", "os.abort()", "while True: pass", "os.kill(os.getpid(), 9)", "exit(2)"):
            run = session.execute(f"import os\nkept.clear(); os.remove('data.csv'); os.remove('made')\n{failure}")
            assert not run.ok and "again" in run.receipt.notes[-1], run
            look = "(open('made').read(), open('data.csv').read(), kept)"
            assert session.execute(look).value == repr(("x", "a,b\n1,2\n", [1]))
        assert paths(session)[0] == {"made": "created"}


@special
def going_back_to_what_does_not_come_again(arena: Arena) -> None:
    with arena.box({}).open() as session:
        assert session.execute(
            "import os\nif os.path.exists('/proc/self/stat') and os.times().elapsed > LATEST: 1 / 0".replace(
                "LATEST", str(os.times().elapsed + 1)
            )
        ).ok
        time.sleep(1.2)
        try:
            session.execute("1 / 0")
        except SandboxUnavailable as error:
            assert "run again" in str(error)
        else:
            raise AssertionError("another state was passed off as the one before")
        try:
            session.execute("1")
        except SandboxUnavailable as error:
            assert "lost" in str(error)
        else:
            raise AssertionError("the session goes on")


@special
def files_of_a_sibling(arena: Arena) -> None:
    with arena.box({}).open() as one, arena.box({}).open() as two:
        path = one.execute("import os; open('own', 'w').write('x'); os.path.abspath('own')").value
        assert path and one.execute(f"open({path}).read()").value == "'x'"
        run = two.execute(f"open({path})")
        assert run.error and run.error.type == "PermissionError", run


@special
def memory_of_a_sibling(arena: Arena) -> None:
    with arena.box({}).open() as one, arena.box({}).open() as two:
        pid = one.execute("import os; os.getpid()").value
        for attempt in (f"open('/proc/{pid}/mem', 'rb')", f"open('/proc/{pid}/status')", f"os.kill({pid}, 0)"):
            run = two.execute(f"import os\n{attempt}")
            assert run.error and run.error.type == "PermissionError", run


@special
def host_killed(arena: Arena) -> None:
    for kind, program in {"sleep": "import time; time.sleep(60)", "loop": "while True: pass"}.items():
        kill_the_host(f"atk{os.getpid()}{kind[:3]}"[:15], program, arena.base)


@special
def supervisor_killed(arena: Arena) -> None:
    """A program dies with its supervisor, and the caller is told in plain words."""
    with arena.box({"wall_seconds": 10}).open() as session:
        supervisor = int(session.execute("import os; os.getppid()").value or 0)
        below = descendants(supervisor)
        assert len(below) == 1
        os.kill(supervisor, 9)
        assert settles(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
        try:
            session.execute("1")
        except SandboxUnavailable as error:
            assert "broke" in str(error)
        else:
            raise AssertionError("nobody noticed")


@special
def nothing_is_left(arena: Arena) -> None:
    box = arena.box({})
    box.open().close()
    before = arena.look()
    for _ in range(20):
        with box.open() as session:
            session.execute("open('f', 'w').write('x' * 10000)")
    assert not (changed := arena.differences(before)), changed
