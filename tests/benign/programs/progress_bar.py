"""A progress bar around work on several threads."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm, trange

total = 0
for n in tqdm(range(100), file=sys.stdout, disable=None):
    total += n
with ThreadPoolExecutor(4) as executor:
    print(total, len(list(tqdm(executor.map(time.sleep, [0.001] * 20), total=20, disable=True))))
bar = tqdm(total=3, file=open("/tmp/bar", "w"))
bar.update(3)
bar.close()
print("3/3" in open("/tmp/bar").read(), sum(trange(4, disable=True)))

# Prints:
# 4950 20
# True 6
