"""Fit, integrate, test, transform, interpolate and solve."""

import numpy as np
from scipy import fft, integrate, interpolate, optimize, signal, sparse, stats
from scipy.sparse.linalg import spsolve
from scipy.spatial import ConvexHull, KDTree

x = np.linspace(0, 5, 50)
fitted, _ = optimize.curve_fit(lambda t, a, b: a * np.exp(-b * t), x, 3 * np.exp(-0.5 * x), p0=(1, 1))
print(fitted.round(3).tolist(), round(integrate.quad(np.sin, 0, np.pi)[0], 6))
print(optimize.minimize(lambda v: (v[0] - 1) ** 2 + (v[1] + 2) ** 2, [0, 0]).x.round(3).tolist())
solution = integrate.solve_ivp(lambda t, y: -y, (0, 1), [1.0], rtol=1e-8)
print(round(float(solution.y[0, -1]), 4), round(float(stats.norm.cdf(1.96)), 4))
print(
    round(float(stats.ttest_ind([1, 2, 3, 4], [2, 3, 4, 5]).pvalue), 4),
    interpolate.CubicSpline([0, 1, 2], [0, 1, 4])(1.5),
)
print(spsolve(sparse.csc_matrix([[2.0, 0], [0, 4]]), np.array([2.0, 2])).tolist(), abs(fft.fft([1, 0, 0, 0])).tolist())
print(KDTree([[0, 0], [3, 4]]).query([2.9, 4])[1], ConvexHull([[0, 0], [1, 0], [0, 1], [0.2, 0.2]]).volume)
print(signal.find_peaks([0, 2, 0, 3, 0])[0].tolist())

# Prints:
# [3.0, 0.5] 2.0
# [1.0, -2.0]
# 0.3679 0.975
# 0.3153 2.25
# [1.0, 0.5] [1.0, 1.0, 1.0, 1.0]
# 1 0.5
# [1, 3]
