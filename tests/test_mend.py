from __future__ import annotations

import ast
import math
import traceback
from dataclasses import replace
from typing import Any

import pytest

from agent.mend import mend_crash, mend_printed, mend_returned, mend_statically, mend_to_function, same_program
from agent.task import Check, CheckResult, Program, Verdict
from sandbox import Execution, Problem


def mended(code: str, function: str | None = None) -> Program:
    program = mend_statically(Program(code), function)
    ast.parse(program.code)
    return program


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print(math.pi)", "import math"),
        ("print(json.dumps(1), 2)", "import json"),
        ("c = Counter('aab')", "from collections import Counter"),
        ("def f(x: List[int]) -> int: return x[0]", "from typing import List"),
        ("a = np.zeros(3)", "import numpy as np"),
        ("d = pd.read_csv('a')", "import pandas as pd"),
        ("plt.plot([1])", "import matplotlib.pyplot as plt"),
        ("print(datetime.now())", "from datetime import datetime"),
        ("print(datetime.datetime.now())", "import datetime"),
        ("print(Path('.').name)", "from pathlib import Path"),
    ],
)
def test_a_forgotten_import_is_added(code: str, line: str) -> None:
    program = mended(code)
    assert program.code.splitlines()[0] == line
    assert program.origin == "mend"
    assert line in program.mends[0]


@pytest.mark.parametrize(
    "code",
    [
        "import math\nprint(math.pi)",
        "from math import *\nprint(sqrt(2))",
        "def f(json): return json.x",
        "for os in [1]: print(os.real)",
        "print(unknown_name)",
        "import numpy as np\nimport os.path\nprint(np.pi, os.sep)",
        "try:\n    import json\nexcept ImportError as re:\n    print(re.args)",
        "match 1:\n    case csv: print(csv.real)",
    ],
)
def test_a_whole_program_stays_as_it_is(code: str) -> None:
    program = Program(code)
    assert mend_statically(program) is program


def test_imports_go_after_the_docstring_and_future_imports() -> None:
    code = '"""What it does."""\nfrom __future__ import annotations\nprint(math.pi)\n'
    assert mended(code).code.splitlines()[2] == "import math"


def test_the_only_function_gets_the_name_asked_for() -> None:
    program = mended("def compute(a):\n    return a\n\n\ndef _helper(): pass\n", "solve")
    names: dict[str, object] = {}
    exec(program.code, names)
    assert names["solve"] is names["compute"]


@pytest.mark.parametrize("code", ["def a(): pass\ndef b(): pass\n", "def solve(): pass\n", "x = 1\n"])
def test_no_alias_where_it_would_be_a_guess(code: str) -> None:
    assert "solve =" not in mended(code, "solve").code


def crash() -> Execution:
    return Execution("error", error=Problem("ValueError", "bad", 9))


def test_a_crashing_demonstration_is_left_out_when_a_function_was_asked_for() -> None:
    demo = "print(f('x'))\nif __name__ == '__main__':\n    f(sys.argv[1])\n"
    code = "import sys\nX = 3\n\n\ndef f(a):\n    return a + X\n\n\n" + demo
    program = mend_crash(Program(code), crash(), "f")
    assert program is not None
    names: dict[str, object] = {}
    exec(program.code, names)
    assert names["f"](1) == 4  # type: ignore[operator]
    assert "print" not in program.code


def test_there_is_nothing_to_leave_out_of_other_programs() -> None:
    assert mend_crash(Program("def f(): pass\n1/0\n"), crash(), "f") is None
    assert mend_crash(Program("def f(): pass\nf()\n"), crash(), None) is None
    assert mend_crash(Program("def f(): pass\nf()\n"), Execution("ok"), "f") is None
    assert mend_crash(Program("print(1)\n"), crash(), "f") is None


def test_programs_are_the_same_but_for_comments_spacing_and_docstrings() -> None:
    assert same_program("def f(a):\n    'doc'\n    return a  # x\n") == same_program(
        'def f( a ):\n  """other"""\n  return a'
    )
    assert same_program("x = 1") != same_program("x = 2")


def _crash(code: str, message: str, line: int) -> Execution:
    return Execution("error", error=Problem("AttributeError", message, line=line, source=code.splitlines()[line - 1]))


