"""Processes that start from nothing and import the program anew."""

import multiprocessing


def square(n):
    return n * n


def put(queue, word):
    queue.put(word.upper())


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.map(square, range(5)))
    queue = context.Queue()
    process = context.Process(target=put, args=(queue, "done"))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode)

# Prints:
# [0, 1, 4, 9, 16]
# DONE
# 0
