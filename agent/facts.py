"""What a program has to know about the files: found in the sandbox by `facts_probe`, made into a short text here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from sandbox import OwnCode, Session
from sandbox.text import printable

__all__ = ["Facts", "FileFact", "count_tokens", "facts_of", "look", "named_folders", "relevant", "render"]

_DATA = {"csv", "json", "jsonl", "sqlite", "excel", "zip", "gzip", "tar"}
_ABOUT_FILES = re.compile(
    r"\b(?:files?|folders?|director(?:y|ies)|photos?|images?|pictures?|documents?|scripts?|logs?|tables?|data|notes?"
    r"|modules?|code|project|here|texts?|names?)\b|文件|目录|照片|图片|文档|数据|表|日志|代码|这里|当前",
    re.IGNORECASE,
)
_NAMES_IN_A_LINE = 16
_WALL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class FileFact:
    """One file: what it is in a line, and what it holds in some."""

    path: str
    size: int
    kind: str
    summary: str
    details: tuple[str, ...] = ()
    load: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How a program reads it: what `opening` writes code from."""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def line(self) -> str:
        return f"{self.path}: {self.summary}" if self.summary else self.path


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in the working folder."""

    files: tuple[FileFact, ...] = ()
    more: int = 0
    """Files that were not looked into."""
    packages: tuple[str, ...] = ()
    python: str = ""
    problem: str = ""
    """Why nothing was found, when the probe failed."""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])


def look(session: Session, names: Sequence[str] = (), modules: Sequence[str] = ()) -> Facts:
    """Run the probe in `session` over its working directory, `names` first. A probe that fails yields empty facts.

    `modules`: what may be importable beside the packages that the probe knows of.
    """
    source = resources.files(__package__ or "agent").joinpath("facts_probe.py").read_text("utf-8")
    run = session.execute(
        OwnCode(f"{source}\nprint(json.dumps(survey({list(names)!r}, {list(modules)!r})))\n"),
        wall_seconds=_WALL_SECONDS,
    )
    if not run.ok:
        why = run.error.message if run.error else run.status
        return Facts(problem=f"the folder could not be looked at: {why}")
    try:
        return facts_of(json.loads(run.stdout))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Facts(problem=f"the folder could not be looked at: {error}")


def render(facts: Facts, budget_tokens: int, text: str = "", named: Iterable[str] = ()) -> str:
    """The facts for a prompt, in about `budget_tokens`: the files that `text` mentions or that were `named` in full,
    others in a line or as one of several names. Empty when there is nothing to say."""
    if not facts.files or _irrelevant(facts, text, set(named)):
        return ""
    full = relevant(facts, text, named)
    blocks = ["Files in the working folder:", *_full(full, budget_tokens)]
    blocks += _short([f for f in facts.files if f not in full], facts.more, budget_tokens, blocks)
    return "\n".join(blocks)


def relevant(facts: Facts, text: str, named: Iterable[str] = ()) -> list[FileFact]:
    """The files that the task `text` is about, as far as its words tell; of a folder that it names one of each kind."""
    if not facts.files or _irrelevant(facts, text, set(named)):
        return []
    important = _importance(facts, text, set(named))
    return [f for f in facts.files if important[f.path]]


def named_folders(facts: Facts, text: str) -> list[str]:
    """The folders at the top that the task `text` is about as a whole: named in it, without any file in them."""
    tops = dict.fromkeys(f.folder.split("/")[0] for f in facts.files if f.folder != ".")
    inside = {top: [f for f in facts.files if f.folder.split("/")[0] == top] for top in tops}

    def is_apart(fact: FileFact) -> bool:
        return _mentions(text, fact) and not fact.name.startswith("__")

    return [t for t in tops if t in text and len(inside[t]) > 1 and not any(map(is_apart, inside[t]))]


def count_tokens(text: str) -> int:
    """An estimate: four characters a token, and a token for each character of Chinese, Japanese or Korean."""
    wide = sum("\u2e80" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7ff" or "\uff00" <= c <= "\uffef" for c in text)
    return wide + (len(text) - wide + 3) // 4


def facts_of(data: Mapping[str, Any]) -> Facts:
    """The facts in what the probe reported. Raises `ValueError` and others for what is none."""
    files = tuple(
        FileFact(
            _text(f["path"]),
            int(f["size"]),
            _text(f["kind"]),
            _text(f["summary"]),
            tuple(map(_text, f["details"])),
            f.get("load") or {},
        )
        for f in data["files"]
    )
    packages = tuple(map(_text, data["packages"]))
    return Facts(files, int(data["more"]), packages, _text(data["python"]), raw=data)


def _text(value: object) -> str:
    """One printable line, whatever a file's name or content held."""
    return printable(str(value).replace("\t", "    "))


