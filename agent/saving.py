"""Compiles the steps of a session, or the program of a run, into a script that was seen to do the same.

    saved = save_script(steps, target=Path("report.py"), folder=Path("reports"), changes=session.changes())

The smallest program that may do (see `slicing`) is run in a fresh sandbox over the same files, as the script that it
is going to be. When what it prints or what it does to the files differs, a larger one is tried, the whole one last.
Nothing is written unless one of them does the same.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import sandbox
from sandbox import Change, Changes, Execution, OwnCode, Policy, Sandbox, Session
from sandbox.changes import State
from sandbox.packages import import_folders, pins
from sandbox.scratch import Scratch

from .dataflow import opened_to_read
from .errors import ConfigError
from .feedback import describe_failure
from .files import ARCHIVES, PICTURES, write_file
from .judge import answer_of, judge
from .packages import find_recorded
from .plan import find_function
from .script import About, command_line, with_about, with_arguments
from .secrets import redact
from .settings import load_settings
from .slicing import Piece, Wanted, assemble, bound_names, slice_pieces, split
from .source import parse, replaced
from .store import Run
from .task import Check
from .view import make_view

__all__ = ["Saved", "Step", "save_run", "save_script", "set_argv"]

_TIMED = frozenset(("docProps/core.xml", "meta.xml"))
_ALIKE = 0.1
"""By how much the sizes of pictures may differ, as a share."""
_LARGEST_ARCHIVE = 64 << 20
_ENGINES = {
    "openpyxl": ("read_excel", "to_excel", "ExcelWriter"),
    "pyarrow": ("read_parquet", "to_parquet", "read_feather", "to_feather"),
    "lxml": ("read_html", "read_xml", "to_xml"),
    "tabulate": ("to_markdown",),
    "tables": ("read_hdf", "to_hdf"),
    "sqlalchemy": ("create_engine",),
}
"""Packages that pandas imports only where they are needed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One execution that succeeded, and what came of it."""

    code: str
    stdout: str = ""
    value: str | None = None
    """`repr` of its last expression, as in `Execution.value`."""
    figures: int = 0

    @classmethod
    def of(cls, code: str, execution: Execution) -> Step:
        """The step that `execution` of `code` was."""
        return cls(code, execution.stdout, execution.value, len(execution.displays))

    @property
    def shows_value(self) -> bool:
        """Whether its answer is the value of its last expression."""
        return not self.stdout.strip() and self.value not in (None, "None")

    @property
    def printed(self) -> str:
        """What it prints once its answer is printed, too."""
        return f"{_answer(self)}\n" if self.shows_value else self.stdout


@dataclass(frozen=True, slots=True)
class Saved:
    """A script that was written."""

    path: Path
    code: str
    whole: bool
    """Whether nothing was left out, because less did not do the same or because it could not be told what is needed."""
    arguments: dict[str, str] = field(default_factory=dict[str, str])
    """Its command-line arguments, with the files that they stand for when they are not given."""
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A program that may do, and what it has to print."""

    code: str
    arguments: dict[str, str]
    """Its arguments, with the files that they stood for in the steps."""
    printed: str
    figures: int
    whole: bool


@dataclass(frozen=True, slots=True)
class _Made:
    """What became of one path in the end."""

    kind: str
    """`created`, `modified` or `deleted`."""
    change: Change
    """The last change of it."""
    source: Changes
    """Where its content is."""
    before: State | None
    """What stood there at first."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be compiled, and what must come of it."""

    steps: tuple[Step, ...]
    files: tuple[str, ...]
    """What is there to be read, by the names under which programs find it."""
    made: Mapping[str, _Made]
    task: str
    checks: tuple[Check, ...]
    folders: tuple[Path, ...]
    """Where packages are."""
    known: Mapping[str, tuple[str, str]]
    """Files that have an argument already."""

    def default(self, file: str) -> str:
        """What the argument for `file` stands for when it is not given."""
        return self.known.get(file, ("", file))[1]


