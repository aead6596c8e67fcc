from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.events import Drafted, Finished, Progressed, Started, Tokens
from agent.models import Usage
from agent.secrets import find_secrets, redact
from agent.store import RunFolder, create_run, list_runs, load_run
from agent.task import Check, Program, RunResult, Task
from agent.trace import Trace, read_trace


def finished_run(root: Path, text: str = "Add up.") -> RunFolder:
    folder = create_run(root)
    folder.save_task(Task(text, Path("/data"), (Path("a.csv"),), (Check("expression", "x == 1"),)), model="m")
    folder.save_result(RunResult("solved", "3", Program("print(3)"), seconds=1.5, run_id=folder.id))
    return folder


def test_a_run_is_found_again_as_it_was(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    run = load_run(folder.id, tmp_path)
    assert run == load_run("last", tmp_path) == load_run(folder.id[:-1], tmp_path)
    assert run.status == "solved"
    assert run.task == Task("Add up.", Path("/data"), (Path("a.csv"),), (Check("expression", "x == 1"),))
    assert run.model == "m"
    assert run.seconds == 1.5
    assert run.program() == "print(3)\n"
    assert (run.result() or {})["answer"] == "3"
    assert run.events() == []


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-aaaa", "20250101-000000-aaaa"):
        (tmp_path / name).mkdir()
    assert [r.id[:8] for r in list_runs(tmp_path)] == ["20260102", "20260101", "20250101"]
    assert list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, "broken"),
        ({"task.json": "{"}, "broken"),
        ({"task.json": "[1]"}, "broken"),
        ({"task.json": '{"text": 1, "folder": {}}'}, "broken"),
        ({"task.json": '{"text": "x"}'}, "unfinished"),
        ({"task.json": '{"text": "x"}', "result.json": '{"outcome"'}, "broken"),
        ({"task.json": '{"text": "x"}', "result.json": "{}"}, "broken"),
        ({"task.json": '{"text": "x"}', "result.json": '{"outcome": "failed", "seconds": "soon"}'}, "broken"),
        ({"task.json": "\0\xff"}, "broken"),
    ],
)
def test_half_written_and_corrupt_runs_are_listed_as_such(tmp_path: Path, files: dict[str, str], status: str) -> None:
    folder = tmp_path / "20260101-000000-aaaa"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert [r.status for r in list_runs(tmp_path)] == [status]


def test_an_unknown_or_ambiguous_run_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs"):
        load_run("last", tmp_path)
    for name in ("20260101-000000-aaaa", "20260101-000000-aabb"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="beginning of 2"):
        load_run("2026", tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_run("20260101-000000-aaba", tmp_path)
    assert "20260101-000000-aabb" in caught.value.hint
    with pytest.raises(ConfigError):
        load_run("", tmp_path)


def test_a_run_is_private(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "runs")
    Trace(folder.trace).close()
    for path in [tmp_path / "runs", folder.path, *folder.path.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_runs_that_cannot_be_kept_are_the_caller_s_affair(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError) as caught:
        create_run(tmp_path / "file" / "runs")
    assert "SANDSMITH_DATA_DIR" in caught.value.hint


def test_the_trace_keeps_each_line_at_once_and_no_tokens(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.jsonl")
    trace.write(Started(0.0, "id", "task", "model", "jail"))
    trace.write(Tokens(0.1, 1, "x"))
    trace.write(Progressed(0.1, "loading", 0.5))
    trace.write(Drafted(0.2, 1, "reply \ud800", "stop", Program("x = 1"), "", Usage(1, 2)))
    kept = list(read_trace(tmp_path / "trace.jsonl"))  # before it is closed: a killed run keeps what it had
    assert [e["event"] for e in kept] == ["started", "drafted"]
    assert kept[1]["program"]["code"] == "x = 1"
    trace.close()
    trace.write(Finished(1.0, RunResult("failed")))  # a late event of an abandoned thread


def test_a_trace_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b'{"event": "started"}\n[]\n\xff\xfe\n{"event": "dra')
    assert list(read_trace(path)) == [{"event": "started"}]


def test_secrets_of_the_environment_are_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-abcdef123456")
    monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
    trace = Trace(tmp_path / "trace.jsonl")
    trace.write(Started(0.0, "id", "use sk-abcdef123456", "model", "jail"))
    trace.close()
    folder = finished_run(tmp_path / "runs", "log in with hunter2hunter2")
    for path in (tmp_path / "trace.jsonl", folder.path / "task.json"):
        assert "[redacted]" in path.read_text()
        assert "sk-abc" not in path.read_text()
        assert "hunter2" not in path.read_text()


def test_what_counts_as_a_secret() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-12345678",
        "GITHUB_TOKEN": "ghp_12345678",
        "SHORT_KEY": "abc",
        "SSH_AUTH_SOCK": "/tmp/agent.sock",
        "HOME_DIRECTORY": "not-a-secret",
    }
    assert set(find_secrets(environ)) == {"sk-12345678", "ghp_12345678"}
    assert redact("a ghp_12345678!", ["ghp_12345678"]) == "a [redacted]!"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    environ = {"A_KEY": "abcdefgh", "B_KEY": "abcdefgh-ijkl"}
    assert redact("abcdefgh-ijkl", find_secrets(environ)) == "[redacted]"


def test_results_are_plain_json(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    assert json.loads((folder.path / "result.json").read_text())["outcome"] == "solved"
