"""Tiers of the wall: each is reached on a host from which features are masked, is told, and can be demanded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import masks
import pytest

from sandbox import ConfigError, Policy
from sandbox.tiers import TIERS, reaches

sys.path.append(str(Path(__file__).parent / "attacks"))

import users

pytestmark = [pytest.mark.jail, pytest.mark.timeout(120)]
Ask = Callable[..., dict[str, Any]]

OPEN = """
import json, sys
from pathlib import Path
from sandbox import Policy, SandboxUnavailable, open_session
folder = sys.argv[2] if len(sys.argv) > 2 else None
try:
    with open_session("jail", workspace=folder, policy=Policy(**json.loads(sys.argv[1]))) as session:
        run = session.execute("6 * 7")
        print(json.dumps({"value": run.value, **run.to_json()["receipt"]}))
except SandboxUnavailable as error:
    print(json.dumps({"error": str(error), "hint": error.hint}))
"""


@pytest.fixture(params=["root", "user"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """Asks a Python of root or of an unprivileged user for what a sandbox comes to behind masks."""
    if os.geteuid() != 0 and request.param == "root":
        pytest.skip("needs root")
    if os.geteuid() == 0 and (why := users.missing()):
        pytest.skip(why)
    uid = 0 if request.param == "root" else users.USER

    def ask(masked: str, source: str = OPEN, *args: str, **policy: Any) -> dict[str, Any]:
        argv = masks.command(masked, [sys.executable, "-c", source, json.dumps(policy), *args])
        environment = dict(os.environ)
        if os.geteuid() == 0:
            argv, environment = users.command(argv, uid), users.environment(tmp_path)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd="/")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    ask.root = uid == 0  # pyright: ignore
    return ask


RESTRICTED = """
import json, sys
from sandbox import OwnCode, open_session
with open_session("restricted") as session:
    runs = [session.execute(code).status for code in ("import math; x = math.pi", "import ctypes", "x > 3")]
    thread = session.execute(OwnCode("import threading; threading.Thread(target=print).start()"))
    print(json.dumps({"tier": session.receipt.tier, "kind": session.receipt.kind, "runs": [*runs, thread.status]}))
"""


def test_the_restricted_sandbox_has_the_same_tiers(ask: Ask) -> None:
    found = {"kind": "restricted", "runs": ["ok", "error", "ok", "error"]}
    assert ask("docker", RESTRICTED) == {**found, "tier": "landlock"}


def test_where_no_jail_can_be_built_there_is_no_restricted_sandbox(ask: Ask) -> None:
    assert "no Landlock" in ask("landlock=0", OPEN.replace('"jail"', '"restricted"'))["error"]


# -- which tier -----------------------------------------------------------------------------------------------------


def test_tiers_are_ordered():
    assert all(reaches(one, other) is (i >= j) for i, one in enumerate(TIERS) for j, other in enumerate(TIERS))
    with pytest.raises(ConfigError, match="landlock, namespaces, full"):
        Policy(minimum_tier="best")  # pyright: ignore


def test_namespaces_and_a_control_group_are_full(ask):
    reply = ask("")
    assert reply["value"] == "42"
    group = any(layer.startswith("cgroup-v") for layer in reply["layers"])
    assert reply["tier"] == ("full" if group else "namespaces"), reply
    assert "user-namespace" in reply["layers"]


def test_without_control_groups_memory_is_watched_and_the_receipt_says_so(ask):
    if not ask.root:
        pytest.skip("needs root to hide them")
    reply = ask("cgroups")
    assert (reply["value"], reply["tier"]) == ("42", "namespaces")
    assert any("watched" in note for note in reply["notes"])
    reply = ask("cgroups", minimum_tier="full")
    assert "full" in reply["error"] and "control group" in reply["error"] and "root" in reply["hint"]


@pytest.mark.parametrize("version", ["", ",landlock=4", ",landlock=5"], ids=["newest", "4", "5"])
def test_without_namespaces_there_is_landlock_and_it_is_told(ask, version):
    reply = ask("docker" + version)
    assert (reply["value"], reply["tier"]) == ("42", "landlock"), reply
    assert not any("namespace" in layer for layer in reply["layers"]) and "seccomp" in reply["layers"]
    assert any("cannot fork" in note and "unshare" in note for note in reply["notes"])


@pytest.mark.parametrize("minimum", ["namespaces", "full"])
def test_a_demanded_tier_that_is_not_reached_is_refused_and_named(ask, minimum):
    reply = ask("docker", minimum_tier=minimum)
    if minimum == "full" and not ask.root:  # what is certain without building is told at once
        assert "full" in reply["error"] and "control group" in reply["error"]
        return
    for words in (minimum, "landlock", "unshare"):
        assert words in reply["error"], reply
    assert "seccomp=unconfined" in reply["hint"]


@pytest.mark.parametrize(
    ("masked", "missing"),
    [
        ("docker,landlock=3", "Landlock 4"),
        ("docker,landlock=0", "no Landlock"),
        ("landlock=0", "no Landlock"),
        ("seccomp", "system calls"),
        ("docker,seccomp", "system calls"),
    ],
)
def test_with_neither_it_refuses_and_names_what_is_missing(ask, masked, missing):
    reply = ask(masked)
    assert missing in reply["error"] and reply["hint"], reply


def test_an_old_landlock_is_enough_beside_namespaces(ask):
    assert ask("landlock=3")["tier"] in ("full", "namespaces")


def test_root_that_cannot_become_another_user_is_refused(ask):
    if not ask.root:
        pytest.skip("root alone has to")
    drop = "from sandbox.worker import kernel\nfor c in (0, 6, 7): kernel.prctl(24, c)\n"
    again = f"import os, sys\n{drop}os.execv(sys.executable, [sys.executable, '-c', {OPEN!r}, '{{}}'])"
    reply = ask("docker", again)
    assert "another user" in reply["error"] and "CHOWN" in reply["hint"], reply


# -- what holds in the landlock tier, with an old Landlock as well -----------------------------------------------------

SIGNALS = """
import json, os
from sandbox import open_session
code = f'''
import os, signal
def attempt(act, *args):
    try: act(*args)
    except OSError as error: return type(error).__name__
    return "went through"
[attempt(os.kill, {os.getpid()}, 0), attempt(os.kill, -1, 0), attempt(os.pidfd_open, {os.getpid()}),
 attempt(os.killpg, {os.getpgid(0)}, 0), attempt(os.kill, os.getpid(), 0), attempt(signal.raise_signal, signal.SIGCHLD)]
'''
with open_session("jail") as session:
    run = session.execute(code)
    print(json.dumps({"value": run.value, "error": repr(run.error)}))