def save_script(
    steps: Sequence[Step],
    *,
    target: Path,
    folder: Path | None = None,
    inputs: Sequence[Path] = (),
    changes: Changes | None = None,
    applied: Sequence[Changes] = (),
    task: str = "",
    checks: Sequence[Check] = (),
    policy: Policy | None = None,
    arguments: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    kind: str | None = None,
    force: bool = False,
) -> Saved:
    """Write to `target` the smallest script found that does what `steps` did, one after the other in one session.

    It has to print what the last step printed (or the value of its last expression), to make the same `changes` in
    `folder` and beside `inputs` (None: none), and to keep `checks`. `applied`: what the steps did to the folder before
    that, in order; changes that were applied are taken back in a copy of the folder first. `arguments`: files that an
    argument stands for already, by its name and its default.

    Raises `ConfigError` when no program does, or when `target` exists, unless `force`; `SandboxUnavailable` as
    `open_sandbox`. Nothing is written then.
    """
    _check_target(target, force)
    if not steps:
        raise ConfigError("there is no step to save", hint="only steps that succeeded are")
    chosen = policy or Policy(minimum_tier=load_settings().minimum_tier)
    sets = [*applied, *([changes] if changes else [])]
    made = _net(sets)
    with _before(folder, [c for c in sets if c.state in ("applying", "applied")], chosen) as there:
        job = _Job(
            tuple(steps),
            tuple(_inputs(there, inputs, made, steps)),
            made,
            task,
            tuple(checks),
            tuple(import_folders(chosen.packages)),
            arguments,
        )
        with sandbox.open_sandbox(kind, workspace=there, policy=chosen, inputs=inputs) as box:
            saved = _reproduced(box, job, target)
    _check_target(target, force)
    write_file(target, saved.code.encode())
    return saved


def save_run(
    run: Run,
    target: Path,
    *,
    policy: Policy | None = None,
    kind: str | None = None,
    task: str | None = None,
    arguments: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    force: bool = False,
) -> Saved:
    """Write the program of `run` as a script to `target`; arguments and errors as in `save_script`.

    `kind`: the sandbox it is run in (None: that of the run). `task`: what it is for, where that is not the run's own.

    Raises `ConfigError` also for a run that was not solved, or whose files or packages are gone.
    """
    result, code = run.result(), run.program()
    if run.task is None or result is None or code is None or run.status not in ("solved", "unverified"):
        raise ConfigError(f"run {run.id} ended as `{run.status}`: there is no program to save", hint=_ANOTHER)
    if run.live:
        raise ConfigError(f"run {run.id} went on in a session", hint="`:save FILE.py` in the session saves its steps")
    view = make_view(run.replayable_task())
    store = run.path / "changes"
    step, checks = _recorded(run, code, result)
    chosen = policy or Policy(minimum_tier=load_settings().minimum_tier)
    if run.packages and chosen.packages is None:
        chosen = replace(chosen, packages=find_recorded(run.packages))
    return save_script(
        [step],
        target=target,
        folder=view.folder,
        inputs=view.inputs,
        changes=Changes.load(store) if (store / "changes.json").exists() else None,
        task=run.task.text if task is None else task,
        checks=checks,
        policy=chosen,
        kind=kind or run.sandbox,
        arguments=arguments,
        force=force,
    )


_ANOTHER = "choose another run: `sandsmith runs` lists them"


def _recorded(run: Run, code: str, result: dict[str, Any]) -> tuple[Step, tuple[Check, ...]]:
    """What came of the program of a run, and what was checked."""
    try:
        execution, verdict = result["execution"], result["verdict"]
        checks = tuple(Check(**entry["check"]) for entry in verdict["results"])
        return Step(code, execution["stdout"], execution["value"], len(execution["displays"])), checks
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"the result of run {run.id} is damaged: {error!r}", hint=_ANOTHER) from None


def _check_target(target: Path, force: bool) -> None:
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise ConfigError(f"{target} cannot be written: no such folder")
    if target.exists() and not force:
        raise ConfigError(f"{target} exists", hint="--force overwrites it")


# --- the files as they were ---


@contextmanager
def _before(folder: Path | None, applied: Sequence[Changes], policy: Policy) -> Generator[Path | None]:
    """The folder as the steps found it: itself, or a copy in which what was `applied` is taken back.

    Raises `ConfigError` when it is too large to be copied, or what was there before is gone.
    """
    if folder is None or not applied:
        yield folder
        return
    size = sum(path.lstat().st_size for path in folder.rglob("*"))
    if size > policy.disk_bytes:
        hint = "take the changes back first: `sandsmith apply RUN --undo`"
        raise ConfigError(f"the changes were applied, and {folder} is too large to be copied without them", hint=hint)
    with Scratch() as scratch:
        copy = scratch / "folder"
        shutil.copytree(folder, copy, symlinks=True)
        for number, changes in reversed(list(enumerate(applied))):
            store = scratch / str(number)
            shutil.copytree(changes.store, store, symlinks=True)
            replace(changes, folder=copy, store=store).undo(force=True)
        yield copy


def _net(sets: Sequence[Changes]) -> dict[str, _Made]:
    """What became of each path after these changes, one set after the other; what is as it was is left out."""
    net: dict[str, _Made] = {}
    for changes in sets:
        for change in changes:
            first = net.pop(change.path, None)
            kind = change.kind if first is None else _KINDS.get((first.kind, change.kind), change.kind)
            before = change.before if first is None else first.before
            unchanged = first is not None and change.after is not None and change.after.same_content(before)
            if kind and not unchanged:
                net[change.path] = _Made(kind, change, changes, before)
    return net


