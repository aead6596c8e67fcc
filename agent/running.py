"""Scripts with inline metadata: what one needs to be run, and how the agent mends one that fails."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import Execution, Policy, SandboxUnavailable, Session
from sandbox.packages import fits_python, import_folders, list_sets, load_set, unmet
from sandbox.scratch import Scratch

from .errors import ConfigError, RunFailed
from .feedback import describe_failure
from .judge import judge
from .packages import packages_folder
from .saving import Saved, save_run, set_argv
from .script import About, body_of, given_files, with_files
from .source import parse
from .store import Run
from .task import Task
from .view import View, make_view

__all__ = ["Script", "choose_packages", "load_script", "repair_task", "repaired"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script that is to be run."""

    path: Path
    code: str
    about: About
    arguments: tuple[str, ...]
    """Its command line, in which files are called as the program finds them."""
    view: View

    def execute(self, session: Session) -> Execution:
        """Run it in a fresh session. `sys.argv` is set first, by an expression, which leaves no name behind."""
        set_argv(session, self.path.name, self.arguments)
        return session.execute(self.code)

    def problem(self, session: Session, execution: Execution) -> str:
        """Which of its own checks do not hold, after it has run in `session`; empty when all do."""
        verdict = judge(session, execution, self.about.checks, changed=lambda: bool(session.changes()))
        return "" if verdict.passed else describe_failure(execution, verdict)


def load_script(path: Path, code: str, arguments: Sequence[str], folder: Path) -> Script:
    """The script `code` from the file `path`, to be run over `folder` with these arguments.

    An argument that is a file, or `--NAME=FILE`, is shown to the program. Raises `ConfigError` for metadata that
    cannot be read, another Python, and files whose names are taken.
    """
    about = About.read(code)
    _check_python(about)
    files = [file for text in arguments if (file := _file(text)) is not None]
    view = make_view(Task("", folder, tuple(files)))
    return Script(path, code, about, tuple(_shown(text, view) for text in arguments), view)


def choose_packages(about: About, named: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """The package set that programs import from, None for what is installed here, and what is to be said about it.

    That is the set `named`, else what is installed where this meets the script's dependencies, else an installed set
    that does. Other versions than those asked for will do, and are told. Raises `ConfigError` when one is missing.
    """
    lacking = unmet(about.dependencies, import_folders(named))
    if not lacking:
        return named, ()
    if named is None and (found := _fitting_set(about)):
        return found, (f"packages from the set {found.name}",)
    bring = f"--with {shlex.quote(','.join(about.dependencies))}"
    missing = [text for text, version in lacking.items() if not version]
    if missing:
        what = f"the script needs {', '.join(missing)}, which cannot be imported here"
        raise ConfigError(what, hint=f"bring what it needs: {bring}")
    told = [f"the script asks for {text}, and {version} is here: {bring}" for text, version in lacking.items()]
    return named, tuple(told)


def repair_task(script: Script, folder: Path) -> Task:
    """The task of mending a script that failed: what was asked for once, with the program and the checks of then.

    Raises `ConfigError` for a script that does not say what it is for.
    """
    if not script.about.task:
        hint = "scripts that `sandsmith save` has written do"
        raise ConfigError(f"{script.path} does not say what it is for, so it cannot be repaired", hint=hint)
    files = _files(script)
    named = [folder / file for file in files.values() if (folder / file).is_file()]
    shown = dict.fromkeys([*(path.resolve() for path in named), *script.view.inputs])
    try:
        program = with_files(body_of(script.code), files)
    except SyntaxError as error:
        raise ConfigError(f"{script.path} is no valid Python: {error}") from None
    text = script.about.task
    for name, default in script.about.arguments.items():
        text = text.replace(default, files[name])
    return Task(text, folder, tuple(shown), script.about.checks, program)


def repaired(run: Run, script: Script, policy: Policy) -> Saved:
    """The program that `run` made of `script`, as a script with the same arguments; nothing is written yet.

    Raises `RunFailed` when it does not read the files any more that were given to the script, or reads what the script
    has made before, in which the old answer is; and as `save_run`.
    """
    files = _files(script)
    named = {str(n.value) for n in ast.walk(parse(run.program() or "")) if isinstance(n, ast.Constant)}
    if unread := sorted({*files.values()} - named):
        raise RunFailed(f"{script.path} was not changed: the mended program does not read {', '.join(unread)}")
    arguments = {files[name]: (name, default) for name, default in script.about.arguments.items()}
    with Scratch() as scratch:
        saved = save_run(run, scratch / "script.py", policy=policy, task=script.about.task, arguments=arguments)
    made = {check.text for check in script.about.checks if check.kind == "file"}
    if read := sorted(made & {*saved.arguments.values()} - {*script.about.arguments.values()}):
        what = f"the mended program reads {', '.join(read)}, which it is to make"
        raise RunFailed(f"{script.path} was not changed: {what}", hint="remove what it has made before, and try again")
    return replace(saved, path=script.path)


def _files(script: Script) -> Mapping[str, str]:
    return given_files(script.about.arguments, script.arguments)


def _check_python(about: About) -> None:
    if not fits_python(about.requires_python):
        this = "{}.{}".format(*sys.version_info[:2])
        raise ConfigError(f"the script is for Python {about.requires_python}, and this is {this}")


def _file(text: str) -> Path | None:
    """The file that an argument names; None for any other argument."""
    with suppress(OSError, ValueError):
        path = Path(_value(text))
        return path.resolve() if path.is_file() else None
    return None


def _value(text: str) -> str:
    return text.partition("=")[2] if text.startswith("--") else text


def _shown(text: str, view: View) -> str:
    """An argument as the program is to get it."""
    file = _file(text)
    if file is None:
        return text
    inside = view.folder is not None and file.is_relative_to(view.folder)
    name = str(file.relative_to(view.folder)) if inside and view.folder else file.name
    return f"{text.partition('=')[0]}={name}" if text.startswith("--") else name


def _fitting_set(about: About) -> Path | None:
    """An installed package set that meets the dependencies."""
    for path in list_sets(packages_folder()):
        with suppress(ConfigError, SandboxUnavailable):  # damaged, or of another interpreter
            found = load_set(path)
            found.check()
            if not unmet(about.dependencies, [found.site]):
                return path
    return None
