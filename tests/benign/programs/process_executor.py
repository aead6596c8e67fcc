"""Futures on processes and on threads."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def main():
    with ProcessPoolExecutor(max_workers=2) as executor:
        print(list(executor.map(collatz, [7, 27, 97])))
        futures = {executor.submit(collatz, n): n for n in (6, 9)}
        print(sorted((futures[f], f.result()) for f in as_completed(futures)))
        print(type(executor.submit(int, "x").exception()).__name__)
    with ThreadPoolExecutor(8) as executor:
        print(sum(executor.map(len, ["a", "bb", "ccc"])))


if __name__ == "__main__":
    main()

# Prints:
# [16, 111, 118]
# [(6, 8), (9, 19)]
# ValueError
# 6
