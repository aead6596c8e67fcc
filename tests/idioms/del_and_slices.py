l = list(range(6))
del l[0], l[-1]
l[1:3] = ["x"]
x = 1
del x
d = {1: 2}
del d[1]
print(l, l[::-1], d)