def _irrelevant(facts: Facts, text: str, named: set[str]) -> bool:
    """Whether the task is about no file at all: a small model uses every file that it is told of."""
    if facts.more or named or _ABOUT_FILES.search(text):
        return False
    return not any(f.kind in _DATA or _mentions(text, f) or _in_named_folder(text, f) for f in facts.files)


def _in_named_folder(text: str, fact: FileFact) -> bool:
    return fact.folder != "." and fact.folder.split("/")[0] in text


def _importance(facts: Facts, text: str, named: set[str]) -> dict[str, bool]:
    """Which files are shown in full: those mentioned, else one of each kind from a folder that is mentioned, else the
    data files when there are few."""
    shown = {f.path: f.path in named or f.name in named or _mentions(text, f) for f in facts.files}
    groups: set[tuple[str, str]] = set()
    nothing = not any(shown.values())
    for fact in facts.files:
        group = (fact.folder, PurePosixPath(fact.path).suffix)
        few = nothing and len(facts.files) <= 8 and fact.kind in _DATA
        if (few or _in_named_folder(text, fact)) and group not in groups and fact.kind != "image":
            shown[fact.path] = True
        if shown[fact.path]:
            groups.add(group)
    return shown


def _mentions(text: str, fact: FileFact) -> bool:
    """Whether the text has the file's path or name as a word of its own; Chinese puts no space around it."""
    for name in (fact.path, fact.name):
        if name.isascii() and re.search(rf"(?<![A-Za-z0-9_.-]){re.escape(name)}(?![A-Za-z0-9_])", text):
            return True
        if not name.isascii() and name in text:
            return True
    return False


def _full(files: Sequence[FileFact], budget: int) -> list[str]:
    """Each file with as many of its details as its share of the budget allows."""
    blocks: list[str] = []
    for index, fact in enumerate(files):
        share = (budget - sum(map(count_tokens, blocks))) // (len(files) - index)
        lines = [fact.line, *(f"  {detail}" for detail in fact.details)]
        blocks.append("\n".join(_within(lines, share)))
    return blocks


def _within(lines: Sequence[str], budget: int) -> list[str]:
    """The first line, and the next ones while they fit."""
    kept = [lines[0][: max(80, budget * 4)]]
    for line in lines[1:]:
        left = budget - count_tokens("\n".join(kept))
        if left < 10:
            break
        kept.append(line if count_tokens(line) < left else line[: left * 2] + " ...")
    return kept


def _short(files: Sequence[FileFact], more: int, budget: int, before: Sequence[str]) -> list[str]:
    """The other files: alike ones as names in one line, single ones in a line each, the rest counted."""
    groups: dict[tuple[str, str], list[FileFact]] = {}
    for fact in files:
        groups.setdefault((fact.folder, PurePosixPath(fact.path).suffix.lower()), []).append(fact)
    lines: list[str] = []
    for group in groups.values():
        line = _names(group) if len(group) > 2 else "\n".join(f.line for f in group)
        if count_tokens("\n".join([*before, *lines, line])) > budget:
            more += len(group)
        else:
            lines.append(line)
    return [*lines, *([f"and {more} more files"] if more else [])]


def _names(group: Sequence[FileFact]) -> str:
    shown = ", ".join(f.path for f in group[:_NAMES_IN_A_LINE])
    rest = f", ... ({len(group)} files)" if len(group) > _NAMES_IN_A_LINE else f" ({len(group)} files)"
    kinds = {f.summary.split(",")[0] for f in group}
    return shown + rest + (f", each: {kinds.pop()}" if len(kinds) == 1 and "" not in kinds else "")