NO_GROUP = "'NoneType' object has no attribute 'group'"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import re\nout = []\nfor n in ['a1', 'b', 'c2']:\n    out.append(re.search(r'\\d', n).group())\n", 4),
        ("import re\nout = []\nfor n in ['a1', 'b', 'c2']:\n    if n:\n        m = re.search(r'\\d', n)\n"
         "        out.append(m.group())\n", 6),
        ("import re\nout = []\nfor n in ['a1', 'b', 'c2']:\n    x = re.search(r'\\d', n)[0]\n    out.append(x)\n", 4),
    ],
)  # fmt: skip
def test_a_loop_skips_what_its_pattern_does_not_match(code, line):
    mended = mend_crash(Program(code), _crash(code, NO_GROUP, line), None)
    assert mended is not None and "pattern" in mended.mends[-1]
    names: dict[str, Any] = {}
    exec(mended.code, names)
    assert names["out"] == ["1", "2"]


@pytest.mark.parametrize(
    "code",
    [
        "import re\nx = re.search('a', 'b').group()\n",
        "for x in [None]:\n    x.append(1)\n",
        "def f():\n    pass\nf().x\n",
    ],
)
def test_no_mend_outside_of_a_loop_or_without_a_match(code):
    line = len(code.splitlines())
    assert mend_crash(Program(code), _crash(code, NO_GROUP, line), None) is None


def _not_a_number(code: str, value: str, line: int) -> Execution:
    problem = Problem("ValueError", f"could not convert string to float: {value!r}", line=line)
    return Execution("error", error=problem)


def test_commas_go_out_of_numbers():
    code = "total = 0\nfor x in ['3,686.67', '1', 2]:\n    total += float(x)  # a sum\n"
    mended = mend_crash(Program(code), _not_a_number(code, "3,686.67", 3), None)
    assert mended is not None
    names: dict[str, Any] = {}
    exec(mended.code, names)
    assert names["total"] == 3689.67


def test_items_without_a_value_are_skipped_in_a_loop_only():
    code = "out = []\nfor row in [{'a': '1'}, {'a': ''}, {'a': '2'}]:\n    out.append(float(row['a']))\n"
    mended = mend_crash(Program(code), _not_a_number(code, "", 3), None)
    assert mended is not None
    names: dict[str, Any] = {}
    exec(mended.code, names)
    assert names["out"] == [1.0, 2.0]
    assert mend_crash(Program("x = float('')\n"), _not_a_number("x = float('')\n", "", 1), None) is None


def test_a_word_is_no_number_that_could_be_mended():
    code = "for x in ['n/a']:\n    y = float(x)\n"
    assert mend_crash(Program(code), _not_a_number(code, "n/a", 2), None) is None


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ('t["a"].fillna(0, inplace=True)', 't["a"] = t["a"].fillna(0)'),
        ("if t:\n    t[k].replace({1: 2}, inplace=True)  # so", "if t:\n    t[k] = t[k].replace({1: 2})  # so"),
    ],
)
def test_a_change_in_place_of_a_column_is_assigned(code: str, want: str) -> None:
    assert mended(code).code.replace("'", '"') == want


@pytest.mark.parametrize(
    "code",
    ["t.fillna(0, inplace=True)", 't["a"].fillna(0)', 't["a"].dropna(inplace=True)', 't["a"].sort(inplace=True)'],
)
def test_what_is_changed_itself_stays(code: str) -> None:
    assert mended(code).code == code


def crashed_at(code: str, line: int, type: str, message: str) -> str | None:
    problem = Problem(type, message, line, code.splitlines()[line - 1])
    program = mend_crash(Program(code), Execution("error", error=problem), None)
    return program.code if program else None


def test_statistics_of_a_table_leave_out_its_texts() -> None:
    code = "import pandas as pd\nt = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\nc = t.corr()\n"
    fixed = crashed_at(code, 3, "ValueError", "could not convert string to float: 'x'")
    assert fixed is not None
    assert "t.corr(numeric_only=True)" in fixed
    exec(compile(fixed, "mended", "exec"), {})
    assert crashed_at(fixed, 3, "ValueError", "could not convert string to float: 'x'") is None


