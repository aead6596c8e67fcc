"""Reads a task without a model: the function asked for, the checks it states, the files it wants written.

Everything here is conservative: a wrong check is worse than none.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from .columns import find_columns
from .facts import Facts, FileFact, named_folders, relevant, render
from .faulty import find_faulty
from .form import find_form, write_ending
from .hints import hints_for
from .opening import takes_pandas, write_opening
from .source import try_parse
from .task import Check, Plan, Task

__all__ = [
    "find_examples",
    "find_function",
    "find_outputs",
    "find_stub",
    "is_about_code",
    "is_question",
    "make_plan",
]

_NAME = r"[A-Za-z_]\w*"
_DEF = re.compile(rf"^[ \t]*(?:async\s+)?def\s+({_NAME})\s*\(", re.M)
_FUNCTION = (
    re.compile(rf"\b(?:function|method)\s+(?:called|named)\s+[`'\"]?({_NAME})"),
    re.compile(rf"\b(?:function|method)\s+[`'\"]({_NAME})"),
    re.compile(rf"\b(?:function|method)\s+({_NAME})\s*\("),
    re.compile(rf"\b[Ww]rite\s+[`'\"]?({_NAME})\("),
    re.compile(rf"[`'\"]({_NAME})(?:\([^)]*\))?[`'\"]\s+function\b"),
    re.compile(rf"(?:函数|方法)\s*[`'\"]?({_NAME})"),
    re.compile(rf"(?:名为|叫做|叫)\s*[`'\"]?({_NAME})[`'\"]?\s*的?(?:函数|方法)"),
)
_CODE = re.compile(
    r"\b(?:write|implement|create|define|complete|finish|fix)\b[^.\n]{0,40}\b(?:functions?|class(?:es)?|methods?)\b"
    r"|(?:写|实现|编写|定义|补全)[^。\n]{0,12}(?:函数|类)",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"[?？]|\b(?:tell\s+me|print|show\s+me)\b|(?:^|[.!,:;]\s+)(?:and\s+)?(?:what|which|who|when|where|how)\b"
    r"|多少|哪|几个|告诉我|什么|打印",
    re.IGNORECASE,
)
_EDIT = re.compile(
    r"^\W*(?:please\s+|in\s+\S+,\s+)?(?:rename|move|delete|change|replace|edit|update)\b|^\W*(?:请|把|将)?[^，。,]{0,12}(?:重命名|改名)",
    re.I,
)
_TELL = re.compile(r"\b(?:print|show|tell|display|list|report)\b|告诉|打印|显示|列出", re.I)

_DATA = r"csv|tsv|txt|jsonl?|xlsx|png|jpe?g|svg|pdf|html?|md|xml|ya?ml|ini|toml|db|sqlite3?|zip|gz|parquet|npy|tex|docx"
_FILE = re.compile(
    rf"(?<![\w/~.\-])(?:[\w\-.]+/)*[\w\-]+(?:\.[\w\-]+)*?\.(?:{_DATA})(?!\.?[A-Za-z0-9_(])", re.IGNORECASE
)
_GLUED = re.compile(r".*(?:另存为|保存[为到]|写[到入]|存[为到]|导出[为到]|输出[为到])(?!文件|一个|名为|叫)")
"""Chinese puts no space between the verb and the name."""
_PLACEHOLDER = re.compile(r"YY|MM|DD|HH|XX|NN|yyyy|[<>*?%{}#$]")
_WRITES = re.compile(
    r"\b(?:writes?|sav(?:e|es|ing)|export|create|produce|generate|store|put|dump|into)\b"
    r"|另存为|保存[为到至成]?|写[到入进]|存[为到入]|输出[为到至]|导出[为到成]?|生成",
    re.IGNORECASE,
)
_READS = re.compile(
    r"\b(?:from|reads?|loads?|opens?|using|parses?|contains?|holds?|in)\b|读取?|根据|按照?|里|中的", re.IGNORECASE
)
_SHORT = {"numpy": "np", "pandas": "pd", "sklearn": "scikit-learn"}
_SAYS = r"(?:[-=]+>|==|➞|→|returns?|should\s+(?:return|be|give)|gives?|应(?:该)?返回|返回|得到)"
_INPUTS = (
    re.compile(r"\b(?:input|输入)\s*[:：]\s*(.+?)\s*\n?\s*\b(?:output|输出)\s*[:：]\s*(.+)", re.IGNORECASE),
    re.compile(
        r"\b(?:for|given|with|when|if)\s+(\w+\s*=\s*.+?),?\s+(?:the\s+)?(?:output|result|answer|function|it)\s+"
        r"(?:should\s+(?:be|return)|must\s+(?:be|return)|will\s+be|would\s+be|is|returns)\s+(.+)",
        re.IGNORECASE,
    ),
)
"""An input, and the output that belongs to it."""


def make_plan(task: Task, facts: Facts, budget_tokens: int, *, hints: bool = False, opening: bool = False) -> Plan:
    """How to go about `task`: its facts within `budget_tokens`, the function asked for, and every check.

    `hints`: with some for the kind of work; `opening`: with code for a reply to begin with, which reads the files, or
    is the head of the function as the task gives it.
    """
    function = find_function(task.text)
    named = [PurePosixPath(f).name for f in task.files]
    checks = (*task.checks, *_task_checks(task, facts, function))
    text = render(facts, budget_tokens, task.text, named)
    checked = tuple(dict.fromkeys(checks))
    if function:
        faulty = find_faulty(task.text, function)
        stub = find_stub(task.text, function) if opening else ""
        return Plan(text, checked, function, faulty, _named_packages(task.text, facts), opening=stub)
    plan = Plan(text, checked, packages=facts.packages, ending=write_ending(find_form(task.text)))
    files, folders = _reading(task.text, facts, named) if opening else ((), ())
    reads, frames = not (files or folders), bool(files) and takes_pandas(task.text, facts.packages)
    found = hints_for(task.text, text, reads=reads, frames=frames) if hints else ()
    imports = [line for hint in found for line in hint.imports]
    helpers = [hint.helper for hint in found if hint.helper]
    code = write_opening(task.text, files, folders, facts.packages, imports, helpers) if opening else ""
    return replace(plan, hints=tuple(hint.say for hint in found), opening=code)


def _named_packages(text: str, facts: Facts) -> tuple[str, ...]:
    """The packages that the text names: told of others, a small model uses them where plain Python is better."""
    return tuple(p for p in facts.packages if re.search(rf"\b{re.escape(p)}\b|\b{_SHORT.get(p, p)}\.", text))


def _reading(text: str, facts: Facts, named: Sequence[str]) -> tuple[Sequence[FileFact], Sequence[str]]:
    """The files and folders that the program's opening reads."""
    folders = named_folders(facts, text)
    return [f for f in relevant(facts, text, named) if f.folder.split("/")[0] not in folders], folders


