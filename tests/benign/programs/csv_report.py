"""Sum the units and revenue of each region, and write a summary."""

import csv
from collections import defaultdict

units, revenue = defaultdict(int), defaultdict(float)
with open("sales.csv", newline="") as f:
    for row in csv.DictReader(f):
        units[row["region"]] += int(row["units"])
        revenue[row["region"]] += int(row["units"]) * float(row["price"])
with open("summary.csv", "w", newline="") as f:
    writer = csv.writer(f)
    writer.writerow(["region", "units", "revenue"])
    for region in sorted(units):
        writer.writerow([region, units[region], f"{revenue[region]:.2f}"])
print(open("summary.csv").read())

# Prints:
# region,units,revenue
# North,9,311.70
# South,9,468.00
# West,7,598.50
#
# Leaves:
# created summary.csv
