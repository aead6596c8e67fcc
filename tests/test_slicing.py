"""Slices of programs: what is left prints the same, and nothing is left that it does not take."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.slicing import Wanted, assemble, slice_pieces, split


def sliced(*steps: str, wanted: Wanted | None = None) -> str:
    return assemble(slice_pieces(split(steps), wanted or Wanted(steps=frozenset({len(steps) - 1}))))


def printed(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "<test>", "exec", dont_inherit=True), {"__name__": "__main__"})
    return out.getvalue()


# --- random programs: names that hold numbers, lists, functions and iterators, changed under several names ---

NUMBERS, LISTS = ("i", "j", "k"), ("a", "b", "c")
number, things = st.sampled_from(NUMBERS), st.sampled_from(LISTS)
small = st.integers(0, 4)
STATEMENTS = st.one_of(
    st.builds("{} = {}".format, number, small),
    st.builds("{} = {} + {}".format, number, number, small),
    st.builds("{} += {}".format, number, number),
    st.builds("{} = len({})".format, number, things),
    st.builds("{0} = sum(x for x in {1} if isinstance(x, int))".format, number, things),
    st.builds("{} = [{}, {}]".format, things, number, small),
    st.builds("{} = {}".format, things, things),
    st.builds("{} = {} + [{}]".format, things, things, number),
    st.builds("{} = [{}, 7]".format, things, things),
    st.builds("{}.append({})".format, things, number),
    st.builds("{0} += [{1}]".format, things, number),
    st.builds("{}[0:0] = [{}]".format, things, number),
    st.builds("{0}[0] = {1} if {0} else 0".format, things, number).map(lambda s: f"if {s[0]}: {s}"),
    st.builds("for {0} in range({2}): {1}.append({0})".format, number, things, small),
    st.builds("if {} > 2: {} = {}".format, number, things, things),
    st.builds("if {} > 1: {}.append({})".format, number, things, small),
    st.builds("def f(x): return x + {}".format, number),
    st.builds("def f(x):\n    {}.append(x)\n    return x".format, things),
    st.builds("def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)".format),
    st.builds("{} = f({})".format, number, number),
    st.builds("g = lambda: {} + {}".format, number, number),
    st.builds("{} = g()".format, number),
    st.builds("h = {}.append".format, things),
    st.builds("h({})".format, number),
    st.builds("it = iter({})".format, things),
    st.builds("it = (x for x in {})".format, things),
    st.builds("{} = list(it)".format, things),
    st.builds("{} = next(it, 0)".format, number).map(lambda s: f"{s}\nif not isinstance({s[0]}, int): {s[0]} = 0"),
    st.builds("def fill(target, n=2):\n    for x in range(n): target.append(x)".format),
    st.builds("fill({})".format, things),
    st.builds("box.items = {}".format, things),
    st.builds("box.items.append({})".format, number),
    st.builds("{} = box.items".format, things),
    st.builds("d[{}] = {}".format, number, things),
    st.builds("{} = d.get({}, [])".format, things, number),
    st.builds("random.seed({})".format, small),
    st.builds("{} = random.randint(0, 3)".format, number),
    st.builds("{}, {} = {}, {}".format, number, things, number, things),
    st.builds("print({}, {})".format, number, things),
    st.builds("[{1}.append({0}) for {0} in range(2)]".format, number, things),
    st.builds("try: {0}.remove({1})\nexcept ValueError: {0}.append(9)".format, things, number),
)
START = """\
import random
class Box:
    def __init__(self): self.items = []
