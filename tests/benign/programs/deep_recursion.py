"""Recursion deeper than usual, in a thread with a large stack."""

import sys
import threading


def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


def main():
    print(depth(50_000))


sys.setrecursionlimit(200_000)
threading.stack_size(256 << 20)
thread = threading.Thread(target=main)
thread.start()
thread.join()

# Prints:
# 50000
