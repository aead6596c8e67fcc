"""Producers and consumers, and everything that makes threads wait."""

import queue
import threading
import time

tasks, results, lock = queue.Queue(maxsize=5), [], threading.Lock()


def consume():
    while (item := tasks.get()) is not None:
        time.sleep(0.001)
        with lock:
            results.append(item * 2)
        tasks.task_done()


threads = [threading.Thread(target=consume, daemon=True) for _ in range(10)]
for thread in threads:
    thread.start()
for item in range(50):
    tasks.put(item)
tasks.join()
for _ in threads:
    tasks.put(None)
for thread in threads:
    thread.join()
print(sum(results), len(results))
barrier, event, late = threading.Barrier(3), threading.Event(), []
for n in range(2):
    threading.Thread(target=lambda n=n: (barrier.wait(), late.append(n))).start()
barrier.wait()
threading.Timer(0.05, event.set).start()
print(event.wait(5), threading.Semaphore(2).acquire(), threading.current_thread().name)
local = threading.local()
local.value = 3
print(local.value, threading.main_thread() is threading.current_thread())

# Prints:
# 2450 50
# True True MainThread
# 3 True
