"""A pool of processes: map, unordered results, an exception that comes back."""

import math
from multiprocessing import Pool


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def fail(n):
    raise ValueError(f"no {n}")


if __name__ == "__main__":
    with Pool(4) as pool:
        print(sum(pool.map(is_prime, range(5000), chunksize=500)))
        print(sorted(pool.imap_unordered(abs, [-3, -1, -2])))
        print(pool.starmap(divmod, [(7, 2), (9, 4)]))
        try:
            pool.apply(fail, (7,))
        except ValueError as error:
            print(error)
        print(pool.apply_async(pow, (2, 10)).get(timeout=10))

# Prints:
# 669
# [1, 2, 3]
# [(3, 1), (2, 1)]
# no 7
# 1024
