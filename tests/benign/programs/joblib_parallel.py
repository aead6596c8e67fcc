"""Loops on several processes and threads, and results that are kept on disk."""

import tempfile

import numpy as np
from joblib import Memory, Parallel, delayed

calls = []


def slope(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1000)
    return round(float(np.polyfit(x, 3 * x + 1, 1)[0]), 3)


memory = Memory(tempfile.mkdtemp(), verbose=0)


@memory.cache
def slow(n):
    calls.append(n)
    return np.full(n, n)


print(Parallel(n_jobs=2)(delayed(slope)(seed) for seed in range(4)))
print(Parallel(n_jobs=2, prefer="threads")(delayed(abs)(-n) for n in range(3)))
print(slow(3).sum() + slow(3).sum(), len(calls))

# Prints:
# [3.0, 3.0, 3.0, 3.0]
# [0, 1, 2]
# 18 1
