"""Replace files so that no reader ever sees half of one."""

import json
import os
import tempfile


def save(path, data):
    fd, name = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)))
    with os.fdopen(fd, "w") as f:
        json.dump(data, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(name, path)
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


people = json.load(open("people.json"))
save("people.json", people[:1])
save("state.json", {"runs": 1})
print(len(json.load(open("people.json"))), json.load(open("state.json")))
with open("sales.csv", "r+") as f:
    text = f.read().replace("Lamp", "Lantern")
    f.seek(0)
    f.write(text)
    f.truncate()
print(open("sales.csv").read().count("Lantern"))
try:
    open("state.json", "x")
except FileExistsError:
    print("exists")

# Prints:
# 1 {'runs': 1}
# 4
# exists
# Leaves:
# created state.json
# modified people.json
# modified sales.csv
