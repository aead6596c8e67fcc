from dataclasses import dataclass


@dataclass(slots=True)
class P:
    x: int

    def __post_init__(self):
        self.x *= 2


p = P(2)
p.x += 1
print(p)


class S:
    __slots__ = ("a",)


s = S()
s.a = 1
print(s.a)
