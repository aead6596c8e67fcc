import sys

sys.setrecursionlimit(10**6)


def depth(n):
    return n if n == 0 else depth(n - 1)


print(depth(5000))
