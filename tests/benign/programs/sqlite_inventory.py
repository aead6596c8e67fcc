"""A small inventory in a database file: joins, a transaction that is taken back, a backup."""

import csv
import sqlite3

connection = sqlite3.connect("shop.db")
connection.row_factory = sqlite3.Row
print(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
connection.executescript(
    "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
    "CREATE TABLE sale (product INTEGER REFERENCES product, units INTEGER, price REAL);"
)
with connection, open("sales.csv", newline="") as f:
    for row in csv.DictReader(f):
        connection.execute("INSERT OR IGNORE INTO product (name) VALUES (?)", (row["product"],))
        connection.execute(
            "INSERT INTO sale SELECT id, ?, ? FROM product WHERE name = ?",
            (int(row["units"]), float(row["price"]), row["product"]),
        )
try:
    with connection:
        connection.execute("DELETE FROM sale")
        connection.execute("INSERT INTO product (name) VALUES ('Lamp')")
except sqlite3.IntegrityError as error:
    print(error)
query = "SELECT name, sum(units) AS n FROM sale JOIN product ON id = product GROUP BY name ORDER BY n DESC, name"
for row in connection.execute(query):
    print(row["name"], row["n"])
with sqlite3.connect(":memory:") as copy:
    connection.backup(copy)
    print(copy.execute("SELECT count(*) FROM sale").fetchone())
connection.close()

# Prints:
# wal
# UNIQUE constraint failed: product.name
# Lamp 19
# Chair 3
# Desk 3
# (8,)
# Leaves:
# created shop.db
