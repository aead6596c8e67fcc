"""One instance at a time: locks on files."""

import fcntl
import os
import subprocess
import sys

with open("job.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    probe = (
        "import fcntl\ntry: fcntl.flock(open('job.lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept OSError: print('busy')"
    )
    print(subprocess.check_output([sys.executable, "-c", probe], text=True).strip())
    fcntl.flock(lock, fcntl.LOCK_UN)
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
    print(fcntl.fcntl(lock, fcntl.F_GETFL) & os.O_WRONLY != 0)
    os.lockf(lock.fileno(), os.F_ULOCK, 10)
os.remove("job.lock")
with open("shared.txt", "w") as f:
    fcntl.flock(f, fcntl.LOCK_SH)
    f.write("x")
os.posix_fallocate(fd := os.open("shared.txt", os.O_RDWR), 0, 1000)
print(os.pread(fd, 1, 0), os.fstat(fd).st_size)
os.close(fd)
os.remove("shared.txt")

# Prints:
# busy
# True
# b'x' 1000