def _task_checks(task: Task, facts: Facts, function: str | None) -> Iterator[Check]:
    examples = find_examples(task.text, function)
    yield from (Check("expression", example, "task") for example in examples)
    if function or examples or is_about_code(task.text):
        return
    yield from (Check("form", place.check, "task") for place in find_form(task.text))
    outputs = find_outputs(task.text, [f.path for f in facts.files])
    yield from (Check("file", path, "task") for path in outputs)
    yield from (Check("columns", f"{p}: {', '.join(c)}", "task") for p in outputs if (c := find_columns(task.text, p)))
    if is_question(task.text):
        yield Check("answer", "something is printed", "task")
    elif not outputs and _is_edit(task.text, facts):
        yield Check("effect", "files are changed", "task")
    elif not outputs and not task.checks:
        yield Check("effect", "something is printed or files are changed", "task")


def is_about_code(text: str) -> bool:
    """Whether the task asks for a function or a class rather than for something to be done."""
    return bool(_CODE.search(text))


def is_question(text: str) -> bool:
    """Whether the task wants something told."""
    return bool(_QUESTION.search(text))


def _is_edit(text: str, facts: Facts) -> bool:
    """Whether the task can only have been done when files of the folder changed."""
    if not facts.files or not _EDIT.search(text) or _TELL.search(text):
        return False
    about_files = re.search(r"\b(?:files?|photos?|images?|pictures?|folders?|documents?)\b|文件|照片|图片", text, re.I)
    return bool(about_files) or any(f.name in text for f in facts.files)


