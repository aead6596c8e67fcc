"""The most common words, and everything that looks like an address or a number."""

import re
from collections import Counter

text = open("notes.txt", encoding="utf-8").read()
words = re.findall(r"[a-z]+", text.lower())
for word, count in Counter(words).most_common(3):
    print(f"{word:<6}{count}")
print(re.findall(r"[\w.]+@[\w.]+\w", text))
print(re.findall(r"\b\d{3}-\d{4}\b", text), re.search(r"\d{4}-\d\d-\d\d", text).group())

# Prints:
# the   4
# fox   2
# dog   2
# ['ada@example.org', 'grace@example.com']
# ['555-0134', '555-0199'] 2026-03-31
