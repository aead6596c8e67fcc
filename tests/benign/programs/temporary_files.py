"""Every kind of temporary file and folder."""

import os
import tempfile
from pathlib import Path

with tempfile.NamedTemporaryFile("w+", suffix=".txt", delete=False) as f:
    f.write("scratch")
print(Path(f.name).read_text(), f.name.endswith(".txt"))
os.unlink(f.name)
with tempfile.TemporaryDirectory(prefix="job-") as folder:
    (Path(folder) / "a").mkdir()
    (Path(folder) / "a" / "b.bin").write_bytes(bytes(1000))
    print(sum(p.stat().st_size for p in Path(folder).rglob("*.bin")))
print(os.path.exists(folder))
with tempfile.TemporaryFile() as f:
    f.write(b"unnamed")
    f.seek(0)
    print(f.read())
with tempfile.SpooledTemporaryFile(max_size=10) as f:
    f.write(b"x" * 100)
    print(f.tell())
fd, name = tempfile.mkstemp(dir=".")
os.write(fd, b"here")
os.close(fd)
os.replace(name, "here.txt")
print(open("here.txt").read(), os.path.isdir(tempfile.gettempdir()))

# Prints:
# scratch True
# 1000
# False
# b'unnamed'
# 100
# here True
# Leaves:
# created here.txt
