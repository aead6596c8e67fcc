"""Package sets: what is asked for, how it is installed, that nothing of it runs here, that it stays what it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import users
from package_index import Index, sdist, serve, wheel

from sandbox import ConfigError, PackageSet, Policy, SandboxUnavailable, install_packages, open_session
from sandbox.packages import delete_set, find_set, list_sets, load_set, requirements

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.jail  # byte code is made behind the wall


@contextmanager
def only_index(patch: pytest.MonkeyPatch) -> Iterator[Index]:
    """pip sees this index and nothing else: no cache, no settings of the user."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_NO_CACHE_DIR", "1")
    with serve() as index:
        patch.setenv("PIP_INDEX_URL", index.url)
        index.add(wheel("alpha", requires=("beta>=1",)), wheel("beta", "1.0"), wheel("beta", "2.0"))
        yield index


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with only_index(monkeypatch) as index:
        yield index


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "packages"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PackageSet:
    with pytest.MonkeyPatch.context() as patch, only_index(patch):
        return install_packages(["alpha"], tmp_path_factory.mktemp("made"))


@pytest.fixture
def installed(made: PackageSet, place: Path) -> PackageSet:
    """A set of `alpha` in `place`."""
    shutil.copytree(made.path, place / made.name)
    return load_set(place / made.name)


def nothing_is_left(place: Path) -> bool:
    return not place.exists() or {p.name for p in place.iterdir()} <= {".lock"}


# -- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (["Pandas >= 2", "matplotlib"], ("matplotlib", "pandas>=2")),
        (["pandas<3,>=2"], ("pandas<3,>=2",)),
        (["pandas>=2,<3"], ("pandas<3,>=2",)),
        (["Requests[SOCKS,use_chardet]"], ("requests[socks,use-chardet]",)),
        (["a", "A", "a "], ("a",)),
        (["ruamel_yaml"], ("ruamel-yaml",)),
        (["six; python_version >= '3.8'"], ("six",)),
        (["six", "pywin32; sys_platform == 'win32'"], ("six",)),
    ],
)
def test_requirements_have_one_normal_form(given, normal):
    assert requirements.parse(given) == normal


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("--index-url=http://evil.example", "option"),
        ("-e .", "option"),
        ("-rfile", "option"),
        ("six @ https://evil.example/six-1.0-py3-none-any.whl", "address"),
        ("git+https://evil.example/six", "address"),
        ("./six", "path"),
        ("/tmp/six-1.0-py3-none-any.whl", "path"),
        ("six-1.0-py3-none-any.whl", "path"),
        ("six.tar.gz", "path"),
        (".", "path"),
        ("six\n--index-url=http://evil.example", "no requirement|address"),
        ("six==", "no requirement"),
        ("s!x", "no requirement"),
        ("", "no requirement"),
        ("pywin32; sys_platform == 'win32'", "no package"),
        ("a" * 2000, "characters"),
    ],
)
def test_what_is_no_name_of_a_package_is_refused(given, why, place):
    with pytest.raises(ConfigError, match=why):
        install_packages([given], place)
    assert not place.exists()


def test_commas_separate_packages_and_not_their_versions():
    assert requirements.split("pandas>=2,<3,requests[socks,security]>=2, numpy") == [
        "pandas>=2,<3",
        "requests[socks,security]>=2",
        "numpy",
    ]


# -- a set ------------------------------------------------------------------------------------------------------------


def test_a_set_holds_what_was_asked_for_and_what_that_needs(index, place):
    installed = install_packages(["alpha"], place)
    assert [(p.name, p.version) for p in installed.packages] == [("alpha", "1.0"), ("beta", "2.0")]
    assert installed.requirements == ("alpha",) and installed.modules == ("alpha",)
    lock = (installed.path / "requirements.txt").read_text().splitlines()
    assert lock == [f"{p.name}=={p.version} --hash=sha256:{p.sha256}" for p in installed.packages]
    assert installed.packages[0].sha256 == index.sums["alpha-1.0-py3-none-any.whl"]
    assert installed.packages[0].url.endswith("/files/alpha-1.0-py3-none-any.whl")
    assert {p.name for p in place.iterdir()} == {".lock", installed.name}
    installed.verify()
    assert load_set(installed.path) == installed == PackageSet.from_json(json.loads(json.dumps(installed.to_json())))


def test_nobody_may_write_and_everybody_may_read(installed):
    for path in (installed.path, *installed.path.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o555 if path.is_dir() else 0o444), path


