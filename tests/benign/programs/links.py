"""Links within the folder, soft and hard."""

import os
from pathlib import Path

os.symlink("sales.csv", "latest.csv")
print(os.readlink("latest.csv"), Path("latest.csv").is_symlink(), open("latest.csv").readline().strip())
open("plan.txt", "w").write("one")
os.link("plan.txt", "plan2.txt")
print(os.path.samefile("plan.txt", "plan2.txt"), os.stat("plan2.txt").st_nlink, Path("latest.csv").resolve().name)
os.symlink("orders", "in", target_is_directory=True)
print(sorted(os.listdir("in")), os.path.realpath("in/jan.csv") == os.path.abspath("orders/jan.csv"))
os.symlink("nowhere", "broken")
print(os.path.exists("broken"), os.path.lexists("broken"))
for name in ("latest.csv", "plan2.txt", "in", "broken"):
    os.unlink(name)
print(os.path.exists("sales.csv"), os.stat("plan.txt").st_nlink)
os.remove("plan.txt")

# Prints:
# sales.csv True date,region,product,units,price
# True 2 sales.csv
# ['feb.csv', 'jan.csv', 'mar.csv'] True
# False True
# True 1
