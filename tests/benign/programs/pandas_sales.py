"""Group, pivot, merge and resample sales; write a workbook with sheets."""

import openpyxl
import pandas as pd

sales = pd.read_csv("sales.csv", parse_dates=["date"])
sales["revenue"] = sales["units"] * sales["price"]
by_region = sales.groupby("region")["revenue"].agg(["sum", "count"]).round(2)
print(by_region.loc["South"].tolist(), sales["units"].describe()["max"])
pivot = sales.pivot_table(index="region", columns="product", values="units", aggfunc="sum", fill_value=0)
print(pivot.to_dict("index")["North"])
monthly = sales.set_index("date")["revenue"].resample("MS").sum().round(2)
print({key.strftime("%b"): value for key, value in monthly.items()})
orders = pd.concat([pd.read_csv(f"orders/{m}.csv") for m in ("jan", "feb", "mar")]).drop_duplicates("id")
merged = orders.merge(pd.DataFrame({"customer": ["Ada", "Grace"], "level": ["gold", "new"]}), how="left")
print(merged["level"].fillna("-").tolist(), merged.sort_values("total")["customer"].iloc[0])
with pd.ExcelWriter("report.xlsx") as writer:
    by_region.to_excel(writer, sheet_name="regions")
    pivot.to_excel(writer, sheet_name="products")
print(openpyxl.load_workbook("report.xlsx").sheetnames, pd.read_excel("report.xlsx", "regions").shape)
sales.to_json("sales.json", orient="records", date_format="iso")
print(len(pd.read_json("sales.json")), sales.query("units > 4")["product"].unique().tolist())
print(pd.to_datetime("2026-03-29 12:00").tz_localize("Europe/Paris").tz_convert("UTC").hour)

# Prints:
# [468.0, 3.0] 7.0
# {'Chair': 2, 'Desk': 0, 'Lamp': 7}
# {'Jan': 326.7, 'Feb': 349.0, 'Mar': 702.5}
# ['gold', 'new', 'gold', '-', 'new'] Grace
# ['regions', 'products'] (3, 3)
# 8 ['Lamp']
# 10
# Leaves:
# created report.xlsx
# created sales.json
