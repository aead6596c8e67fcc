f = lambda *a, b=1, **c: (a, b, c)
print(f(1, 2, b=3, d=4))
if (n := len("abc")) > 2:
    print(n)
first, *rest, last = range(5)
(a, (b, c)), d = (1, (2, 3)), 4
print(first, rest, last, a, b, c, d, [*rest, *"x"], {**{"a": 1}})
