"""Compare two versions of a text, and draw a histogram with characters."""

import difflib
import pprint
import sys

old = open("notes.txt").read().splitlines()
new = [line.replace("fox", "cat") for line in old]
for line in difflib.unified_diff(old, new, "old", "new", lineterm="", n=0):
    print(line)
print(
    round(difflib.SequenceMatcher(None, "kitten", "sitting").ratio(), 3),
    difflib.get_close_matches("appel", ["ape", "apple"]),
)
counts = {"North": 9, "South": 9, "West": 7}
width = max(map(len, counts))
for name, n in counts.items():
    print(f"{name:>{width}} {'█' * n} {n}")
pprint.pprint({"b": list(range(3)), "a": {"deep": (1, 2)}}, stream=sys.stdout, width=30)

# Prints:
# --- old
# +++ new
# @@ -1,2 +1,2 @@
# -The quick brown fox jumps over the lazy dog.
# -The dog sleeps; the fox does not.
# +The quick brown cat jumps over the lazy dog.
# +The dog sleeps; the cat does not.
# 0.615 ['apple', 'ape']
# North █████████ 9
# South █████████ 9
#  West ███████ 7
# {'a': {'deep': (1, 2)},
#  'b': [0, 1, 2]}