def find_function(text: str) -> str | None:
    """The name of the function asked for: the last one begun at the left margin, or the one named in words."""
    if defined := _DEF.findall(text):
        outer = re.findall(rf"^(?:async\s+)?def\s+({_NAME})\s*\(", text, re.M)
        return (outer or defined)[-1]
    for pattern in _FUNCTION:
        if (match := pattern.search(text)) and match[1] not in {
            "that",
            "to",
            "which",
            "and",
            "for",
            "of",
            "in",
            "with",
        }:
            return match[1]
    return _asserted(text)


def _asserted(text: str) -> str | None:
    """The function that the task's own assertions or examples call."""
    for source in [*_asserts(text), *(call for call, _ in _sessions(text))]:
        for node in ast.walk(ast.parse(source, mode="eval")):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not hasattr(builtins, node.func.id):
                return node.func.id
    return None


def find_stub(text: str, function: str) -> str:
    """The head of `function` with its docstring, and the code above it, where the text ends with that and leaves the
    body to be written; else empty."""
    begin = re.search(rf"^(?:import|from|def|async def|class|@|{_NAME} *[=:])[^\n]*$", text, re.M)
    code = re.split(r"^```", text[begin.start() :], maxsplit=1, flags=re.M)[0].rstrip() if begin else ""
    tree = try_parse(code)
    last = tree.body[-1] if tree and tree.body else None
    if not isinstance(last, ast.FunctionDef) or last.name != function or len(last.body) != 1:
        return ""
    return f"{code}\n" if ast.get_docstring(last, clean=False) is not None else ""


def find_examples(text: str, function: str | None) -> tuple[str, ...]:
    """The examples a task states, as expressions that must hold; one that contradicts another is left out with it."""
    found = list(_asserts(text))
    found += [f"{call} == {want}" for call, want in _sessions(text) if _is_literal(want)]
    if function:
        found += [*_sayings(text, function), *_inputs(text, function)]
    wanted: dict[str, set[str]] = {}
    for expression in found:
        call, _, want = expression.rpartition(" == ")
        wanted.setdefault(_normal(call), set()).add(_normal(want))
    unique = {_normal(e): e for e in found if len(wanted[_normal(e.rpartition(" == ")[0])]) == 1}
    return tuple(unique.values())


def _asserts(text: str) -> Iterator[str]:
    for match in re.finditer(r"^[ \t]*assert[ \t]+(.+)$", text, re.M):
        tree = try_parse(f"assert {match[1].strip()}")
        if tree is not None and isinstance(node := tree.body[0], ast.Assert):
            expression = ast.unparse(node.test)
            if _is_call(expression):
                yield expression


