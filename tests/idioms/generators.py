def g(n):
    got = yield n
    yield from range(got)
    return 9


i = g(1)
print(
    next(i),
    i.send(2),
    list(i),
    [*(x * 2 for x in range(3) if x)],
    {k: v for k, v in zip("ab", range(2))},
    {x % 2 for x in range(5)},
)
