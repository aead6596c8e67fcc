"""Tables in memory and as parquet, with threads."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

table = pa.csv.read_csv("sales.csv")
print(table.num_rows, pc.sum(table["units"]).as_py(), table.schema.field("date").type)
pq.write_table(table, "sales.parquet", compression="zstd")
print(pq.read_table("sales.parquet", filters=[("region", "=", "West")]).num_rows)
print(table.group_by("region").aggregate([("units", "sum")]).sort_by("region")["units_sum"].to_pylist())
frame = pd.read_parquet("sales.parquet")
print(frame.shape, pa.Table.from_pandas(frame).num_columns)

# Prints:
# 8 25 date32[day]
# 2
# [9, 9, 7]
# (8, 5) 5
# Leaves:
# created sales.parquet