_KINDS = {
    ("created", "modified"): "created",
    ("created", "deleted"): "",
    ("deleted", "created"): "modified",
}
"""What two changes of a path are together, where that is not what the second is."""


def _inputs(
    folder: Path | None, inputs: Sequence[Path], changed: Collection[str], steps: Sequence[Step]
) -> Iterator[str]:
    """The files that the steps may have read, by the names under which programs find them. What they changed is none
    of these unless they are seen to read it."""
    names = [path.name for path in inputs]
    for top, folders, files in os.walk(folder) if folder is not None else ():
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += (str((Path(top) / name).relative_to(folder or top)) for name in files)
    trees = [parse(step.code) for step in steps]
    yield from (name for name in names if name not in changed or any(_is_read(name, tree) for tree in trees))


def _is_read(name: str, tree: ast.Module) -> bool:
    """Whether a call opens the file of this name to read it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=str(text)), *_]):
                found = text == name and opened_to_read(node)
            case ast.Call(func=ast.Attribute(attr=function), args=[ast.Constant(value=str(text)), *_]):
                found = text == name and function.startswith(("read", "load"))
            case _:
                found = False
        if found:
            return True
    return False


# --- candidates ---


def _reproduced(box: Sandbox, job: _Job, target: Path) -> Saved:
    """The first candidate that does what the steps did. Raises `ConfigError` when there is none."""
    tried: dict[str, str] = {}
    for candidate in _candidates(job):
        if candidate.code in tried:
            continue
        about = _about(candidate, job)
        script = with_about(candidate.code, about)
        tried[candidate.code] = problem = _problem(box, job, candidate, script)
        if not problem:
            return Saved(target, script, candidate.whole, dict(about.arguments), about.dependencies)
    last = list(tried.values())[-1]
    hint = "does it depend on the time, on chance or on what has changed since? Nothing was written"
    raise ConfigError(f"no program was found that does the same again: {last}", hint=hint)


def _candidates(job: _Job) -> Iterator[_Candidate]:
    """Programs that may do, from the smallest on: what the last step's result depends on, then with the output of all
    steps, then everything, in the end without arguments, too."""
    steps = _with_answers(job.steps)
    pieces = split(steps)
    last, every = frozenset({len(steps) - 1}), frozenset(range(len(steps)))
    for printing in (last, every):
        kept = slice_pieces(pieces, _wanted(job, pieces, printing))
        yield _candidate(job, kept, printing, whole=len(kept) == len(pieces))
    whole = _candidate(job, pieces, every, whole=True)
    yield whole
    if whole.arguments:
        yield replace(whole, code=assemble(pieces), arguments={})


def _candidate(job: _Job, pieces: Sequence[Piece], printing: frozenset[int], *, whole: bool) -> _Candidate:
    code, arguments = with_arguments(assemble(pieces), job.files, job.task, job.known)
    shown = [step for number, step in enumerate(job.steps) if number in printing]
    printed = "".join([*(step.stdout for step in shown[:-1]), job.steps[-1].printed])
    return _Candidate(code, arguments, printed, sum(step.figures for step in shown), whole)


def _wanted(job: _Job, pieces: Sequence[Piece], printing: frozenset[int]) -> Wanted:
    """What the steps were for: their output, their files, and the names that the checks are about. Where there is none
    of these it is what the last step has bound."""
    last = job.steps[-1]
    checked = " ".join(check.text for check in job.checks if check.kind in ("expression", "tests"))
    named = {*re.findall(r"\w+", checked), find_function(job.task)}
    names = {name for piece in pieces for name in bound_names(piece.node) if name in named}
    if not (last.printed or job.made or last.figures or names):
        names = {n for piece in pieces if piece.step == len(job.steps) - 1 for n in bound_names(piece.node)}
    return Wanted(printing, bool(job.made), bool(last.figures), frozenset(names))


def _with_answers(steps: Sequence[Step]) -> list[str]:
    """The programs of the steps; the value that was the last one's answer is printed, and one that a later step finds
    as `_` is given that name."""
    codes = [step.code for step in steps]
    for number, code in enumerate(codes[:-1]):
        if any(_reads_last_value(later) for later in codes[number + 1 :]):
            codes[number] = _around_value(code, "_ = {}")
    if steps[-1].shows_value:
        codes[-1] = _around_value(codes[-1], "print(repr({}))" if _is_repr(steps[-1]) else "print({})")
    return codes


def _reads_last_value(code: str) -> bool:
    """Whether a program reads the name `_` that it does not bind."""
    names = [n for n in ast.walk(parse(code)) if isinstance(n, ast.Name) and n.id == "_"]
    return bool(names) and all(isinstance(n.ctx, ast.Load) for n in names)


def _around_value(code: str, template: str) -> str:
    """`code` with its last expression put into a template, if it ends in one."""
    body = parse(code).body
    last = body[-1] if body else None
    text = ast.get_source_segment(code, last) if isinstance(last, ast.Expr) else None
    return code if last is None or text is None else replaced(code, [(last, template.format(text))])


def _is_repr(step: Step) -> bool:
    """Whether `print` might show the value in another way than the session did."""
    return not isinstance(_literal(step.value), (str, int, float, tuple, list, dict)) and "\n" not in (step.value or "")


def _literal(text: str | None) -> object:
    try:
        return ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _answer(step: Step) -> str:
    return answer_of(Execution("ok", stdout=step.stdout, value=step.value))


# --- metadata ---


def _about(candidate: _Candidate, job: _Job) -> About:
    modules = {name for name in _imported(candidate.code) if name not in sys.stdlib_module_names}
    modules |= {package for package, uses in _ENGINES.items() if modules and any(use in candidate.code for use in uses)}
    return About(
        requires_python=">={}.{}".format(*sys.version_info[:2]),
        dependencies=pins(modules, job.folders),
        task=redact(job.task),
        checks=(*job.checks, *_shape(job)),
        arguments={name: job.default(file) for name, file in candidate.arguments.items()},
    )


def _imported(code: str) -> Iterator[str]:
    """Top-level names of the modules that a program imports, anywhere in it."""
    for node in ast.walk(parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def _shape(job: _Job) -> Iterator[Check]:
    """What a program that does the same for other data has to do, beside what the checks say."""
    made = [path for path, m in job.made.items() if m.kind == "created" and not m.change.is_dir]
    known = {(check.kind, check.text) for check in job.checks}
    yield from (Check("file", path, "none") for path in made if ("file", path) not in known)
    if job.steps[-1].printed.strip() and "answer" not in {check.kind for check in job.checks}:
        yield Check("answer", "something is printed", "none")


# --- whether it does the same ---


def set_argv(session: Session, name: str, arguments: Sequence[str]) -> None:
    """Have the program in `session` find this command line. Set by an expression, which leaves no name behind."""
    session.execute(OwnCode(f"setattr(__import__('sys'), 'argv', {[name, *arguments]!r})"), on_error="keep")


def _problem(box: Sandbox, job: _Job, candidate: _Candidate, script: str) -> str:
    """What differs when the script is run, empty when it does the same."""
    with box.open() as session:
        if any(job.default(file) != file for file in candidate.arguments.values()):
            set_argv(session, "script.py", command_line(candidate.arguments))
        execution = session.execute(script, on_error="keep")
        if not execution.ok:
            return describe_failure(execution, None)
        if differing := _output_problem(execution, candidate) or _files_problem(job.made, _net([session.changes()])):
            return differing
        verdict = judge(session, execution, job.checks, changed=lambda: bool(job.made))
        return "" if verdict.passed else describe_failure(execution, verdict)


def _output_problem(execution: Execution, candidate: _Candidate) -> str:
    if execution.stdout.rstrip() != candidate.printed.rstrip():
        return f"it printed {_short(execution.stdout)} where {_short(candidate.printed)} was printed before"
    if len(execution.displays) < candidate.figures:
        return f"it drew {len(execution.displays)} figures where there were {candidate.figures} before"
    return ""


def _short(text: str, most: int = 200) -> str:
    return repr(text if len(text) <= most else text[:most] + "…")


def _files_problem(wanted: Mapping[str, _Made], found: Mapping[str, _Made]) -> str:
    for path in sorted(wanted.keys() | found.keys()):
        before, now = wanted.get(path), found.get(path)
        if before is None or now is None or before.kind != now.kind:
            was, now_is = (made.kind if made else "left alone" for made in (before, now))
            return f"{path} was {was} before and {now_is} now"
        if not _is_same(before, now):
            return f"{path} holds something else than before"
    return ""


def _is_same(before: _Made, now: _Made) -> bool:
    """Whether both leave the same behind; what bears the time of its making may differ in that."""
    old, new = before.change, now.change
    ending = PurePosixPath(new.path).suffix.lower()
    if old.is_dir or new.is_dir or now.kind == "deleted" or old.sha256 == new.sha256:
        return old.is_dir == new.is_dir
    if ending in PICTURES:  # by size
        return abs(old.size - new.size) <= _ALIKE * old.size
    if ending in ARCHIVES and max(old.size, new.size) <= _LARGEST_ARCHIVE:
        sums = _sums(before.source.read(old.path))
        return bool(sums) and sums == _sums(now.source.read(new.path))
    return False


def _sums(archive: bytes) -> dict[str, tuple[int, int]]:
    """Checksum and size of each entry as the directory of an archive has them; nothing is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as entries:
            return {e.filename: (e.CRC, e.file_size) for e in entries.infolist() if e.filename not in _TIMED}
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return {}
