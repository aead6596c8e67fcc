"""What a program does to its view of the folder, and what of it comes into the folder."""

from __future__ import annotations

from pathlib import Path

from ..changes import ApplyConflict
from .bench import Bench, check, value
from .history import refuses

_UNSEEN = "'secret' in dir(), Path('mark').exists()"


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@check()
def the_folder_is_untouched_until_changes_are_applied(bench: Bench) -> None:
    """A program sees the folder, its owner's private files too, and changes its view of it only."""
    folder = bench.folder()
    before = _listing(folder)
    with bench.session_over(folder) as session:
        run = session.execute(
            "with open('a.txt', 'a') as f: f.write('more\\n')\n"
            "with open('new.txt', 'w') as f: f.write(open('private.txt').read())"
        )
        assert run.ok, run
        changes = session.changes()
        assert {(c.path, c.kind) for c in changes} == {("a.txt", "modified"), ("new.txt", "created")}
        assert changes.read("new.txt") == b"mine\n" and "+more" in changes.diff("a.txt")
        assert _listing(folder) == before and (folder / "a.txt").read_text() == "hello\n"


@check()
def changes_are_applied_while_the_session_lives(bench: Bench) -> None:
    """Files and folders that were made, changed, moved and deleted; the session goes on, and can do so again."""
    folder = bench.folder()
    with bench.session_over(folder) as session:
        session.execute(
            "from pathlib import Path\nPath('sub/b.csv').rename('moved.csv')\nPath('sub').rmdir()\n"
            "Path('a.txt').unlink()\nPath('deep/er').mkdir(parents=True)\n"
            "with open('deep/er/f', 'wb') as f: f.write(bytes(9))"
        )
        session.changes().apply()
        assert _listing(folder) == ["deep/er/f", "moved.csv", "naïve ☃.txt", "private.txt"], _listing(folder)
        assert (folder / "moved.csv").read_text() == "x,y\n1,2\n" and not (folder / "sub").exists()
        for text in ("one", "two"):
            session.execute(f"with open('moved.csv', 'w') as f: f.write({text!r})")
            session.changes().apply()
            assert (folder / "moved.csv").read_text() == text


@check()
def what_the_user_edits_meanwhile_is_a_conflict(bench: Bench) -> None:
    """Nobody's edit is overwritten: then nothing is applied at all."""
    folder = bench.folder()
    with bench.session_over(folder) as session:
        session.execute("text = open('a.txt').read()")
        (folder / "a.txt").write_text("the user's own edit\n")
        session.execute("for name in ('a.txt', 'new.txt'):\n    with open(name, 'w') as f: f.write(text + 'more\\n')")
        try:
            session.changes().apply()
        except ApplyConflict as error:
            assert "a.txt" in str(error), error
        else:
            raise AssertionError("it was overwritten")
    assert (folder / "a.txt").read_text() == "the user's own edit\n" and not (folder / "new.txt").exists()


@check()
def failures_and_undone_steps_are_no_changes(bench: Bench) -> None:
    """Changes are those between the folder and the state that the session is in."""
    with bench.session() as session:
        session.execute("open('a.txt', 'w').write('failed'); 1 / 0")
        assert len(session.changes()) == 0
        session.execute("open('new.txt', 'w').write('1')")
        assert [change.path for change in session.changes()] == ["new.txt"]
        session.undo()
        assert len(session.changes()) == 0


@check()
def sessions_see_nothing_of_each_other(bench: Bench) -> None:
    """Neither one after the other nor at the same time: no name, no file."""
    with bench.session() as one, bench.session() as two:
        one.execute("secret = 1\nopen('mark', 'w').close()")
        assert value(two, f"from pathlib import Path\n{_UNSEEN}") == "(False, False)"
    with bench.session() as three:
        assert value(three, f"from pathlib import Path\n{_UNSEEN}") == "(False, False)"


@check()
def input_files_from_elsewhere_are_shown_by_name(bench: Bench) -> None:
    """`inputs` lie in the view beside the folder's files, and are no change."""
    other = bench.folder() / "data.csv"
    other.write_text("a\n1\n")
    with bench.session_over(bench.folder(), inputs=[other]) as session:
        assert value(session, "open('data.csv').read(), open('a.txt').read()") == repr(("a\n1\n", "hello\n"))
        assert len(session.changes()) == 0


@check()
def a_sandbox_needs_no_folder(bench: Bench) -> None:
    """Without a workspace the view is empty, and there is nothing to apply to."""
    with bench.sandbox() as sandbox, sandbox.open() as session:
        assert (
            value(session, "from pathlib import Path\nopen('f', 'w').close()\n[str(p) for p in Path('.').iterdir()]")
            == "['f']"
        )
        refuses(session.changes().apply)


@check()
def a_workspace_that_is_no_folder_is_refused(bench: Bench) -> None:
    """It is the caller's mistake, and none of the host."""
    refuses(lambda: bench.sandbox(Path("/nonexistent/folder")))
    refuses(lambda: bench.sandbox(bench.folder() / "a.txt"))


@check()
def awkward_folder_names_are_names(bench: Bench) -> None:
    """Commas, colons, quotes, backslashes and line ends in the folder's name mean nothing."""
    folder = bench.folder() / "a,b:c \\ 'é\n"
    folder.mkdir()
    (folder / "f").write_text("1")
    with bench.session_over(folder) as session:
        assert value(session, "open('f').read()") == "'1'"


@check()
def hostile_names_of_files_are_made_harmless(bench: Bench) -> None:
    """A path that would change what a reader sees is not among the changes as it stands."""
    with bench.session() as session:
        session.execute("for n in ('a\\nb', '\\x1b[31mred', '\\u202egnp.exe', '-rf'):\n    open(n, 'w').close()")
        changes = session.changes()
    for text in (*(change.path for change in changes), *(f"{s.path} {s.reason}" for s in changes.skipped)):
        assert text.isprintable(), ascii(text)
    assert len(changes) + len(changes.skipped) == 4, changes
