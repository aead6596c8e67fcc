"""A time series with dates on the axis, a surface in three dimensions, and a small animation."""

import os
from datetime import datetime, timedelta

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from PIL import Image

days = [datetime(2026, 1, 1) + timedelta(days=n) for n in range(60)]
plt.figure()
plt.plot(days, np.cumsum(np.ones(60)))
plt.gca().xaxis.set_major_formatter(mdates.DateFormatter("%d %b"))
plt.xticks(rotation=45)
plt.savefig("series.png")
figure = plt.figure()
axes = figure.add_subplot(projection="3d")
x, y = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20))
axes.plot_surface(x, y, x**2 - y**2)
figure.savefig("surface.png")
figure, axes = plt.subplots(figsize=(2, 2))
(line,) = axes.plot([], [])
FuncAnimation(figure, lambda n: line.set_data([0, 1], [0, n]), frames=4, blit=False).save("move.gif", writer="pillow")
with Image.open("move.gif") as image:
    print(image.format, image.n_frames, os.path.getsize("surface.png") > 5000)
plt.close("all")

# Prints:
# GIF 4 True
# Leaves:
# created move.gif
# created series.png
# created surface.png
