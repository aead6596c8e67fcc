"""Read and clean several files in parallel, and keep the result in a database."""

import glob
import sqlite3
from concurrent.futures import ProcessPoolExecutor

import pandas as pd


def load(path):
    frame = pd.read_csv(path)
    frame["month"] = path.rpartition("/")[2][:3]
    return frame


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        orders = pd.concat(executor.map(load, sorted(glob.glob("orders/*.csv"))), ignore_index=True)
    with sqlite3.connect("orders.db") as connection:
        orders.to_sql("orders", connection, index=False)
        total = pd.read_sql("SELECT customer, sum(total) AS total FROM orders GROUP BY 1 ORDER BY 1", connection)
    print(total.to_dict("records"))
    print(orders.groupby("month", sort=False).size().to_dict(), orders.isna().sum().sum() == 0)

# Prints:
# [{'customer': 'Ada', 'total': 17.75}, {'customer': 'Edsger', 'total': 99.99}, {'customer': 'Grace', 'total': 43.0}]
# {'feb': 2, 'jan': 2, 'mar': 2} True
# Leaves:
# created orders.db
