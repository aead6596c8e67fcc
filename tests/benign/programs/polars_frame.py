"""Group and join with polars, and keep the result as parquet."""

import polars as pl

sales = pl.read_csv("sales.csv", try_parse_dates=True)
report = (
    sales.lazy()
    .with_columns(revenue=pl.col("units") * pl.col("price"))
    .group_by("region")
    .agg(pl.col("revenue").sum().round(2), pl.len())
    .sort("region")
    .collect()
)
print(report.to_dicts()[0], sales["date"].max())
report.write_parquet("report.parquet")
print(pl.read_parquet("report.parquet").equals(report), pl.scan_csv("orders/*.csv").collect().height)

# Prints:
# {'region': 'North', 'revenue': 311.7, 'len': 3} 2026-03-30
# True 6
# Leaves:
# created report.parquet
