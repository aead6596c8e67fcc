from functools import lru_cache, cache, reduce


@lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


print(fib(80), fib.cache_info().misses, reduce(lambda a, b: a * b, [1, 2, 3]))
