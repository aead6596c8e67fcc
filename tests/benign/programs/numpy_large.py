"""Hundreds of megabytes of numbers at once."""

import numpy as np

x = np.arange(40_000_000, dtype=np.float64)
print(x.nbytes, float(x[::1_000_000].sum()))
x *= 2
print(float(x.max()), np.count_nonzero(x >= 6e7))
del x
y = np.zeros((10_000, 10_000), dtype=np.uint8)
y[::2] = 1
print(int(y.sum()))

# Prints:
# 320000000 780000000.0
# 79999998.0 10000000
# 50000000
