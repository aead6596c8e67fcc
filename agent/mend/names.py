"""Names that a program uses and binds, and the imports that some are known by."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator

__all__ = ["import_of", "top_names", "unbound"]

_MODULES = sys.stdlib_module_names | {"numpy", "openpyxl", "pandas", "scipy"}
_FROM: dict[str, str] = {
    **dict.fromkeys(("Counter", "defaultdict", "deque", "namedtuple", "OrderedDict", "ChainMap"), "collections"),
    **dict.fromkeys(("reduce", "lru_cache", "partial", "wraps", "cmp_to_key"), "functools"),
    **dict.fromkeys(("permutations", "combinations", "product", "chain", "groupby", "accumulate"), "itertools"),
    **dict.fromkeys(("timedelta", "timezone"), "datetime"),
    **dict.fromkeys(("sqrt", "ceil", "floor", "factorial", "gcd", "comb", "isclose"), "math"),
    **dict.fromkeys(("heappush", "heappop", "heapify"), "heapq"),
    **dict.fromkeys(("bisect_left", "bisect_right", "insort"), "bisect"),
    **dict.fromkeys(("mean", "median", "stdev"), "statistics"),
    **dict.fromkeys(("dataclass", "field"), "dataclasses"),
    **dict.fromkeys(("Path", "PurePath"), "pathlib"),
    **dict.fromkeys(("Decimal", "ROUND_HALF_UP"), "decimal"),
    **dict.fromkeys(("Any", "Callable", "Deque", "Dict", "Generator", "Iterable", "Iterator", "List"), "typing"),
    **dict.fromkeys(("Literal", "Mapping", "NamedTuple", "Optional", "Sequence", "Set", "Tuple", "Union"), "typing"),
    **dict.fromkeys(("LinearRegression", "LogisticRegression", "Ridge", "Lasso"), "sklearn.linear_model"),
    **dict.fromkeys(("RandomForestClassifier", "RandomForestRegressor"), "sklearn.ensemble"),
    **dict.fromkeys(("DecisionTreeClassifier", "DecisionTreeRegressor"), "sklearn.tree"),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), "sklearn.neighbors"),
    **dict.fromkeys(("StandardScaler", "MinMaxScaler", "LabelEncoder", "OneHotEncoder"), "sklearn.preprocessing"),
    **dict.fromkeys(("accuracy_score", "mean_squared_error", "mean_absolute_error", "r2_score"), "sklearn.metrics"),
    **dict.fromkeys(("train_test_split", "cross_val_score"), "sklearn.model_selection"),
    **dict.fromkeys(("pearsonr", "spearmanr", "shapiro", "ttest_ind", "f_oneway", "kstest", "zscore"), "scipy.stats"),
    "KMeans": "sklearn.cluster",
    "PCA": "sklearn.decomposition",
    "SimpleImputer": "sklearn.impute",
    "Fraction": "fractions",
    "Enum": "enum",
    "StringIO": "io",
    "BytesIO": "io",
    "TestCase": "unittest",
    "ThreadPoolExecutor": "concurrent.futures",
    "Image": "PIL",
    "dedent": "textwrap",
}
_ALIASES = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
    "dt": "import datetime as dt",
    "ET": "import xml.etree.ElementTree as ET",
    "tk": "import tkinter as tk",
    "stats": "from scipy import stats",
    "sm": "import statsmodels.api as sm",
}


def import_of(name: str, tree: ast.Module) -> str | None:
    if name in _ALIASES:
        return _ALIASES[name]
    if name == "datetime":
        return "from datetime import datetime" if _called_on(tree, name, "now today strptime") else "import datetime"
    if name == "date":
        return "from datetime import date" if _called_on(tree, name, "today fromisoformat") else None
    if name in _MODULES and _has_attribute(tree, name):
        return f"import {name}"
    return f"from {_FROM[name]} import {name}" if name in _FROM else None


def _attributes(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr


def _has_attribute(tree: ast.Module, name: str) -> bool:
    return any(True for _ in _attributes(tree, name))


def _called_on(tree: ast.Module, name: str, methods: str) -> bool:
    return any(attribute in methods.split() for attribute in _attributes(tree, name))


def unbound(tree: ast.Module) -> set[str]:
    """Names that are used and nowhere bound; a star import may bind anything."""
    used: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return set()
        else:
            bound.update(_names_bound_by(node))
    return used - bound


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def top_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            names.update(_names_bound_by(node))
        elif isinstance(node, ast.Assign):
            names.update(n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return names
