"""Make, read and sort out a few hundred files."""

import fileinput
import fnmatch
import os
from collections import Counter
from pathlib import Path

inbox = Path("inbox")
inbox.mkdir()
for n in range(300):
    (inbox / f"file{n:03}.{('txt', 'log', 'csv')[n % 3]}").write_text(f"{n}\n" * 10)
for path in list(inbox.iterdir()):
    target = inbox / path.suffix[1:]
    target.mkdir(exist_ok=True)
    path.rename(target / path.name)
print(sorted(Counter(p.parent.name for p in inbox.rglob("*.*")).items()))
with fileinput.input(sorted(inbox.glob("csv/*"))) as lines:
    print(sum(int(line) for line in lines))
print(len(fnmatch.filter(os.listdir("inbox/log"), "file1*.log")), os.stat("inbox").st_nlink > 0)
handles = [open(p) for p in inbox.rglob("*.txt")]
print(sum(len(h.read()) for h in handles))
for top, folders, files in os.walk(inbox, topdown=False):
    for name in files:
        os.remove(os.path.join(top, name))
    for name in folders:
        os.rmdir(os.path.join(top, name))
inbox.rmdir()

# Prints:
# [('csv', 100), ('log', 100), ('txt', 100)]
# 150500
# 34 True
# 3620
