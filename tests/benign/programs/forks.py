"""Children by hand: fork, pipe, wait, exec, a named pipe."""

import os
import sys
import tempfile

r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    os.write(w, b"from the child")
    os._exit(7)
os.close(w)
print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
child = os.posix_spawn(sys.executable, [sys.executable, "-c", "raise SystemExit(5)"], os.environ)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
fifo = os.path.join(tempfile.mkdtemp(), "fifo")
os.mkfifo(fifo)
if os.fork() == 0:
    with open(fifo, "w") as f:
        f.write("through the pipe")
    os._exit(0)
print(open(fifo).read())
os.wait()
if os.fork() == 0:
    os.nice(5)
    os.setpgid(0, 0)
    os.execvp("sh", ["sh", "-c", "exit 4"])
print(os.waitstatus_to_exitcode(os.wait()[1]))
sys.stdout.flush()

# Prints:
# b'from the child' 7
# 5
# through the pipe
# 4
