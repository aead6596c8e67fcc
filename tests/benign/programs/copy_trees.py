"""Copy, merge, compare and remove trees."""

import filecmp
import os
import shutil

shutil.copytree("orders", "backup/orders", ignore=shutil.ignore_patterns("feb*"))
shutil.copytree("photos", "backup/orders", dirs_exist_ok=True)
comparison = filecmp.dircmp("orders", "backup/orders")
print(comparison.left_only, comparison.right_only[:1], comparison.common)
shutil.copymode("sales.csv", "backup/orders/jan.csv")
shutil.copystat("sales.csv", "backup/orders/jan.csv")
print(os.path.getmtime("sales.csv") == os.path.getmtime("backup/orders/jan.csv"))
with open("sales.csv", "rb") as source, open("backup/big.bin", "wb") as target:
    shutil.copyfileobj(source, target)
    target.truncate(1 << 20)
print(os.path.getsize("backup/big.bin"), sorted(os.listdir("backup")))
shutil.rmtree("backup")
os.utime("sales.csv", (0, 0))
print(os.path.exists("backup"), int(os.path.getmtime("sales.csv")))

# Prints:
# ['feb.csv'] ['IMG_1.txt'] ['jan.csv', 'mar.csv']
# True
# 1048576 ['big.bin', 'orders']
# False 0