i, j, k = 0, 1, 2
a, b, c = [], [1], [2]
d, box, it = {}, Box(), iter(())
def f(x): return x
def g(): return 0
def h(x): pass
def fill(target): target.append(0)
random.seed(0)
"""


def runs(code: str) -> bool:
    try:
        printed(code)
    except Exception:
        return False
    return True


def valid(statements: Sequence[str]) -> list[str]:
    """Those of the statements that run, one after the other."""
    kept: list[str] = []
    for statement in statements:
        if runs("\n".join([START, *kept, statement])):
            kept.append(statement)
    return kept


@given(
    st.lists(STATEMENTS, max_size=14),
    st.sampled_from((*NUMBERS, *LISTS, "box.items", "d", "random.random()", "f(1)", "g()", "list(it)")),
)
def test_a_slice_of_a_random_program_prints_the_same(statements: list[str], shown: str) -> None:
    body = valid(statements)
    final = f"print({shown})"
    if not runs("\n".join([START, *body, final])):
        return
    whole = "\n".join([START, *body, "print('--')", final])
    part = sliced("\n".join([START, *body]), final)
    assert (
        printed(part).removesuffix("\n").rpartition("\n")[2] == printed(whole).removesuffix("\n").rpartition("\n")[2]
    ), part


# --- what is left out, and what is not ---


def test_what_the_output_does_not_depend_on_is_left_out() -> None:
    code = sliced(
        "import csv, os, json\n# the sales\nrows = list(csv.DictReader(open('sales.csv')))  # all\nprint(len(rows))",
        "import csv\nunused = os.listdir('.')\ndef helper(): return unused",
        "total = 0  # so far\nfor row in rows:\n    # one of them\n    total += float(row['amount'])\n"
        "total2 = total * 2\nprint(total)",
    )
    assert code == (
        "import csv\n\n# the sales\nrows = list(csv.DictReader(open('sales.csv')))  # all\n\n"
        "total = 0  # so far\nfor row in rows:\n    # one of them\n    total += float(row['amount'])\nprint(total)\n"
    )


@pytest.mark.parametrize(
    "needed",
    [
        "b = a\nb.append(1)",
        "def f(x): x.append(1)\nf(a)",
        "h = a.append\nh(1)",
        "a += [1]",
        "a[0:0] = [1]",
        "a.extend([1])",
        "def g():\n    a.append(1)\ng()",
        "d = {'k': a}\nd['k'].append(1)",
        "[a.append(n) for n in range(2)]",
        "class Box:\n    def __init__(self, of): self.of = of\n    def count(self): self.of.append(1)\nBox(a).count()",
        "import heapq\nheapq.heappush(a, 1)",
        "import threading\nt = threading.Thread(target=a.append, args=(1,))\nt.start()\nt.join()",
        "import queue\nq = queue.Queue()\nq.put(a)\nq.get().append(1)",
        "it = iter([a])\nnext(it).append(1)",
        "(lambda x: x.append(1))(a)",
        "match a:\n    case list() as same:\n        same.append(1)",
        "with __import__('contextlib').nullcontext(a) as same:\n    same.append(1)",
        "for same in [a]:\n    same.append(1)",
        "if (same := a) is not None:\n    same.append(1)",
        "try:\n    a.append(1 / 0)\nexcept ZeroDivisionError as e:\n    a.append(2)",
        "setattr(type('T', (), {}), 'x', a.append(1))",
    ],
)
def test_a_change_in_place_is_kept(needed: str) -> None:
    code = sliced("a = []", f"{needed}\nunneeded = 5", "print(a)")
    assert needed.splitlines()[-1] in code
    assert "unneeded" not in code
    assert printed(code) == printed(f"a = []\n{needed}\nprint(a)") != "[]\n"


@pytest.mark.parametrize(
    "iterator", ["iter([1, 2, 3])", "(n for n in range(4))", "map(abs, [1, 2])", "zip('ab', 'cd')"]
)
def test_going_through_an_iterator_is_kept(iterator: str) -> None:
    code = sliced(f"it = {iterator}\nfirst = next(it)\nsecond = [n for n in it]", "print(list(it))")
    assert printed(code) == "[]\n"


@pytest.mark.parametrize(
    "unclear",
    [
        "exec('y = 1')",
        "globals()['y'] = 1",
        "from math import *",
        "def f():\n    global y\n    y = 1\nf()",
        "import json\njson.dumps = str",
        "y = eval('2')",
        "import unittest\nunittest.TestCase",
    ],
)
def test_nothing_is_left_out_of_a_program_that_cannot_be_followed(unclear: str) -> None:
    assert "unneeded" in sliced(f"{unclear}\nunneeded = 5", "print(1)")
    assert "unneeded" not in sliced("y = 1\nunneeded = 5", "print(1)")


@pytest.mark.parametrize(
    "setting",
    [
        "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
        "import sys\nsys.path.insert(0, 'lib')",
        "import os\nos.environ['A'] = 'b'",
    ],
)
def test_settings_are_kept(setting: str) -> None:
    assert setting.splitlines()[1] in sliced(setting, "print(1)")


def test_randomness_keeps_its_course() -> None:
    code = sliced("import random\nrandom.seed(1)\na = random.random()", "b = random.random()\nprint(b)")
    assert printed(code) == printed("import random\nrandom.seed(1)\nrandom.random()\nprint(random.random())")


def test_functions_find_what_they_use_when_they_are_called() -> None:
    code = sliced("def f(): return y\ny = 1\nz = 2", "y = 3\nprint(f())")
    assert "z" not in code and "y = 1" not in code
    assert printed(code) == "3\n"


def test_a_function_that_is_wanted_comes_with_what_it_uses() -> None:
    code = sliced("import re\ndef f(): return re.compile(y)\ny = 'a'\nz = 2", wanted=Wanted(names=frozenset({"f"})))
    assert "import re" in code and "y = 'a'" in code and "z" not in code


def test_files_are_kept_when_they_are_wanted() -> None:
    steps = ("n = 1\nwith open('a.txt', 'w') as f:\n    f.write(str(n))", "m = 2\nprint(m)")
    assert "a.txt" in sliced(*steps, wanted=Wanted(frozenset({1}), files=True))
    assert "a.txt" not in sliced(*steps)
    assert "a.txt" in sliced(*steps, "print(open('a.txt').read())")  # what was written is read


def test_a_file_that_is_made_and_read_is_removed_as_well() -> None:
    code = sliced("open('a.txt', 'w').write('1')", "print(open('a.txt').read())", "import os\nos.remove('a.txt')")
    assert "a.txt" not in code
    code = sliced("open('a.txt', 'w').write('1')\nx = open('a.txt').read()\nimport os\nos.remove('a.txt')", "print(x)")
    assert "os.remove('a.txt')" in code


def test_a_plot_that_is_saved_is_kept() -> None:
    plot = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\nax.set_title('T')"
    kept = sliced(plot, "x = 1\nfig.savefig('a.png')", wanted=Wanted(files=True))
    assert "set_title" in kept and "x = 1" not in kept


def test_looking_at_a_table_is_left_out() -> None:
    steps = ("import pandas as pd\ndf = pd.read_csv('a.csv')", "df.head()\ndf.describe()\nsmall = df[df.x > 1].copy()")
    code = sliced(*steps, "df['y'] = df.x * 2", "print(df.groupby('y').x.sum())")
    assert code.splitlines()[-1].startswith("print") and "df['y']" in code
    assert "head" not in code and "describe" not in code and "small" not in code


def test_imports_come_first_once_and_only_where_that_changes_nothing() -> None:
    code = sliced(
        "import json\nfrom datetime import datetime\na = datetime(1, 1, 1)",
        "import datetime\nimport json\nprint(json.dumps(str(datetime.date(1, 1, 1))), a)",
    )
    assert code.startswith("import json\n") and code.count("import json") == 1
    assert printed(code) == '"0001-01-01" 0001-01-01 00:00:00\n'


@pytest.mark.parametrize(
    "code",
    [
        "a = 1; print(a)",
        "a = '''\n\n\n'''\nprint(a)",
        "print('\u2028')\r\nprint('é')",
        "\ufeffprint(1)",
        "import functools\n@functools.cache\n# c\ndef f(): return 1\nprint(f())",
        "if 1:\n    print(1)\n# the end",
        "from __future__ import annotations\nprint(1)",
        "'''Doc'''\nprint(1)",
        "x = 1 ;\nprint(x) ; ",
        "a = 1; b = [\n2]; print(a,\n  b); c = 3",
    ],
)
def test_the_text_of_statements_stays_as_it_is(code: str) -> None:
    assert printed(assemble(split([code]))) == printed(code.removeprefix("\ufeff")) == printed(sliced(code))


def test_an_empty_program_has_no_pieces() -> None:
    assert split(["", "# nothing"]) == [] and assemble([]) == ""
