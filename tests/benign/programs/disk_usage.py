"""The size of every folder, the largest files, and files with the same content."""

import filecmp
import hashlib
import os
import shutil
from collections import defaultdict

shutil.copy2("sales.csv", "orders/copy.csv")
sizes, same = {}, defaultdict(list)
for top, folders, files in os.walk("."):
    folders.sort()
    sizes[top] = sum(os.path.getsize(os.path.join(top, name)) for name in files)
    for name in sorted(files):
        path = os.path.join(top, name)
        with open(path, "rb") as f:
            same[hashlib.file_digest(f, "sha256").hexdigest()].append(path)
print({top: size for top, size in sizes.items() if top != "."})
print([sorted(paths) for paths in same.values() if len(paths) > 1])
print(filecmp.cmp("sales.csv", "orders/copy.csv", shallow=False), shutil.disk_usage(".").free > 1 << 20)
with os.scandir("photos") as entries:
    print(sorted((e.name, e.stat().st_size) for e in entries if e.is_file())[0])
os.remove("orders/copy.csv")

# Prints:
# {'./orders': 407, './photos': 33}
# [['./orders/copy.csv', './sales.csv']]
# True True
# ('IMG_1.txt', 8)
