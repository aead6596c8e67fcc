"""What is read back from disk: runs, traces, manifests and journals, half-written, damaged or hostile."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_changes import Lab

from agent.errors import ConfigError
from agent.replay import _recording
from agent.store import list_runs, load_run
from agent.trace import read_trace
from sandbox.changes import Changes

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**63, 10**400, -1, 1e308, "\ud800", "\x1b[2J\u202e", "a\0b", "..", "x" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
DAMAGES = st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=6), st.sampled_from("=-+"), JSON), max_size=3)
"""Ways down a JSON value, and what happens there: it is replaced, removed, or one is added beside it."""


def damaged(data: Any, damages: list[tuple[list[int], str, Any]], spared: tuple[str, ...] = ()) -> Any:
    """A copy of `data` with the damages done, except at the keys `spared`."""
    data = copy.deepcopy(data)
    for way, how, value in damages:
        at, parent, key = data, None, None
        for step in way:
            inside = at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
            keys = [key for key in inside if key not in spared]
            if not keys:
                break
            parent, key = at, keys[step % len(keys)]
            at = parent[key]
        if parent is None:
            continue
        if how == "=":
            parent[key] = value
        elif how == "-":
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(at))
        else:
            parent[str(value)[:9]] = copy.deepcopy(at)
    return data


def cut(text: str, share: float) -> str:
    """A file whose writer was killed."""
    return text[: int(len(text) * share)]


SHARES = st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.5, 0.0])

# -- runs and traces --------------------------------------------------------------------------------------------------

TASK = {
    "text": "Add up.",
    "folder": "/data",
    "files": ["a.csv"],
    "checks": [{"kind": "expression", "text": "x == 1", "author": "user"}],
    "model": "m",
}
RESULT = {"outcome": "solved", "answer": "3", "seconds": 1.5, "reason": "", "program": {"code": "print(3)"}}
EXECUTION = {"status": "error", "stdout": "3", "value": None, "error": {"type": "KeyError"}}
TRACE = [
    {"event": "started", "run_id": "r"},
    {"event": "modelloaded", "profile": {"name": "m", "parameters": 1.5, "context_tokens": 4096, "prefill": True}},
    {"event": "prompted", "attempt": 1, "kind": "draft"},
    {"event": "drafted", "attempt": 1, "reply": "```python\n3\n```"},
    {"event": "executed", "attempt": 1, "execution": EXECUTION},
    {"event": "judged", "attempt": 1, "verdict": {"results": [{"check": {"text": "x"}, "passed": False}]}},
    {"event": "finished", "result": {"outcome": "failed", "answer": ""}},
]


@given(DAMAGES, DAMAGES, SHARES, SHARES)
@example([([4], "=", [{"kind": "x", "text": "", "author": "user"}])], [], 1.0, 1.0)
@example([], [([2], "=", 10**400)], 1.0, 1.0)
@example([], [([2], "=", float("inf"))], 1.0, 1.0)
def test_a_damaged_run_is_listed_and_shown(tmp_path: Path, task: Any, result: Any, first: float, second: float) -> None:
    root = tmp_path / os.urandom(8).hex()
    folder = root / "20260101-000000-aaaa"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(cut(json.dumps(damaged(TASK, task)), first))
    (folder / "result.json").write_text(cut(json.dumps(damaged(RESULT, result)), second))
    (run,) = list_runs(root)
    assert load_run("last", root) == run and type(run.status) is str
    assert f"{run.seconds:>6.1f}" and (run.task is None or type(run.task.text) is str)
    shown = run.result()
    assert shown is None or type(shown) is dict
    assert (run.program(), run.events()) == (None, [])


@pytest.mark.parametrize("name", ["task.json", "result.json", "trace.jsonl"])
def test_what_is_nested_without_an_end_is_no_run(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "20260101-000000-aaaa"
    folder.mkdir()
    (folder / "task.json").write_text(json.dumps(TASK))
    (folder / name).write_text('{"a":' + "[" * 200_000)
    (run,) = list_runs(tmp_path)
    assert run.status == ("unfinished" if name == "trace.jsonl" else "broken")
    assert (run.events(), run.result()) == ([], None)


@given(st.lists(st.tuples(st.integers(0, 6), DAMAGES), max_size=4), SHARES)
@example([(1, [([1], "=", [])])], 1.0)
@example([(2, [([1], "=", {})])], 1.0)
@example([(4, [([2, 3], "=", "text")])], 1.0)
def test_a_damaged_trace_is_a_recording_or_said_to_be_damaged(tmp_path: Path, changes: Any, share: float) -> None:
    events = list(TRACE)
    for number, damages in changes:
        events[number] = damaged(events[number], damages)
    folder = tmp_path / os.urandom(8).hex() / "20260101-000000-aaaa"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps(TASK))
    (folder / "trace.jsonl").write_text(cut("".join(json.dumps(e) + "\n" for e in events), share))
    try:
        recording = _recording(load_run("last", folder.parent))
    except ConfigError as error:
        assert "damaged" in str(error)
        return
    assert all(type(reply) is str for reply in recording.replies)
    assert set(recording.profile) <= {"name", "parameters", "context_tokens", "prefill"}


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"{}\n", b'{"a":1}\n', b"[" * 3000, b"\n"]), max_size=8))
def test_any_bytes_are_a_trace(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"".join(pieces))
    assert all(type(event) is dict for event in read_trace(path))


# -- manifests and journals -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A folder, and changes of every kind to it, collected but not applied."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    for path in ("a.txt", "d/b", "d/c", "x"):
        lab.write("folder", path)
    (lab.folder / "l").symlink_to("a.txt")
    lab.write("upper", "a.txt", "changed\n")
    lab.write("upper", "new/n", "new\n")
    lab.opaque("d")
    lab.write("upper", "x/inner")
    (lab.upper / "link").symlink_to("/etc/passwd")
    lab.collect()
    return lab


def world(top: Path) -> dict[str, str]:
    return {str(p): p.read_text() if p.is_file() else "" for p in sorted(top.rglob("*"))}


def fresh(lab: Lab) -> tuple[Path, dict[str, Any]]:
    """A store of its own with the contents that were collected, and its manifest as data, over a copy of the folder."""
    place = lab.base / os.urandom(8).hex()
    (place / "store" / "files").mkdir(parents=True)
    for path in (lab.base / "store1" / "files").iterdir():
        os.link(path, place / "store" / "files" / path.name)
    for path in lab.folder.rglob("*"):
        copied = place / "folder" / path.relative_to(lab.folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and not path.is_symlink():
            copied.write_text(path.read_text())
    data = json.loads((lab.base / "store1" / "changes.json").read_text())
    return place, {**data, "folder": str(place / "folder")}


def used(changes: Changes) -> Iterator[object]:
    """All that can be asked of changes; what a damaged record makes impossible is a `ConfigError`."""
    yield lambda: changes.state
    yield lambda: json.dumps(changes.to_json())
    yield changes.summary
    yield from (lambda path=item.path: changes.diff(path) for item in changes)
    yield from (lambda path=item.path: changes.read(path) for item in changes)
    yield changes.conflicts
    yield lambda: changes.apply(force=True)
    yield lambda: changes.finish(force=True)
    yield lambda: changes.undo(force=True)
    yield lambda: changes.finish()
    yield lambda: changes.undo()


def use_all(changes: Changes) -> None:
    for use in used(changes):
        try:
            use()  # type: ignore[operator]
        except ConfigError:
            continue


@given(DAMAGES, SHARES, st.sampled_from([None, None, None, "", "relative", "/nowhere/\ud800", "/a\0b", 7, [], {}]))
@example([([1, 0, 7, 2], "=", 2**70)], 1.0, None)
@example([([1, 5, 3], "=", 10**400)], 1.0, None)
@example([], 1.0, "/nowhere/\ud800")
def test_a_damaged_manifest_never_reaches_out_of_the_folder(lab: Lab, damages: Any, share: float, folder: Any) -> None:
    place, data = fresh(lab)
    data = damaged(data, damages, spared=("folder",))
    if folder is not None:
        data["folder"] = folder
    (place / "store" / "changes.json").write_text(cut(json.dumps(data), share))
    outside = world(lab.base / "store1")
    try:
        changes = Changes.load(place / "store")
    except ConfigError:
        return
    use_all(changes)
    assert {path.name for path in place.iterdir()} == {"store", "folder"}
    assert world(lab.base / "store1") == outside


@given(st.sampled_from(["journal", "applying", "applied", "undoing"]), DAMAGES, SHARES)
@example("applied", [([4, 0, 2], "=", 2**70)], 1.0)
@example("applying", [([1], "=", "undone")], 1.0)
def test_a_damaged_journal_never_reaches_out_of_the_folder(lab: Lab, phase: str, damages: Any, share: float) -> None:
    place, data = fresh(lab)
    (place / "store" / "changes.json").write_text(json.dumps(data))
    changes = Changes.load(place / "store")

    class Killed(BaseException):
        pass

    def die(step: str) -> None:
        if step == phase:
            raise Killed

    try:
        changes.apply(_step=die)
        changes.undo(_step=die)
    except Killed:
        pass
    journal = place / "store" / "journal.json"
    journal.write_text(cut(json.dumps(damaged(json.loads(journal.read_text()), damages)), share))
    outside = world(lab.base / "store1")
    use_all(changes)
    assert {path.name for path in place.iterdir()} == {"store", "folder"}
    assert world(lab.base / "store1") == outside
