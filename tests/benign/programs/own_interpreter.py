"""Start the own interpreter: for an expression, a script with arguments and input, a module."""

import json
import subprocess
import sys
from pathlib import Path

done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
print(done.stdout.strip())
Path("upper.py").write_text("import sys\nprint(sys.argv[1], sys.stdin.read().upper())\n")
done = subprocess.run([sys.executable, "upper.py", "says"], input="hello", capture_output=True, text=True)
print(done.returncode, done.stdout.strip())
done = subprocess.run([sys.executable, "-m", "json.tool", "people.json"], capture_output=True, text=True)
print(len(json.loads(done.stdout)))
done = subprocess.run([sys.executable, "-c", "import sys; sys.exit('gone wrong')"], capture_output=True, text=True)
print(done.returncode, done.stderr.strip())
try:
    subprocess.run([sys.executable, "-c", "while True: pass"], timeout=0.3)
except subprocess.TimeoutExpired:
    print("timed out")

# Prints:
# 42
# 0 says HELLO
# 3
# 1 gone wrong
# timed out
# Leaves:
# created upper.py
