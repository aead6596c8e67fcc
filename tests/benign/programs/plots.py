"""Charts of every common kind, saved in every common format."""

import os

import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 10, 200)
figure, axes = plt.subplots(2, 3, figsize=(9, 6))
axes[0, 0].plot(x, np.sin(x), label="sin", color="tab:blue")
axes[0, 0].legend()
axes[0, 1].bar(["North", "South", "West"], [9, 9, 7])
axes[0, 2].hist(np.random.default_rng(0).normal(size=500), bins=20)
axes[1, 0].scatter(x, np.cos(x), c=x, cmap="viridis")
axes[1, 1].pie([1, 2, 3], labels=["a", "b", "c"], autopct="%.0f%%")
axes[1, 2].imshow(np.outer(x, x))
axes[1, 2].set_title("Größe: $x^2$")
figure.tight_layout()
for kind in ("png", "pdf", "svg", "jpg"):
    figure.savefig(f"chart.{kind}", dpi=60)
    print(kind, os.path.getsize(f"chart.{kind}") > 5000)
plt.close(figure)
print(plt.imread("chart.png").shape, plt.get_backend().lower())

# Prints:
# png True
# pdf True
# svg True
# jpg True
# (360, 540, 4) agg
# Leaves:
# created chart.jpg
# created chart.pdf
# created chart.png
# created chart.svg