def test_a_plain_number_is_rounded_as_such() -> None:
    code = "x = 2.345\nprint(x.round(2), (x * 2).round())\n"
    fixed = crashed_at(code, 2, "AttributeError", "'float' object has no attribute 'round'")
    assert fixed == "x = 2.345\nprint(round(x, 2), round(x * 2))\n"


def test_a_nested_conversion_is_cleaned_once() -> None:
    code = "n = '1,200'\nprint(int(float(n)))\n"
    fixed = crashed_at(code, 2, "ValueError", "could not convert string to float: '1,200'")
    assert fixed is not None
    assert "int(float(str(n).replace(',', '')))" in fixed


GROUPS = """groups = {}
for word in ["a", "bb", "c"]:
    groups.setdefault(len(word), []).append(word)
print(sum(len(group[0].upper()) for group in groups))
for group in groups:
    print(" ".join(group))
"""


def with_notes(code: str, line: int, type: str, message: str, *notes: str) -> str | None:
    problem = Problem(type, message, line, notes=notes)
    program = mend_crash(Program(code), Execution("error", error=problem), None)
    return program.code if program else None


@pytest.mark.parametrize(
    "message",
    ["'int' object has no attribute 'upper'", "string indices must be integers", "'int' object is not iterable"],
)
def test_a_loop_that_takes_keys_for_values_goes_through_the_values(message: str) -> None:
    code = with_notes(GROUPS, 4, "AttributeError", message, "int has: 'real'", "group = 1; groups = dict {1: ['a']}")
    assert code is not None and code == GROUPS.replace("group in groups", "group in groups.values()")
    exec(code, {})


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (GROUPS, "groups = list [1, 2]"),
        (GROUPS, "other = dict {}"),
        ("for k in d:\n    print(d[k], k.upper())", "k = 1; d = dict {1: 2}"),
        ("for k, v in d:\n    print(v)", "d = dict {1: 2}"),
        ("for k in d.items():\n    print(k.upper())", "d = dict {1: 2}"),
    ],
)
def test_other_loops_stay(code: str, note: str) -> None:
    assert with_notes(code, 2, "AttributeError", "'int' object has no attribute 'upper'", note) is None
    assert with_notes(code, 2, "AttributeError", "'Thing' object has no attribute 'x'", "d = dict {}") is None


def test_a_table_leaves_out_the_fields_that_it_does_not_have() -> None:
    code = "import csv, sys\nw = csv.DictWriter(sys.stdout, fieldnames=['a'])\nw.writerow({'a': 1, 'b': 2})\n"
    said = "dict contains fields not in fieldnames: 'b'"
    mend = with_notes(code, 3, "ValueError", said)
    assert mend is not None and mend == code.replace("['a'])", "['a'], extrasaction='ignore')")
    exec(mend, {})
    assert with_notes(mend, 3, "ValueError", said) is None


def test_a_helper_that_the_model_was_told_of_is_added() -> None:
    program = mended("groups = same_content([])\nprint(groups)")
    assert program.code.startswith("import hashlib\n\n\ndef same_content(paths):")
    exec(program.code, {})
    own = "def same_content(paths):\n    return 1\n\nprint(same_content([]))\n"
    assert mended(own).code == own


# --- a function alone ---


def test_what_a_function_does_not_use_goes() -> None:
    code = "import math\n\nclass Node:\n    pass\n\nLIMIT = 3\n\ndef helper(x):\n    return x + LIMIT\n\n"
    code += "def f(node):\n    return helper(math.floor(node.value))\n\nnode = Node()\nprint(f(node))\n"
    program = mend_to_function(Program(code), "f")
    kept = "import math\nLIMIT = 3\n\ndef helper(x):\n    return x + LIMIT\n\ndef f(node):\n"
    assert program.code == f"{kept}    return helper(math.floor(node.value))\n"
    assert program.mends == ("left out what f does not use",)


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nprint(x)\n",
        "import math\n\ndef f(x):\n    return f(x - 1)\n",
        "for limit in (1, 2):\n    pass\n\ndef f(x):\n    return limit\n\nprint(f(1))\n",
    ],
)
def test_nothing_goes_where_all_is_used_or_the_function_is_missing(code: str) -> None:
    program = Program(code)
    assert mend_to_function(program, "f") is program


