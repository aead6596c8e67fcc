"""Dictionaries and lists that processes share through a manager."""

from multiprocessing import Manager, Process


def record(table, log, n):
    table[n] = n**3
    log.append(n)


if __name__ == "__main__":
    with Manager() as manager:
        table, log, lock = manager.dict(), manager.list(), manager.Lock()
        workers = [Process(target=record, args=(table, log, n)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with lock:
            print(dict(sorted(table.items())), sorted(log))

# Prints:
# {0: 0, 1: 1, 2: 8, 3: 27} [0, 1, 2, 3]
