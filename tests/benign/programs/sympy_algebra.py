"""Solve, derive, integrate and simplify with symbols."""

from sympy import Matrix, diff, factor, integrate, latex, limit, oo, simplify, sin, solve, symbols

x, y = symbols("x y")
print(solve(x**2 - 5 * x + 6, x), diff(sin(x) * x**2, x), integrate(1 / (1 + x**2), (x, 0, oo)))
print(factor(x**3 - 1), limit(sin(x) / x, x, 0), simplify((x**2 - 1) / (x - 1)))
print(solve([x + y - 3, x - y - 1], [x, y]), Matrix([[1, 2], [3, 4]]).det(), latex(x**2 / 2))

# Prints:
# [2, 3] x**2*cos(x) + 2*x*sin(x) pi/2
# (x - 1)*(x**2 + x + 1) 1 x + 1
# {x: 2, y: 1} -2 \frac{x^{2}}{2}
