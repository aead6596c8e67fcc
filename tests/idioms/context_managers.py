from contextlib import contextmanager, suppress


class C:
    def __enter__(self):
        return (1, 2)

    def __exit__(self, kind, error, trace):
        print(kind.__name__ if kind else None)
        return True


with C() as (a, b):
    print(a, b)
    raise ValueError


@contextmanager
def m():
    yield 5


with m() as v, suppress(KeyError):
    print(v)
    {}[1]
