from dataclasses import dataclass


@dataclass
class P:
    x: int
    y: int


def f(v):
    match v:
        case 0 | 1:
            return "small"
        case [a, *rest] if rest:
            return a, rest
        case {"k": k, **more}:
            return k, more
        case P(x=0, y=y):
            return y
        case P(a, b):
            return a + b
        case str() as s:
            return s
        case None:
            return "none"
        case _:
            return "?"


for v in (0, [1, 2, 3], {"k": 1, "l": 2}, P(0, 5), P(2, 3), "x", None, 7.5):
    print(f(v))
