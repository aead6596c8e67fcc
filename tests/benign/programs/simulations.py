"""Pi by chance, the game of life, a queue at a counter, the shortest path."""

import heapq
import random
from bisect import bisect_left
from collections import Counter

rng = random.Random(1)
hits = sum(rng.random() ** 2 + rng.random() ** 2 < 1 for _ in range(100_000))
print(round(4 * hits / 100_000, 1))
alive = {(0, 1), (1, 2), (2, 0), (2, 1), (2, 2)}
for _ in range(4):
    near = Counter((x + i, y + j) for x, y in alive for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
    alive = {cell for cell, n in near.items() if n == 3 or (n == 2 and cell in alive)}
print(sorted(alive))
roads = {"a": {"b": 4, "c": 1}, "b": {"d": 1}, "c": {"b": 2, "d": 5}, "d": {}}
queue, seen = [(0, "a", "")], {}
while queue:
    cost, node, path = heapq.heappop(queue)
    if node not in seen:
        seen[node] = (cost, path + node)
        for other, more in roads[node].items():
            heapq.heappush(queue, (cost + more, other, path + node))
print(seen["d"], bisect_left([10, 20, 30], 25))

# Prints:
# 3.1
# [(1, 2), (2, 3), (3, 1), (3, 2), (3, 3)]
# (4, 'acbd') 2
