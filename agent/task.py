"""The nouns of one task: what was asked, how to go about it, what was written, what the checks said, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sandbox import Changes, Execution, Receipt, Request

from .errors import RunFailed
from .faulty import Faulty
from .models.base import Usage

__all__ = [
    "Agreement",
    "Author",
    "Budget",
    "Check",
    "CheckResult",
    "Kind",
    "Outcome",
    "Plan",
    "Program",
    "RunResult",
    "Task",
    "Verdict",
]

Author = Literal["user", "task", "model", "none"]
Kind = Literal["expression", "tests", "file", "columns", "answer", "form", "effect"]
Outcome = Literal["solved", "unverified", "failed", "gave_up", "interrupted"]
"""`solved`: checks held. `unverified`: the program ran to its end and nothing checked its answer. `failed`: the best
program does not run or a check fails. `gave_up`: no program at all came out. `interrupted`: stopped by the user."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold.

    `expression`: a Python expression over the program's final names and files that must be true.
    `tests`: source of a test file, run in the program's namespace; its `test_*` functions are called.
    `file`: a path in the working folder that must exist and hold something.
    `columns`: a path of a table with what its columns are to be: `pay.csv: employee, hours, pay`.
    `answer`: the program must have printed something.
    `form`: a place such as `@mean`, which must be printed with its value: `@mean[34.65]`; it may say of what kind that
    is: `@mean: a number`.
    `effect`: it must have changed a file, or, where the text says so, printed something.
    """

    kind: Kind
    text: str
    author: Author = "user"


@dataclass(frozen=True, slots=True)
class Budget:
    """What one task may cost."""

    drafts: int = 6
    repairs: int = 2
    seconds: float = 240.0
    max_tokens: int = 1536
    """Tokens of one reply."""
    temperature: float | None = None
    """Temperature of every draft; None: the first at 0, the next ones warmer."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """What was asked: a sentence, the folder it is about, and what must hold in the end."""

    text: str
    folder: Path | None = None
    """The working folder (None: an empty one)."""
    files: tuple[Path, ...] = ()
    """Files named by the user; those outside the folder are shown in the view by name."""
    checks: tuple[Check, ...] = ()
    program: str = ""
    """A program to begin with: one that did this once, and is to be mended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go about a task: the facts for the prompt and every check, the user's and the task's."""

    facts: str
    checks: tuple[Check, ...]
    function: str | None = None
    """Name of the function asked for, if the task asks for one."""
    faulty: Faulty | None = None
    """That function as the task holds it, where it is to be mended."""
    packages: tuple[str, ...] = ()
    """Third-party packages that the sandbox has."""
    hints: tuple[str, ...] = ()
    """Know-how for this kind of work."""
    opening: str = ""
    """Code that reads the input files, or the head of the function, for a model whose reply can be begun for it."""
    ending: str = ""
    """Lines that print the answer in the form that the task asks for."""
    session: str = ""
    """What the live session holds that the task goes on in, and what was done there before."""
    calls: tuple[str, ...] = ()
    """Calls of the function, by which programs are compared where nothing checks them; known once one has run."""
    steps: tuple[str, ...] = ()
    """What to do one after the other, as a model wrote it before the first draft."""
    notes: str = ""
    """What the user should know about how the task was taken: a folder that is not shown, facts that are missing,
    steps that could not be had."""


@dataclass(frozen=True, slots=True)
class Program:
    """Code that parses."""

    code: str
    origin: Literal["draft", "repair", "mend", "given"] = "draft"
    mends: tuple[str, ...] = ()
    """What was mended by code, in words."""
    model: str = ""
    """Name of the model that wrote it; empty for a program that was given."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    check: Check
    passed: bool
    detail: str = ""
    """For a failed check: call, got and want, or the error."""
    requests: tuple[Request, ...] = ()
    """What the program asked of the network while it was checked."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks said about one program, and who wrote them."""

    ran: bool
    """Whether the program ran to its end."""
    results: tuple[CheckResult, ...] = ()

    @property
    def author(self) -> Author:
        """The most trusted author among the checks of substance; `none` when nothing checked the result."""
        ranking: tuple[Author, ...] = ("user", "task", "model", "none")
        authors = {"none", *(r.check.author for r in self.results if r.check.kind in ("expression", "tests"))}
        return next(author for author in ranking if author in authors)

    @property
    def passed(self) -> bool:
        return self.ran and all(r.passed for r in self.results)

    @property
    def outcome(self) -> Outcome:
        if not self.passed:
            return "failed"
        return "solved" if self.author != "none" else "unverified"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far programs that were written apart did the same, where nothing checked what they did."""

    agreed: int
    """Programs that did what the one that was taken did, that one among them."""
    compared: int
    changed: bool = False
    """Whether another one was taken than the first that ran."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came out of a task."""

    outcome: Outcome
    answer: str = ""
    """What the program printed (the value of its last expression when it printed nothing)."""
    program: Program | None = None
    execution: Execution | None = None
    verdict: Verdict | None = None
    changes: Changes | None = None
    agreement: Agreement | None = None
    """None: nothing was compared."""
    drafts: int = 0
    repairs: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    reason: str = ""
    """Why it was not solved, in one sentence."""
    run_id: str = ""
    receipt: Receipt = field(default_factory=lambda: Receipt("none"))

    @property
    def ok(self) -> bool:
        """Whether there is a program that ran to its end and that no check contradicts."""
        return self.outcome in ("solved", "unverified")

    def raise_for_failure(self) -> RunResult:
        """Return self, or raise `RunFailed` when the task was not solved."""
        if not self.ok:
            raise RunFailed(self.reason or self.outcome, hint="see result.program and result.execution")
        return self


def as_checks(expressions: Sequence[str], tests: Sequence[str] = ()) -> tuple[Check, ...]:
    """User checks from expressions and from the sources of test files."""
    return tuple(Check("expression", e) for e in expressions) + tuple(Check("tests", t) for t in tests)