def test_found_again_without_network_and_without_pip(installed, place, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setattr("sandbox.packages.pip.subprocess", None)
    started = time.monotonic()
    assert install_packages([" Alpha "], place) == installed
    assert time.monotonic() - started < 5


def test_another_wish_is_another_set(index, installed, place):
    older = install_packages(["alpha", "beta<2"], place)
    assert older.path != installed.path
    assert [str(p) for p in older.packages] == ["alpha==1.0", "beta==1.0"]
    assert list_sets(place) == sorted([older.path, installed.path])


def test_a_set_is_found_by_its_name_its_beginning_or_what_it_is_made_of(installed, place):
    assert find_set(place, installed.name) == find_set(place, installed.name[:6]) == find_set(place, "alpha")
    with pytest.raises(ConfigError, match="no package set"):
        find_set(place, "beta")
    delete_set(installed.path)
    assert nothing_is_left(place)


def test_credentials_of_an_index_are_not_kept(index, place, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//user:secret-token@"))
    path = install_packages(["beta"], place).path
    assert all(b"secret-token" not in p.read_bytes() for p in path.rglob("*") if p.is_file())


# -- in the jail ------------------------------------------------------------------------------------------------------


def test_a_set_takes_the_place_of_the_packages_of_the_environment(installed):
    policy = Policy(packages=installed.path)
    child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import {}']).returncode"
    with open_session("jail", policy=policy) as session:
        assert session.execute("import alpha, beta; beta.VERSION").value == "'2.0'"
        assert session.execute("import pytest").error.type == "ModuleNotFoundError"
        assert session.execute(child.format("alpha")).value == "0"
        assert session.execute(child.format("pytest")).value == "1"
        assert session.execute("open(alpha.__file__, 'a')").error.type in ("OSError", "PermissionError")
    with open_session("jail") as session:
        assert session.execute("import pytest").ok
        assert session.execute(child.format("pytest")).value == "0"
        assert session.execute("import alpha").error.type == "ModuleNotFoundError"


def test_modules_are_compiled_behind_the_wall_and_say_where_they_are(index, place):
    index.add(wheel("bad", files={"bad/__init__.py": "def f(): 1 / 0\n", "bad/template.py": "{% if python %}\n"}))
    found = install_packages(["bad"], place)
    assert [p.name for p in found.site.rglob("*.pyc")] == [f"__init__.{sys.implementation.cache_tag}.pyc"]
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        run = session.execute("import bad\nprint(bad.__cached__)\nbad.f()")
        assert run.stdout.strip().endswith(".pyc") and f"{found.site}/bad/__init__.py" in run.error.traceback


@pytest.mark.root
def test_the_umask_of_the_user_does_not_hide_a_set_from_the_program(index, place):
    before = os.umask(0o077)
    try:
        found = install_packages(["alpha"], place)
    finally:
        os.umask(before)
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        assert session.execute("import alpha; alpha.__cached__").ok


@pytest.mark.root
@pytest.mark.skipif(bool(users.missing()), reason=users.missing() or "-")
def test_a_plain_user_installs_uses_and_removes_a_set(index):
    home = Path(tempfile.mkdtemp(prefix="sandsmith-test-home-"))
    os.chown(home, users.USER, users.USER)
    code = """if True:
        from pathlib import Path
        from sandbox import *
        from sandbox.packages import delete_set, list_sets
        found = install_packages(["alpha"], Path.home() / "sets")
        with open_session("jail", policy=Policy(packages=found.path)) as session:
            print(session.execute("import beta; beta.VERSION").value)
        delete_set(found.path)
        print(list_sets(Path.home() / "sets"))
    """
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    try:
        command = users.command([sys.executable, "-c", code])
        environment = users.environment(home) | pip
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=90)
    finally:
        shutil.rmtree(home)
    assert (done.stdout, done.stderr) == ("'2.0'\n[]\n", "")


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="absolute path"):
        Policy(packages=tmp_path / "none")
    with pytest.raises(ConfigError, match="no package set"):
        open_session("jail", policy=Policy(packages=tmp_path))


# -- what cannot be had -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (["gamma"], "no package 'gamma'"),
        (["alpha", "gamma-delta>=1"], "no package 'gamma-delta'"),
        (["beta>=3"], "no beta>=3"),
        (["alpha", "beta<1.0"], "no beta<1.0"),
        (["beta==1.0", "narrow"], "do not go together.*narrow"),
        (["foreign"], "no wheel of foreign"),
        (["source"], "no wheel of source"),
        (["needs_source"], "no wheel of source"),
        (["future"], "Python"),
    ],
)
def test_what_the_index_cannot_give_is_said(index, place, tmp_path, wanted, why):
    index.add(
        wheel("narrow", requires=("beta>=2",)),
        wheel("foreign", tag="cp39-cp39-win_amd64"),
        wheel("needs_source", requires=("source",)),
        wheel("future", tag="cp399-none-any"),
        sdist("source", "1.0", str(tmp_path / "canary")),
    )
    with pytest.raises(ConfigError, match=why) as error:
        install_packages(wanted, place)
    assert nothing_is_left(place) and not (tmp_path / "canary").exists()
    assert "{" not in error.value.hint


