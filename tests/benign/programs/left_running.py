"""Start things and wait for none of them: the program ends when they have."""

import atexit
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Process


def say(delay, word):
    time.sleep(delay)
    print(word, flush=True)


if __name__ == "__main__":
    atexit.register(print, "last")
    threads, processes = ThreadPoolExecutor(1), ProcessPoolExecutor(1)
    print(processes.submit(pow, 2, 5).result())
    Process(target=say, args=(2, "process")).start()
    threading.Thread(target=say, args=(0.1, "thread")).start()
    threads.submit(say, 0.8, "executor")
    threads.submit(say, 0.1, "its second task")
    sys.exit(0)

# Prints:
# 32
# thread
# executor
# its second task
# last
# process
