"""Move a folder into an archive by year."""

import os
import shutil

os.makedirs("archive/2026", exist_ok=True)
shutil.move("orders", "archive/2026/orders")
os.rename("photos", "pictures")
print(sorted(os.listdir("archive/2026/orders")), len(os.listdir("pictures")))

# Prints:
# ['feb.csv', 'jan.csv', 'mar.csv'] 4
# Leaves:
# created archive
# created archive/2026
# created archive/2026/orders
# created archive/2026/orders/feb.csv
# created archive/2026/orders/jan.csv
# created archive/2026/orders/mar.csv
# created pictures
# created pictures/IMG_1.txt
# created pictures/IMG_10.txt
# created pictures/IMG_2.txt
# created pictures/IMG_3.txt
# deleted orders
# deleted orders/feb.csv
# deleted orders/jan.csv
# deleted orders/mar.csv
# deleted photos
# deleted photos/IMG_1.txt
# deleted photos/IMG_10.txt
# deleted photos/IMG_2.txt
# deleted photos/IMG_3.txt
