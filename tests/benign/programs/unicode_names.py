"""Names and texts in several scripts."""

import os
import unicodedata
from pathlib import Path

names = ["résumé.txt", "日本語.txt", "Ελλάδα.txt", "emoji 🎉.txt", "with space.txt"]
for name in names:
    Path(name).write_text(name.upper(), encoding="utf-8")
print(sorted(n for n in os.listdir(".") if n in names) == sorted(names))
print(Path("日本語.txt").read_text(encoding="utf-8"), len("日本語.txt".encode()))
for name in names:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace(" ", "_")
    if len(plain) > 6:
        os.replace(name, plain)
        print(plain)
print("Straße".casefold() == "STRASSE".casefold(), "ﬁ".upper(), f"{'é':>3}|", "\N{SNOWMAN}", ascii("ü"))
for name in ("日本語.txt", "Ελλάδα.txt", "resume.txt", "emoji_.txt"):
    os.remove(name)

# Prints:
# True
# 日本語.TXT 13
# resume.txt
# emoji_.txt
# with_space.txt
# True FI   é| ☃ '\xfc'
# Leaves:
# created with_space.txt