"""


@pytest.mark.parametrize("masked", ["docker", "docker,landlock=4"])
def test_signals_go_to_oneself_only_whatever_landlock_can_scope(ask, masked):
    assert ask(masked, SIGNALS)["value"] == repr(["PermissionError"] * 4 + ["went through"] * 2)


WORK = """
import json, os, sys
from sandbox import open_session
with open_session("jail", workspace=sys.argv[2]) as session:
    said = [session.execute(code).value for code in (
        "import os; os.rename('sub', 'moved'); open('a.txt', 'a').write('more'); open('new', 'w').write('x'); 1",
        "import shutil, os; shutil.rmtree('moved'); os.remove('new'); 1 / 0",
        "sorted(os.listdir('.')), os.listdir('moved'), open('a.txt').read()",
    )]
    before = sorted(os.listdir(sys.argv[2]))
    open(sys.argv[2] + "/users-own", "w").close()
    changes = session.changes()
    changes.apply()
    again = session.changes()
    print(json.dumps({"said": said, "before": before, "changes": changes.summary(), "again": len(again)}))
"""


def test_effects_are_a_comparison_with_the_copy_that_was_made(ask, tmp_path):
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("hello\n")
    (folder / "sub" / "b.csv").write_text("x\n")
    if os.geteuid() == 0 and not ask.root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, users.USER, users.USER)
    for path in tmp_path.parents:
        if path.owner() == "root" and path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(0o755)
    tmp_path.chmod(0o755)
    reply = ask("docker", WORK, str(folder))
    assert reply["said"] == ["1", None, repr((["a.txt", "moved", "new"], ["b.csv"], "hello\nmore"))], reply
    assert reply["before"] == ["a.txt", "sub"] and reply["again"] == 0
    assert reply["changes"] == [
        "~ a.txt (+1 -0)",
        "+ moved/",
        "+ moved/b.csv (2 B)",
        "+ new (1 B)",
        "- sub/",
        "- sub/b.csv",
    ]
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "moved", "new", "users-own"]


DOCTOR = """
import json
from sandbox.jail import doctor
print(json.dumps({p.name: [p.ok, p.needed, p.detail] for p in doctor()}))
"""


@pytest.mark.parametrize("masked", ["", "docker", "docker,landlock=3"])
def test_doctor_says_the_tier_first_and_what_was_tested(ask, masked):
    probes = ask(masked, DOCTOR)
    assert next(iter(probes)) == "tier"
    broken = {name: probe for name, probe in probes.items() if probe[1] and not probe[0]}
    if masked.endswith("3"):
        assert set(broken) == {"tier"} and "Landlock 4" in broken["tier"][2]
        return
    assert not broken
    alone = {"starting a process", "running another program", "listing the root folder"}
    assert (alone <= set(probes)) is (masked == "docker") and "connecting to this host" in probes
    assert probes["tier"][2].startswith("landlock" if masked else ("full", "namespaces"))


# -- the command line ------------------------------------------------------------------------------------------------

CLI = """
import json, os, subprocess, sys
# As in a container, no daemon can be asked for one that would stand in.
env = {**os.environ, "SANDSMITH_DATA_DIR": "/tmp", "DOCKER_HOST": "unix:///nowhere", **json.loads(sys.argv[2])}
command = [sys.executable, "-m", "agent", "exec", "-", "--folder", "/usr/share/doc", *sys.argv[3:]]
done = subprocess.run(command, input="6 * 7", capture_output=True, text=True, env=env, check=False)
print(json.dumps({"code": done.returncode, "out": done.stdout, "err": done.stderr}))
"""


@pytest.mark.parametrize(
    ("settings", "options", "code"),
    [({}, [], 0), ({}, ["--min-tier", "namespaces"], 3), ({"SANDSMITH_MIN_TIER": "full"}, [], 3)],
    ids=["warned", "option", "setting"],
)
def test_the_command_line_warns_in_one_line_or_refuses(ask, settings, options, code):
    reply = ask("docker", CLI, json.dumps(settings), *options)
    assert reply["code"] == code, reply
    assert reply["err"].count("weaker wall") == (0 if code else 1)
    assert reply["out"] == ("" if code else "42\n")
