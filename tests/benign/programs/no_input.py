"""Ask a question that nobody answers, and go on."""

import sys
import warnings

try:
    name = input("Your name? ")
except EOFError:
    name = "nobody"
print(f"hello {name}")
print(repr(sys.stdin.read()), sys.stdin.isatty(), sys.stdout.isatty())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("old", DeprecationWarning, stacklevel=1)
print(caught[0].message, sys.stdout.encoding)

# Prints:
# Your name? hello nobody
# '' False False
# old utf-8