# --- results ---


def failed(call: str, got: object, want: object) -> CheckResult:
    detail = f"{call}: got {got!r}, want {want!r}"
    return CheckResult(Check("expression", f"{call} == {want!r}", "task"), False, detail)


@pytest.mark.parametrize(
    ("result", "want", "returned"),
    [
        ("[x, x]", (2, 2), "tuple([x, x])"),
        ("(x, x)", [2, 2], "list((x, x))"),
        ("x, x", [2, 2], "list((x, x))"),
        ("{x, 1}", [1, 2], "sorted({x, 1})"),
        ("[x, x]", "2 2", "' '.join(map(str, [x, x]))"),
        ("'a b'", ["a", "b"], "'a b'.split()"),
        ("x / 3", 0.67, "round(x / 3, 2)"),
        ("x", "2", "str(x)"),
        ("str(x)", 2, "int(str(x))"),
        ("x * 50 * math.pi", 314.0, "x * 50 * 3.14"),
        ("x * math.pi", 6.283, "round(x * math.pi, 3)"),
    ],
)
def test_a_result_of_the_wrong_form_is_converted(result: str, want: object, returned: str) -> None:
    code = f"import math\n\ndef f(x):\n    if x is None:\n        return None\n    return {result}\n"
    got = eval(result, {"x": 2, "math": math})
    program = mend_returned(Program(code), Verdict(True, (failed("f(2)", got, want),)), "f")
    assert program is not None
    assert program.code == code.replace(f"return {result}\n", f"return {returned}\n")
    assert program.origin == "mend" and program.mends
    space: dict[str, Any] = {}
    exec(program.code, space)
    assert (space["f"](2), space["f"](None)) == (want, None)


@pytest.mark.parametrize(
    "results",
    [
        (failed("f(2)", 3, 4),),
        (failed("f(2)", [2, 1], (1, 2)),),
        (failed("f(2)", [1, 2], (1, 2)), failed("f(3)", [1, 3], (1, 4))),
        (failed("f(2)", [1, 2], (1, 2)), CheckResult(Check("expression", "f(3)"), False, "f(3): ValueError")),
        (failed("g(2)", [1, 2], (1, 2)),),
        (failed("f(2)", 2.4, 3.14),),
        (failed("f(2)", "a", "b"),),
        (failed("f(2)", True, "True"),),
        (failed("f(2)", "x" * 300, list("x" * 300)),),
        (CheckResult(Check("expression", "f(2) == (1, 2)"), False, "f(2): got [1, 2], want (1, 2), or not"),),
        (CheckResult(Check("expression", "f(2) == (1, 2)"), False, "f(2): got <object>, want (1, 2)"),),
        (CheckResult(Check("expression", "f(2) == want"), False, "f(2): got [1, 2], want (1, 2)"),),
        (CheckResult(Check("tests", "assert f(2) == (1, 2)"), False, "f(2): got [1, 2], want (1, 2)"),),
    ],
)
def test_another_result_stays_as_it_is(results: tuple[CheckResult, ...]) -> None:
    results = tuple(replace(r, detail=r.detail if len(r.detail) < 400 else r.detail[:397] + "...") for r in results)
    assert mend_returned(Program("def f(x):\n    return x\n"), Verdict(True, results), "f") is None


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("def f(x):\n    def g():\n        return 1\n    return [x, g()]", "return tuple([x, g()])"),
        ("f = lambda x: [x, 1]", None),
        ("def f(x):\n    yield [x, 1]", None),
        ("class A:\n    def f(self):\n        return [1]", None),
        ("def f(x):\n    return [\n        x,\n        1,\n    ]", "return tuple([x, 1])"),
    ],
)
def test_only_what_the_function_itself_returns_is_converted(code: str, mend: str | None) -> None:
    program = mend_returned(Program(code), Verdict(True, (failed("f(2)", [2, 1], (2, 1)),)), "f")
    assert (program is None) == (mend is None)
    if program is not None and mend is not None:
        assert (mend in program.code and "return 1" in code) or "return 1" not in program.code


