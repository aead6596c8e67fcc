import sys

print("a", "b", sep="-", end="!\n", file=sys.stdout)
sys.stdout.write("c\n")
print(sys.maxsize > 0, sys.version_info >= (3, 11))
