"""Edit a large file in place through a memory map."""

import mmap
import os

with open("big.bin", "wb") as f:
    f.truncate(8 << 20)
with open("big.bin", "r+b") as f, mmap.mmap(f.fileno(), 0) as view:
    view[4 << 20 : (4 << 20) + 5] = b"MIDST"
    print(view.find(b"MIDST"), len(view))
    view.flush()
    view.madvise(mmap.MADV_SEQUENTIAL)
    view.resize(9 << 20)
with open("big.bin", "rb") as f:
    f.seek(4 << 20)
    print(f.read(5), os.fstat(f.fileno()).st_size)
with mmap.mmap(-1, 4096) as anonymous:
    anonymous.write(b"shared")
    if os.fork() == 0:
        anonymous[:6] = b"SHARED"
        os._exit(0)
    os.wait()
    print(anonymous[:6])
os.remove("big.bin")

# Prints:
# 4194304 8388608
# b'MIDST' 9437184
# b'SHARED'
