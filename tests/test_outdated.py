"""What newer libraries no longer have: each program fails as it is, and does what was meant once it is mended."""

from __future__ import annotations

import ast
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from agent.mend import mend_crash, mend_statically
from agent.mend.outdated import mend_chained
from agent.task import Program
from sandbox import Execution, Problem, open_sandbox

TABLE = "import pandas as pd\nimport numpy as np\nt = pd.DataFrame({'k': ['x', 'y', 'x'], 'n': [1, 2, 4]})\n"
DAYS = "s = pd.Series(range(3), index=pd.date_range('2024-01-30', periods=3))\n"


def run(code: str) -> tuple[dict[str, Any], Exception | None]:
    names: dict[str, Any] = {}
    try:
        exec(compile(code, "program", "exec"), names)
    except Exception as error:
        return names, error
    return names, None


def mend(program: Program, error: Exception, function: str | None = None) -> Program | None:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "program"]
    problem = Problem(type(error).__name__, str(error), frames[-1].lineno)
    return mend_crash(program, Execution("error", error=problem), function)


def outcome(code: str, most: int = 3) -> Any:
    """`result` of `code`, which fails as it is, once it is mended."""
    program = Program(code)
    for _ in range(most):
        names, error = run(program.code)
        if error is None:
            break
        changed = mend(program, error)
        assert changed is not None, f"no mend for {error!r} in\n{program.code}"
        program = changed
    else:
        names, error = run(program.code)
        assert error is None, program.code
    assert program.mends, "it ran as it was"
    return names["result"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("result = t[['n']].applymap(lambda v: v + 1)['n'].tolist()", [2, 3, 5]),
        ("result = [name for name, column in t.iteritems()]", ["k", "n"]),
        ("result = 0\nfor name, column in t.iteritems():\n    result += len(column)", 6),
        ("result = t['n'].is_monotonic", True),
        ("result = round(t['n'].mad(), 3)", 1.111),
        ("result = t.ix[0, 'n']", 1),
        ("result = len(t.append({'k': 'z', 'n': 3}, ignore_index=True))", 4),
        ("row = {'k': 'z', 'n': 3}\nresult = t.append(row, ignore_index=True)['n'].tolist()", [1, 2, 4, 3]),
        ("result = len(t.append(t))", 6),
        ("result = len(t.append([{'k': 'z', 'n': 3}]))", 4),
        ("result = t['n'].append(t['n']).sum()", 14),
        ("result = int(pd.to_datetime(pd.Series(['2024-01-10'])).dt.week[0])", 2),
        ("result = int(pd.value_counts(t['k'])['x'])", 2),
        ("result = pd.np.sum([1, 2])", 3),
        ("result = np.float(1) + np.int(2)", 3.0),
        ("result = np.isinf(np.Inf) and np.isnan(np.NaN)", True),
        ("result = np.product([2, 3])", 6),
        ("result = np.trapz([1.0, 2.0])", 1.5),
        ("result = np.in1d([1], [1, 2]).tolist()", [True]),
        ("result = np.asscalar(np.array(3))", 3),
        ("result = np.math.sqrt(4)", 2),
        ("z = t['n'].to_numpy() - 3\nresult = int((z.abs() > 1).sum())", 1),
        ("result = int(t['k'].to_numpy().value_counts()['x'])", 2),
        ("result = t['n'].where(t['n'] > 1).fillna(method='bfill').tolist()", [2, 2, 4]),
        ("result = str(pd.to_datetime('2024-01-02', infer_datetime_format=True).date())", "2024-01-02"),
        ("result = t.to_csv(index=False, line_terminator=';')", "k,n;x,1;y,2;x,4;"),
        ("result = list(t.drop('k', 1).columns)", ["n"]),
        ("result = t.assign(v=1).drop_duplicates('k').pivot('k', 'n', 'v').shape", (2, 2)),
        (DAYS + "result = s.resample('M').sum().tolist()", [1, 2]),
        (DAYS + "result = len(s.resample('2H').sum())", 25),
        (DAYS + "result = len(s.asfreq('30T'))", 97),
        ("d = {'a': -3, 'b': 2}\nresult = max(d, key=abs)", "a"),
        ("d = {'a': -3, 'b': 2}\nresult = sorted(d, reverse=True, key=abs)", ["a", "b"]),
        ("t.loc[t['k'] == 'x', 'k'] = 1\nresult = t['k'].tolist()", [1, "y", 1]),
        ("t.loc[t['n'] > 1, 'n'] = 0.5\nresult = t['n'].tolist()", [1, 0.5, 0.5]),
        ("for row in range(3):\n    t.at[row, 'k'] = row\nresult = t['k'].tolist()", [0, 1, 2]),
    ],
)  # fmt: skip
def test_outdated_pandas_and_numpy(line: str, want: Any) -> None:
    pytest.importorskip("pandas", minversion="3")
    assert outcome(TABLE + line) == want