def table_mended(code: str, most: int = 4) -> tuple[Program, dict[str, Any]]:
    """`code` run, and mended where it crashes, until it comes to its end; with its names."""
    program, names = Program(code), dict[str, Any]()
    for _ in range(most):
        names = {}
        try:
            exec(compile(program.code, "program", "exec"), names)
            break
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "program"]
            problem = Problem(type(error).__name__, str(error), frames[-1].lineno)
            mend = mend_crash(program, Execution("error", error=problem), None)
            assert mend is not None, f"no mend for {error!r}"
            program = mend
    return program, names


@pytest.mark.data
@pytest.mark.parametrize(
    ("texts", "line", "want"),
    [
        (["6,512 [4900-8300]", "8"], "t['c'].mean()", 3260),
        (["$1,234.50", "$2.50"], "t['c'].astype(float).sum()", 1237),
        (["45%", "5%"], "pd.to_numeric(t['c']).max()", 45),
        (["12 kg", "8 kg"], "t.groupby('k')['c'].mean()['x']", 10),
        (["12 kg", "8 kg"], "t.groupby('k')['c'].agg('mean')['x']", 10),
        (["3,5", "1"], "t[t['k'] == 'x']['c'].median()", 2.25),
        (["12", "8"], "t['c'].std(ddof=0)", 2),
        (["12 m", "-8 m"], "len(t[t['c'] > 0])", 1),
        (["1,000", "n/a"], "t['c'].mean()", 1000),
    ],
)
def test_texts_are_read_as_numbers_where_they_begin_with_one(texts: list[str], line: str, want: float) -> None:
    pytest.importorskip("pandas")
    code = f"import pandas as pd\nt = pd.DataFrame({{'k': ['x', 'x'], 'c': {texts}}})\nresult = {line}\n"
    program, names = table_mended(code)
    assert names["result"] == pytest.approx(want)
    assert program.mends


@pytest.mark.data
@pytest.mark.parametrize("text", ["south", "2020-01-05", "12:30", "v1.2", ""])
def test_a_column_of_other_texts_has_no_numbers(text: str) -> None:
    pytest.importorskip("pandas")
    code = f"import pandas as pd\nt = pd.DataFrame({{'c': ['{text}', 'b']}})\nresult = t['c'].mean()\n"
    with pytest.raises(AssertionError, match="no mend"):
        table_mended(code)


def test_a_number_is_read_from_a_text_in_a_loop() -> None:
    program, names = table_mended("total = 0\nfor t in ['$5', '7 kg', '-2']:\n    total += float(t)\n")
    assert names["total"] == 10
    assert program.mends[-1] == "read the numbers that texts begin with"
    assert table_mended("total = sum(int(t) for t in ['5%', '7%'])\n")[1]["total"] == 12


def test_all_numbers_of_a_kind_are_rounded_at_once() -> None:
    head = "class T:\n    def mean(self): return 1.25\nt = T()\n"
    program, names = table_mended(head + "a = t.mean().round(1)\nb = t.mean().round(1)\n", most=2)
    assert (names["a"], names["b"]) == (1.2, 1.2)
    assert len(program.mends) == 1


def test_a_text_is_printed_as_it_is() -> None:
    program, names = table_mended("name = 'north'\nsaid = f\"@region[{name:.4f}]\"\n")
    assert names["said"] == "@region[north]"
    assert program.mends == ("printed a text as it is",)


def unprinted(*places: str) -> Verdict:
    checks = [Check("form", place, "task") for place in places]
    detail = "{}[...] was not printed: print it with its value between the brackets"
    return Verdict(True, tuple(CheckResult(check, False, detail.format(check.text)) for check in checks))


def test_the_place_of_an_answer_is_called_by_its_name() -> None:
    code = "best = 'Congo'\nprint(f\"so: @{best}[{best}]\")\n"
    program = mend_printed(Program(code), unprinted("@country"))
    assert program is not None
    assert ast.unparse(ast.parse(program.code).body[1]) == "print(f'so: @country[{best}]')"
    assert mend_printed(Program(code), unprinted("@country", "@other")) is None
    assert mend_printed(Program(code + code), unprinted("@country")) is None
    assert mend_printed(Program("print(f'{1}@[{2}]')"), unprinted("@country")) is None
    assert mend_printed(Program(code), Verdict(True, ())) is None
