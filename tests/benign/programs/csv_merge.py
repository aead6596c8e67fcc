"""Merge all order files into one, without duplicates, and remove the parts."""

import csv
import glob
import os

rows = {}
for path in sorted(glob.glob("orders/*.csv")):
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            rows[row["id"]] = row
with open("all_orders.csv", "w", newline="") as f:
    writer = csv.DictWriter(f, fieldnames=["id", "customer", "total"])
    writer.writeheader()
    writer.writerows(rows[key] for key in sorted(rows, key=int))
for path in glob.glob("orders/*.csv"):
    os.remove(path)
os.rmdir("orders")
print(len(rows), "orders,", sum(float(r["total"]) for r in rows.values()))
print(os.path.exists("orders"))

# Prints:
# 5 orders, 140.74
# False
# Leaves:
# created all_orders.csv
# deleted orders
# deleted orders/feb.csv
# deleted orders/jan.csv
# deleted orders/mar.csv