@pytest.mark.data
@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("from sklearn.metrics import mean_squared_error as e\n"
         "import sklearn.metrics\nresult = sklearn.metrics.mean_squared_error([0, 0], [3, 3], squared=False)", 3),
        ("from sklearn.linear_model import LinearRegression\n"
         "result = LinearRegression(normalize=False).fit([[0], [1]], [0, 1]).predict([[2]])[0]", 2),
        ("from sklearn.preprocessing import OneHotEncoder\ne = OneHotEncoder(sparse=False).fit([['a'], ['b']])\n"
         "result = list(e.get_feature_names())", ["x0_a", "x0_b"]),
    ],
)  # fmt: skip
def test_outdated_scikit_learn(code: str, want: Any) -> None:
    pytest.importorskip("sklearn")
    assert outcome(code) == pytest.approx(want) if not isinstance(want, list) else outcome(code) == want


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("d = {'a': 1}\nresult = [key for key, value in d.iteritems()]", ["a"]),
        ("d = {'a': 1}\nresult = d.has_key('a')", True),
        ("import string\nresult = string.letters[:2] + string.uppercase[0]", "abA"),
        ("import time\nresult = time.clock() > 0", True),
        ("import fractions\nresult = fractions.gcd(4, 6)", 2),
        ("import collections\nresult = isinstance([], collections.Iterable)", True),
        ("import base64\nresult = base64.encodestring(b'a')", b"YQ==\n"),
        ("import json\nresult = json.loads('1', encoding='utf-8')", 1),
        ("import xml.etree.ElementTree as ET\nresult = len(ET.fromstring('<a><b/></a>').getchildren())", 1),
        ("import array\nresult = array.array('b', [65]).tostring()", b"A"),
    ],
)
def test_outdated_standard_library(code: str, want: Any) -> None:
    assert outcome(code) == want


@pytest.mark.parametrize(
    "code",
    [
        "class A: pass\nA().applymap(1)",
        "[].append_all(1)",
        "max({'a': 1}, key=abs)\n",  # no variable
        "def f(a): pass\nf(squared=1)",
        "'a'.mad()",
    ],
)
def test_what_is_not_known_stays(code: str) -> None:
    _, error = run(code)
    assert error is not None and mend(Program(code), error) is None


def test_a_function_is_mended_where_it_is_called_in_a_demonstration() -> None:
    code = "def f(d):\n    return [k for k, v in d.iteritems()]\nf({'a': 1})\n"
    _, error = run(code)
    program = mend(Program(code), error, "f") if error else None
    assert program is not None and run(program.code)[0]["f"]({"b": 2}) == ["b"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("expression", "want"),
    [
        ("[c for c in t.columns if t[c].dtype == 'object']", ["k"]),
        ("[c for c in t.columns if t[c].dtype == object]", ["k"]),
        ("[c for c in t.columns if t[c].dtype != 'O']", ["n"]),
        ("t.columns[t.dtypes == 'object'].tolist()", ["k"]),
        ("t.columns[t.dtypes != object].tolist()", ["n"]),
    ],
)
def test_columns_of_texts_are_known_by_both_of_their_types(expression: str, want: list[str]) -> None:
    pytest.importorskip("pandas", minversion="3")
    code = f"{TABLE}result = {expression}\n"
    assert run(code)[0]["result"] != want
    assert run(mend_statically(Program(code)).code)[0]["result"] == want


@pytest.mark.parametrize("code", ["a = x.dtype == 'int64'\n", "a = x.kind == 'object'\n", "a = 'object' == kind\n"])
def test_other_comparisons_stay(code: str) -> None:
    assert "in (" not in mend_statically(Program(code)).code


@pytest.mark.data
@pytest.mark.jail
def test_a_change_of_a_copy_is_made_in_the_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas", minversion="3")
    code = f"{TABLE}t['n'][t['k'] == 'x'] = 0\nprint(t['n'].tolist())\n"
    with open_sandbox("jail", workspace=tmp_path) as box, box.open() as session:
        before = session.execute(code)
        program = mend_chained(Program(code), before)
        assert program is not None
        after = session.execute(program.code)
    assert (before.stdout.strip(), after.stdout.strip()) == ("[1, 2, 4]", "[0, 2, 0]")
    assert mend_chained(program, after) is None


def test_every_replacement_is_an_expression() -> None:
    from agent.mend.outdated import _now  # pyright: ignore[reportPrivateUsage]

    parts = {"x": "x", "args": "a", "call": "f(a)", "value": "v"}
    for template in _now()["attributes"].values():
        ast.parse(template.format(**parts), mode="eval")
    for template in _now()["arguments"].values():
        new = template.format(**parts)
        ast.parse(new if "{" in template and "=" not in template.partition("(")[0] else f"f({new})", mode="eval")


def test_the_table_is_part_of_the_package() -> None:
    code = "from importlib import resources; print(resources.files('agent.mend').joinpath('outdated.toml').is_file())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
