"""Tools of the system: a pipeline, a script of one's own, status and output."""

import os
import shutil
import subprocess

done = subprocess.run("cut -d, -f2 sales.csv | tail -n +2 | sort | uniq -c | sort -rn", shell=True, capture_output=True)
print([line.split() for line in done.stdout.decode().splitlines()][-1])
print(os.system("test -f sales.csv"), os.popen("wc -l < notes.txt").read().strip())
with open("greet.sh", "w") as f:
    f.write('#!/bin/sh\necho "hello $1"\nexit 3\n')
os.chmod("greet.sh", 0o755)
done = subprocess.run(["./greet.sh", "you"], stdout=subprocess.PIPE, text=True)
print(done.stdout.strip(), done.returncode)
print(shutil.which("sh") is not None, subprocess.check_output(["basename", "/a/b.txt"], text=True).strip())
find = subprocess.Popen(["find", "photos", "-name", "*.txt"], stdout=subprocess.PIPE)
print(subprocess.check_output(["wc", "-l"], stdin=find.stdout, text=True).strip(), find.wait())

# Prints:
# ['2', 'West']
# 0 5
# hello you 3
# True b.txt
# 4 0
# Leaves:
# created greet.sh
