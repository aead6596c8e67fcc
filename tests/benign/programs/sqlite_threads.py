"""Several threads and processes write to one database."""

import sqlite3
import threading
from multiprocessing import Process


def write(count):
    connection = sqlite3.connect("count.db", timeout=20)
    for _ in range(count):
        with connection:
            connection.execute("UPDATE counter SET n = n + 1")
    connection.close()


with sqlite3.connect("count.db") as connection:
    connection.execute("CREATE TABLE counter (n INTEGER)")
    connection.execute("INSERT INTO counter VALUES (0)")
connection.close()
workers = [threading.Thread(target=write, args=(20,)) for _ in range(3)] + [Process(target=write, args=(20,))]
for worker in reversed(workers):
    worker.start()
for worker in workers:
    worker.join()
print(sqlite3.connect("count.db").execute("SELECT n FROM counter").fetchone()[0])

# Prints:
# 80
# Leaves:
# created count.db
