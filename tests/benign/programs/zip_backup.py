"""Back a folder up into a zip file and look into it."""

import os
import zipfile

with zipfile.ZipFile("backup.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for top, _, files in os.walk("photos"):
        for name in sorted(files):
            archive.write(os.path.join(top, name))
    archive.writestr("README", "made by a program")
with zipfile.ZipFile("backup.zip") as archive:
    print(archive.testzip(), sorted(archive.namelist()))
    archive.extractall("restored")
    print(archive.read("photos/IMG_2.txt"))
print(zipfile.is_zipfile("backup.zip"), open("restored/photos/IMG_10.txt").read().strip())

# Prints:
# None ['README', 'photos/IMG_1.txt', 'photos/IMG_10.txt', 'photos/IMG_2.txt', 'photos/IMG_3.txt']
# b'photo 2\n'
# True photo 10
# Leaves:
# created backup.zip
# created restored
# created restored/README
# created restored/photos
# created restored/photos/IMG_1.txt
# created restored/photos/IMG_10.txt
# created restored/photos/IMG_2.txt
# created restored/photos/IMG_3.txt
