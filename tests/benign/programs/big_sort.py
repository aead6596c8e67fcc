"""Sort many numbers in memory, and as many through files."""

import heapq
import random
import tempfile

random.seed(7)
numbers = [random.randrange(10**9) for _ in range(150_000)]
ordered = sorted(numbers)
parts = []
for start in range(0, len(numbers), 50_000):
    part = tempfile.TemporaryFile("w+")
    part.writelines(f"{n}\n" for n in sorted(numbers[start : start + 50_000]))
    part.seek(0)
    parts.append(part)
merged = list(heapq.merge(*(map(int, part) for part in parts)))
print(merged == ordered, ordered[:2], heapq.nlargest(1, numbers) == ordered[-1:])
random.shuffle(numbers)
numbers.sort(key=lambda n: (n % 10, -n))
print(numbers[0] % 10, numbers[-1] % 10)

# Prints:
# True [2530, 4358] True
# 0 9
