"""Interest to the cent, and exact fractions."""

import math
import statistics
from decimal import ROUND_HALF_UP, Decimal, getcontext, localcontext
from fractions import Fraction

balance = Decimal("1000.00")
for _ in range(12):
    balance += (balance * Decimal("0.0325") / 12).quantize(Decimal("0.01"), ROUND_HALF_UP)
print(balance, 0.1 + 0.2 == 0.3, Decimal("0.1") + Decimal("0.2") == Decimal("0.3"))
with localcontext() as context:
    context.prec = 50
    print(Decimal(2).sqrt())
print(getcontext().prec, sum(Fraction(1, n) for n in range(1, 6)), math.comb(49, 6), math.gcd(84, 126))
print(statistics.mean([2, 4, 9]), statistics.median([5, 1, 3]), round(statistics.stdev([2, 4, 4, 4, 5, 5, 7, 9]), 3))
print(len(str(2**10000)), len(str(math.factorial(1000))), pow(3, -1, 7))

# Prints:
# 1033.00 False True
# 1.4142135623730950488016887242096980785696718753769
# 28 137/60 13983816 42
# 5 3 2.138
# 3011 2568 5