@pytest.mark.parametrize(
    ("url", "status", "why"),
    [
        ("http://127.0.0.1:9/simple", 0, "refused"),
        ("http://index.example/simple", 0, "reached"),
        ("", 403, "403"),
        ("", 503, "50[03]"),
    ],
)
def test_an_index_that_cannot_be_reached_is_nobodys_fault_here(index, place, monkeypatch, url, status, why):
    monkeypatch.setenv("PIP_INDEX_URL", url or index.url)
    index.status = status
    with pytest.raises(SandboxUnavailable, match=f"cannot be reached.*{why}|reached$"):
        install_packages(["alpha"], place)
    assert nothing_is_left(place)


def test_an_environment_without_pip_names_the_way_out(index, place, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr("sandbox.packages.pip.sys.executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(SandboxUnavailable, match="pip is not installed") as error:
        install_packages(["alpha"], place)
    assert "ensurepip" in error.value.hint and nothing_is_left(place)


@pytest.mark.root
def test_a_full_disk_leaves_nothing(index, tmp_path):
    index.add(wheel("large", files={"large.py": "x = '" + "a" * (2 << 20) + "'\n"}))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        with pytest.raises(SandboxUnavailable, match="no room"):
            install_packages(["large"], disk)
        assert nothing_is_left(disk)
        install_packages(["beta"], disk)  # the disk is large enough for another
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_made_is_said(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxUnavailable, match="cannot keep packages"):
        install_packages(["alpha"], tmp_path / "file" / "packages")


# -- nothing of a package runs here -----------------------------------------------------------------------------------


def test_a_source_archive_is_not_built(index, place, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    index.add(sdist("source", "1.0", str(canary)))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")  # not even when the user's settings ask for it
    with pytest.raises(ConfigError, match="no wheel"):
        install_packages(["source"], place)
    assert not canary.exists()
    plain = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path / "plain", "source"]
    subprocess.run(plain, capture_output=True, check=False)
    assert canary.read_text() == "it ran"  # the positive control


def test_modules_in_the_current_folder_are_not_run(index, place, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    (tmp_path / "alpha").mkdir()
    monkeypatch.chdir(tmp_path)
    assert install_packages(["alpha"], place).packages
    assert not (tmp_path / "canary").exists()
    subprocess.run([sys.executable, "-m", "pip", "--version"], check=False)
    assert (tmp_path / "canary").exists()  # the positive control


def test_files_that_python_runs_by_itself_run_in_the_jail_only(index, place, tmp_path):
    canary = tmp_path / "canary"
    code = f"import os; os.path.isdir({str(tmp_path)!r}) and open({str(canary)!r}, 'w')\n"
    starters = ("evil.pth", "sitecustomize.py", "usercustomize.py", "pip.py", "encodings/__init__.py")
    index.add(wheel("evil", files={"evil.py": "x = 1\n", **dict.fromkeys(starters, code)}))
    found = install_packages(["evil"], place)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        assert session.execute("import evil; evil.x").value == "1"
        session.execute("import subprocess, sys; subprocess.run([sys.executable, '-c', 'import evil'])")
    found.verify()
    assert not canary.exists()
    subprocess.run([sys.executable, "-c", f"import site; site.addsitedir({str(found.site)!r})"], check=True)
    assert canary.exists()  # the positive control


@pytest.mark.parametrize(
    "path", ["../escaped.py", "evil/../../escaped.py", "/tmp/sandsmith-escaped.py", "evil-1.0.data/data/../../escaped"]
)
def test_a_path_out_of_the_set_is_refused(index, place, path):
    index.add(wheel("evil", files={"evil.py": "", path: "out"}))
    with pytest.raises((ConfigError, SandboxUnavailable)):
        install_packages(["evil"], place)
    assert nothing_is_left(place)
    assert not list(place.parent.rglob("*escaped*")) and not Path("/tmp/sandsmith-escaped.py").exists()


def test_a_wheel_whose_list_tells_otherwise_is_refused(index, place):
    index.add(wheel("evil", files={"evil.py": "x = 1\n"}, record={"evil.py": "sha256=" + "A" * 43}))
    with pytest.raises(ConfigError, match=r"damaged: evil\.py"):
        install_packages(["evil"], place)
    assert nothing_is_left(place)


def test_two_packages_may_bring_the_same_file(index, place):
    index.add(wheel("one", files={"one.py": "", "LICENCE": "1"}), wheel("two", files={"two.py": "", "LICENCE": "2"}))
    assert install_packages(["one", "two"], place).modules == ("one", "two")


def test_scripts_and_data_stay_in_the_set(index, place):
    data = {f"evil-1.0.data/{kind}/{name}": "x" for kind, name in (("scripts", "ls"), ("data", "etc/profile.d/x"))}
    index.add(wheel("evil", files={"evil.py": "", **data}))
    found = install_packages(["evil"], place)
    names = {str(p.relative_to(found.site)) for p in found.site.rglob("*") if p.is_file()}
    assert {"bin/ls", "etc/profile.d/x", "evil.py"} <= names
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        assert session.execute("import shutil; shutil.which('ls')").value == "'/usr/bin/ls'"


def test_an_index_that_serves_other_bytes_is_refused(index, place):
    index.sums["alpha-1.0-py3-none-any.whl"] = "0" * 64
    with pytest.raises(SandboxUnavailable, match="other bytes"):
        install_packages(["alpha"], place)
    assert nothing_is_left(place)


def test_an_index_that_changes_a_wheel_between_choosing_and_installing_is_refused(index, place, monkeypatch):
    served = index.answer

    def answer(path: str) -> bytes | None:
        data = served(path)
        if path.startswith("/files/"):
            index.add(wheel("beta", "2.0", {"beta.py": f"x = {len(index.requests)}\n"}))
        return data

    monkeypatch.setattr(index, "answer", answer)
    with pytest.raises(SandboxUnavailable, match="other bytes"):
        install_packages(["beta"], place)
    assert nothing_is_left(place)


# -- more than one, and ends that come early --------------------------------------------------------------------------


def start(place: Path, wanted: str, **more: object) -> subprocess.Popen[str]:
    code = f"from sandbox import install_packages; print(install_packages([{wanted!r}], {str(place)!r}).path)"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def pips_in(place: Path) -> list[str]:
    """Processes of pip that write below `place`."""
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    return [line.decode(errors="replace") for line in lines if b"pip\0" in line and os.fsencode(place) in line]


def test_two_processes_make_a_set_once(index, place):
    index.gate.clear()
    first = start(place, "alpha")
    assert index.waiting.wait(20)
    second = start(place, "alpha")
    time.sleep(0.5)
    index.gate.set()
    paths = {process.communicate(timeout=60)[0] for process in (first, second)}
    assert len(paths) == 1 and first.returncode == second.returncode == 0
    assert sum(r.startswith("/files/alpha") for r in index.requests) <= 2  # chosen and installed by one of them


def test_a_killed_installation_leaves_no_set_and_is_swept(index, place):
    index.gate.clear()
    process = start(place, "alpha")
    assert index.waiting.wait(20)
    process.kill()
    process.communicate()
    assert list(place.glob(".part-*")) and not list_sets(place)
    index.gate.set()
    found = install_packages(["alpha"], place)
    found.verify()
    assert {p.name for p in place.iterdir()} == {".lock", found.name}
    wait_for(lambda: not pips_in(place))


# -- damage -----------------------------------------------------------------------------------------------------------


def damage(file: Path, data: bytes | None) -> None:
    file.parent.chmod(0o755)
    if file.exists():
        file.chmod(0o644)
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("site-packages/alpha.py", b"longer than it was: print('evil')"),
        ("site-packages/alpha.py", None),
        ("site-packages/added.py", b""),
        ("files.json", b"{"),
        ("files.json", b'{"alpha.py": 1}'),
        ("set.json", b"[]"),
        ("set.json", b"{}"),
    ],
)
def test_a_damaged_set_is_not_used(installed, name, data):
    damage(installed.path / name, data)
    with pytest.raises(SandboxUnavailable, match="damaged") as error:
        open_session("jail", policy=Policy(packages=installed.path))
    assert installed.name in error.value.hint
    delete_set(installed.path)
    assert not list_sets(installed.path.parent)


def test_a_link_in_a_set_is_damage(installed):
    damage(installed.site / "alpha.py", None)
    (installed.site / "alpha.py").symlink_to("/etc/passwd")
    with pytest.raises(SandboxUnavailable, match="damaged"):
        installed.check()


def test_other_bytes_of_the_same_size_are_found_by_the_full_comparison(installed):
    file = installed.site / "alpha.py"
    damage(file, file.read_bytes()[::-1])
    installed.check()
    with pytest.raises(SandboxUnavailable, match=r"alpha\.py has changed"):
        installed.verify()


def test_a_set_of_another_interpreter_is_refused(installed, monkeypatch):
    monkeypatch.setattr("sandbox.packages.sets.platform", lambda: "3.99 other")
    with pytest.raises(ConfigError, match="is for Python 3"):
        open_session("jail", policy=Policy(packages=installed.path))


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(index: Index, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    work = tmp_path / "work"
    work.mkdir()
    home = {"SANDSMITH_CACHE_DIR": str(tmp_path / "cache"), "SANDSMITH_DATA_DIR": str(tmp_path / "data")}

    def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agent", *args],
            env={**os.environ, **home, "PYTHONPATH": str(ROOT)},
            cwd=work,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
        )

    return run


def test_exec_with_packages(command, place):
    done = command("exec", "-", "--with", "alpha,beta<2", stdin="import beta; print(beta.VERSION)")
    assert (done.returncode, done.stdout) == (0, "1.0\n")
    assert "looking for alpha, beta<2" in done.stderr
    again = command("exec", "-", "--with", "beta<2", "--with", "alpha", stdin="import pytest")
    assert again.returncode == 1 and "No module named 'pytest'" in again.stderr and "looking" not in again.stderr


def test_sets_are_added_listed_verified_and_removed(command, place):
    done = command("packages", "add", "alpha")
    path = Path(done.stdout.strip())
    assert done.returncode == 0 and path.parent == place
    assert "alpha==1.0 beta==2.0" in command("packages", "list").stdout
    row = json.loads(command("packages", "list", "--json").stdout)["sets"][0]
    assert row["path"] == str(path) and row["packages"][1]["version"] == "2.0" and row["problem"] is None
    assert command("packages", "verify").stdout == f"{path.name}  ok\n"
    damage(path / "site-packages" / "alpha.py", b"#" * (path / "site-packages" / "alpha.py").stat().st_size)
    done = command("packages", "verify", "alpha")
    assert done.returncode == 3 and "alpha.py has changed" in done.stdout
    assert command("packages", "remove", path.name[:8]).returncode == 0
    assert command("packages", "list").stdout == ""


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [("./alpha", 2, "path"), ("--index-url=x", 2, "option"), ("gamma", 2, "'gamma'"), ("alpha", 3, "reached")],
)
def test_errors_have_exit_codes_and_hints(command, monkeypatch, wanted, code, said):
    if code == 3:
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    done = command("exec", "-", f"--with={wanted}", stdin="1")
    assert done.returncode == code and said in done.stderr and "\nhint: " in done.stderr and not done.stdout


