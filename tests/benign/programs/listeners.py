"""Processes that find each other by an address, and hand over connections and files."""

import os
import tempfile
from multiprocessing import Pipe, Process, Queue
from multiprocessing.connection import Client, Listener
from multiprocessing.managers import BaseManager


class Counter:
    def __init__(self):
        self.n = 0

    def up(self):
        self.n += 1
        return self.n


class Counters(BaseManager):
    pass


Counters.register("Counter", Counter)


def ask(address, queue):
    ours, theirs = Pipe()
    queue.put(theirs)
    with Client(address, authkey=b"secret") as connection:
        connection.send(ours.recv())
        print(connection.recv())


if __name__ == "__main__":
    address = os.path.join(tempfile.mkdtemp(), "here")
    queue = Queue()
    with Listener(address, authkey=b"secret") as listener:
        for n in range(2):
            client = Process(target=ask, args=(address, queue))
            client.start()
            queue.get().send(f"question {n}")
            with listener.accept() as connection:
                connection.send(f"answer to {connection.recv()}")
            client.join()
    try:
        Client(address)
    except OSError as error:
        print(type(error).__name__)
    for _ in range(3):
        with Counters() as manager:
            counter = manager.Counter()
            workers = [Process(target=counter.up) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            print(counter.up())

# Prints:
# answer to question 0
# answer to question 1
# FileNotFoundError
# 5
# 5
# 5
