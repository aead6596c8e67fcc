print(
    type(3) is int,
    type("") == str,
    type([]).__name__,
    type(3).__name__,
    isinstance(int, type),
    type(None),
    type(lambda: 0).__name__,
    type(type(3)).__name__,
)


class A:
    pass


print(type(A()) is A, type(A())().__class__ is A)
