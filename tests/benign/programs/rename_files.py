"""Number photos with leading zeros."""

import re
from pathlib import Path

folder = Path("photos")
for path in sorted(folder.glob("IMG_*.txt"), key=lambda p: int(re.search(r"\d+", p.stem)[0])):
    number = int(re.search(r"\d+", path.stem)[0])
    path.rename(folder / f"holiday_{number:03}.txt")
print(sorted(p.name for p in folder.iterdir()))
print((folder / "holiday_010.txt").read_text().strip())

# Prints:
# ['holiday_001.txt', 'holiday_002.txt', 'holiday_003.txt', 'holiday_010.txt']
# photo 10
# Leaves:
# created photos/holiday_001.txt
# created photos/holiday_002.txt
# created photos/holiday_003.txt
# created photos/holiday_010.txt
# deleted photos/IMG_1.txt
# deleted photos/IMG_10.txt
# deleted photos/IMG_2.txt
# deleted photos/IMG_3.txt
