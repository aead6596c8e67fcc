import functools


def twice(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        wrapper.calls += 1
        return f(*args, **kwargs) * 2

    wrapper.calls = 0
    return wrapper


@twice
def add(a, b=2):
    "adds"
    return a + b


print(add(1), add(*[1], **{"b": 3}), add.calls, add.__name__, add.__doc__)