def test_a_run_tells_the_model_its_packages_and_keeps_the_lock(command, index, tmp_path):
    replies = tmp_path / "replies.json"
    replies.write_text(json.dumps(["```python\nimport beta\nprint(beta.VERSION)\n```"]))
    done = command("run", "Print the version of beta.", f"--model=scripted:{replies}", "--with", "beta")
    assert (done.returncode, done.stdout) == (0, "2.0\n")
    assert "apart from the standard library there are beta." in command("show", "last", "--trace").stdout
    assert "packages beta==2.0" in command("show", "last").stdout
    kept = json.loads(command("show", "last", "--json").stdout)["packages"]
    assert kept["packages"][0]["sha256"] == index.sums["beta-2.0-py3-none-any.whl"]
    assert command("replay", "last").returncode == 0
    command("packages", "remove", "beta")
    index.add(wheel("beta", "3.0"))
    command("packages", "add", "beta")
    gone = command("replay", "last")  # the same wish, but other packages
    assert gone.returncode == 2 and "hint: sandsmith packages add beta==2.0" in gone.stderr
    command("packages", "add", "beta==2.0")
    assert command("replay", "last").returncode == 0


def test_ctrl_c_stops_pip_and_leaves_nothing(index, place, tmp_path):
    index.gate.clear()
    env = {**os.environ, "SANDSMITH_CACHE_DIR": str(place.parent)}
    command = [sys.executable, "-m", "agent", "packages", "add", "alpha"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert index.waiting.wait(20) and pips_in(place)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and b"interrupted" in said
    assert nothing_is_left(place) and not pips_in(place)


# -- the real index ---------------------------------------------------------------------------------------------------


def test_a_package_of_the_python_package_index(tmp_path):
    try:
        found = install_packages(["tabulate"], tmp_path)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        assert session.execute("from tabulate import tabulate\ntabulate([[1]], tablefmt='csv')").ok
