"""Data classes, enumerations, protocols, context managers, cached and generated values."""

import contextlib
import enum
import functools
import io
import itertools
import typing
from collections import ChainMap, OrderedDict, deque, namedtuple
from dataclasses import asdict, dataclass, replace


class Colour(enum.Enum):
    RED = 1
    GREEN = enum.auto()


@dataclass(frozen=True, order=True)
class Point:
    x: int
    y: int = 0


@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@contextlib.contextmanager
def heading(text):
    print(f"<{text}>")
    yield text.upper()
    print(f"</{text}>")


def windows(items, size):
    window = deque(maxlen=size)
    for item in items:
        window.append(item)
        if len(window) == size:
            yield tuple(window)


with heading("a") as name, contextlib.suppress(KeyError):
    print(name, {}["missing"])
buffer = io.StringIO()
with contextlib.redirect_stdout(buffer):
    print("caught")
print(buffer.getvalue().strip(), Colour.GREEN.value, replace(Point(1), y=2), asdict(Point(3)), fibonacci(90))
print(list(windows(range(4), 2)), [(k, len(list(g))) for k, g in itertools.groupby("aabccc")])
print(list(itertools.islice(itertools.accumulate(itertools.count(1)), 5)), list(itertools.combinations("abc", 2))[-1])
print(namedtuple("Pair", "a b")(1, 2), ChainMap({"a": 1}, {"b": 2})["b"], OrderedDict(a=1).popitem())
print(typing.get_type_hints(Point), functools.reduce(lambda a, b: a * b, range(1, 6)))
match {"kind": "circle", "r": 2}:
    case {"kind": "circle", "r": r}:
        print("circle", r)

# Prints:
# <a>
# </a>
# caught 2 Point(x=1, y=2) {'x': 3, 'y': 0} 2880067194370816120
# [(0, 1), (1, 2), (2, 3)] [('a', 2), ('b', 1), ('c', 3)]
# [1, 3, 6, 10, 15] ('b', 'c')
# Pair(a=1, b=2) 2 ('a', 1)
# {'x': <class 'int'>, 'y': <class 'int'>} 120
# circle 2
