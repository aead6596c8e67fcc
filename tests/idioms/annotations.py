from typing import List

x: int = 3
y: List[int]


def f(a: int, *b: str, c: "no such" = 1) -> None: ...


print(x)
