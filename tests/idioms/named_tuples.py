from collections import namedtuple
from typing import NamedTuple

P = namedtuple("P", "x y")
p = P(1, y=2)
print(p, p._asdict(), p._replace(x=5), P._fields, p[0], P._make([3, 4]))


class Q(NamedTuple):
    a: int
    b: str = "z"


print(Q(1))