def _sessions(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of input and output of interpreter sessions (`>>> f(1)`), one expression each."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if match := re.match(r"\s*>>>\s?(.+)", line):
            source, rest = match[1], number + 1
            while rest < len(lines) and (more := re.match(r"\s*\.\.\.\s?(.*)", lines[rest])):
                source, rest = f"{source}\n{more[1]}", rest + 1
            want = lines[rest].strip() if rest < len(lines) else ""
            if _is_call(source.strip()) and not want.startswith((">>>", '"""', "'''")):
                yield _normal(source.strip()), want  # without a comment, which would hide what is put after it


def _sayings(text: str, function: str) -> Iterator[str]:
    """Examples in words: `f(1) returns 2`, `f(1) -> 2`."""
    for match in re.finditer(
        rf"(?<![\w.])({re.escape(function)}\(.*?\))\s*[`'\"]?\s*{_SAYS}\s*[:=]?\s*[`]?(?=(.+))", text
    ):
        call, want = match[1], _literal_at(match[2])
        if _is_call(call) and want:
            yield f"{call} == {want}"


def _inputs(text: str, function: str) -> Iterator[str]:
    """Examples by what goes in and comes out: `Input: a = [1, 2], k = 3`, `Output: 5`, or in a sentence."""
    for pattern in _INPUTS:
        for match in pattern.finditer(text):
            call, want = _call_with(function, match[1], _parameters(text, function)), _literal_at(match[2])
            if call and want:
                yield f"{call} == {want}"


def _parameters(text: str, function: str) -> list[str]:
    """The parameters of a function that the text begins, empty when it does not."""
    match = re.search(rf"\bdef\s+{re.escape(function)}\s*\((.*?)\)", text, re.S)
    tree = try_parse(f"def f({match[1]}): pass") if match else None
    return [arg.arg for arg in tree.body[0].args.args] if tree and isinstance(tree.body[0], ast.FunctionDef) else []


def _call_with(function: str, given: str, parameters: Sequence[str]) -> str:
    """A call with literals, by the names that are given or in their order; empty for what is none."""
    tree = try_parse(f"{function}({given})")
    call = tree.body[0].value if tree and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or not (call.args or call.keywords):
        return ""
    names, values = [one.arg for one in call.keywords], [*call.args, *(one.value for one in call.keywords)]
    if (parameters and not {*names} <= {*parameters}) or not all(_is_literal(ast.unparse(value)) for value in values):
        return ""
    if not parameters or names == [*parameters[: len(names)]]:
        return f"{function}({', '.join(map(ast.unparse, values))})"
    return ast.unparse(call)


def _literal_at(text: str) -> str:
    """The literal that a text begins with; empty for none."""
    want = re.split(r"\s+(?:#|and|because|since|as)\b|[`。；，]|\.(?:\s|$)|;", text)[0].rstrip(" .,`)")
    found = next((end for end in (want, want + ")", want + "]") if _is_literal(end)), "")
    return "" if _may_be_a_tuple(found) else found


def _may_be_a_tuple(source: str) -> bool:
    """Whether a literal is one value in parentheses, by which its author may have meant a tuple."""
    return source.startswith("(") and not isinstance(ast.literal_eval(source), tuple | int | float | complex)


def _is_call(source: str) -> bool:
    tree = try_parse(source)
    if tree is None or len(tree.body) != 1 or not isinstance(node := tree.body[0], ast.Expr):
        return False
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    called = {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return (
        bool(called - set(dir(builtins)) - {"print"}) and names <= called | set(dir(builtins)) and "print" not in names
    )


def _is_literal(source: str) -> bool:
    try:
        ast.literal_eval(source)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _normal(source: str) -> str:
    tree = try_parse(source)
    return source if tree is None else ast.unparse(tree)


def find_outputs(text: str, inputs: Sequence[str]) -> tuple[str, ...]:
    """Files the task wants written: named after a verb of writing in the same sentence, and not there yet."""
    there = {PurePosixPath(path).name for path in inputs}
    found = [name for name, before in _named_files(text) if _is_output(name, before, there)]
    return tuple(dict.fromkeys(found))


def _named_files(text: str) -> Iterator[tuple[str, str]]:
    """Each file name, with its sentence up to there."""
    for sentence in _sentences(text):
        for match in _FILE.finditer(sentence):
            verb = _GLUED.match(match[0])
            start = match.start() + (verb.end() if verb else 0)
            yield sentence[start : match.end()], sentence[:start]


def _sentences(text: str) -> Iterable[str]:
    return re.split(r"(?<=[.!?;])\s+|[。；！？\n]", text)


def _is_output(name: str, before: str, there: set[str]) -> bool:
    if PurePosixPath(name).name in there or name.startswith("/") or ".." in name or _PLACEHOLDER.search(name):
        return False
    verbs = list(_WRITES.finditer(before))
    return bool(verbs) and not _READS.search(before, verbs[-1].end())
