"""Pack and unpack tar archives with every compression."""

import os
import shutil
import tarfile
import tempfile

for kind in ("gz", "bz2", "xz"):
    name = f"orders.tar.{kind}"
    with tarfile.open(name, f"w:{kind}") as archive:
        archive.add("orders")
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(name) as archive:
        archive.extractall(scratch, filter="data")
        print(kind, sorted(os.listdir(os.path.join(scratch, "orders"))))
    os.remove(name)
print(os.path.basename(shutil.make_archive("orders", "gztar", ".", "orders")))
shutil.unpack_archive("orders.tar.gz", "unpacked", filter="data")
print(open("unpacked/orders/jan.csv").readline().strip())

# Prints:
# gz ['feb.csv', 'jan.csv', 'mar.csv']
# bz2 ['feb.csv', 'jan.csv', 'mar.csv']
# xz ['feb.csv', 'jan.csv', 'mar.csv']
# orders.tar.gz
# id,customer,total
# Leaves:
# created orders.tar.gz
# created unpacked
# created unpacked/orders
# created unpacked/orders/feb.csv
# created unpacked/orders/jan.csv
# created unpacked/orders/mar.csv
