"""Matrices, random samples, sorting, dates, and what is written and mapped from disk."""

import numpy as np

a = np.array([[4.0, 1.0], [2.0, 3.0]])
print(np.linalg.solve(a, [1, 2]).round(3).tolist(), np.linalg.eigvalsh(a @ a.T).round(3).tolist())
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 500))
print((x @ x.T).shape, abs(x.mean()) < 0.01, np.percentile(np.arange(101), [25, 50]).tolist())
np.save("/tmp/x.npy", x)
print(np.array_equal(np.load("/tmp/x.npy", mmap_mode="r"), x))
grid = np.memmap("/tmp/grid.bin", dtype="float32", mode="w+", shape=(1000, 1000))
grid[500] = 1
grid.flush()
print(float(np.fromfile("/tmp/grid.bin", dtype="float32").sum()))
np.savetxt("table.csv", np.arange(6).reshape(2, 3), delimiter=",", fmt="%d")
print(np.loadtxt("table.csv", delimiter=",").sum(axis=0).tolist(), np.fft.rfft(np.ones(4)).real.tolist())
print(np.arange("2026-01", "2026-04", dtype="datetime64[M]").astype(str).tolist())

# Prints:
# [0.1, 0.6] [3.82, 26.18]
# (1000, 1000) True [25.0, 50.0]
# True
# 1000.0
# [3.0, 5.0, 7.0] [4.0, 0.0, 0.0]
# ['2026-01', '2026-02', '2026-03']
# Leaves:
# created table.csv
