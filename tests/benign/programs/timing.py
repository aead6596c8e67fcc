"""Measure time, calls and memory."""

import cProfile
import faulthandler
import gc
import io
import pstats
import sys
import time
import timeit
import tracemalloc

print(timeit.timeit("sum(range(100))", number=100) > 0, time.process_time() > 0, time.thread_time() >= 0)
profile = cProfile.Profile()
profile.runcall(sorted, [3, 1, 2], key=lambda n: -n)
out = io.StringIO()
pstats.Stats(profile, stream=out).sort_stats("cumulative").print_stats(5)
print("function calls" in out.getvalue())
tracemalloc.start()
data = [bytes(1000) for _ in range(100)]
print(tracemalloc.get_traced_memory()[0] > 100_000, sys.getsizeof(data) > 800, gc.collect() >= 0)
tracemalloc.stop()
faulthandler.dump_traceback_later(60)
faulthandler.cancel_dump_traceback_later()
print(round(time.perf_counter_ns() / 1e9 - time.perf_counter()) == 0)

# Prints:
# True True True
# True
# True True True
# True
