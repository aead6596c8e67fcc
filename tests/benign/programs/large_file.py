"""Write and read a hundred megabytes, line by line and in blocks."""

import os
import shutil

line = "x" * 99 + "\n"
with open("large.txt", "w") as f:
    for _ in range(1000):
        f.write(line * 1000)
print(os.path.getsize("large.txt"))
with open("large.txt") as f:
    print(sum(1 for _ in f))
shutil.copyfile("large.txt", "copy.txt")
with open("copy.txt", "rb") as f:
    print(sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b"")))
os.remove("large.txt")
os.truncate("copy.txt", 10)
print(os.path.getsize("copy.txt"))
os.remove("copy.txt")

# Prints:
# 100000000
# 1000000
# 1000000
# 10
