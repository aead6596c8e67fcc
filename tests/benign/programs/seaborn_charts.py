"""Statistical charts of a table."""

import os

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

sns.set_theme()
sales = pd.read_csv("sales.csv")
sns.barplot(sales, x="region", y="units", hue="product", errorbar=None)
plt.savefig("bars.png")
plt.figure()
sns.heatmap(sales[["units", "price"]].corr(), annot=True)
plt.savefig("heat.png")
plt.close("all")
print(os.path.getsize("bars.png") > 5000, os.path.getsize("heat.png") > 5000)

# Prints:
# True True
# Leaves:
# created bars.png
# created heat.png
