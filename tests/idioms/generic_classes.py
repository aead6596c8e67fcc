from typing import Generic, TypeVar, Protocol

T = TypeVar("T")


class Box(Generic[T]):
    def __init__(self, v: T):
        self.v = v


class Sized(Protocol):
    def size(self) -> int: ...


print(Box[int](3).v)
