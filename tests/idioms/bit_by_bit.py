l = []
for i, (a, b) in enumerate([(1, 2), (3, 4)]):
    l.append(i + a * b)
else:
    print("else")
while l:
    l.pop()
    if len(l) == 1:
        break
    continue
print(
    l, [x for y in ((1, 2), (3,)) for x in y], 1 if l else 0, not l, 1 < 2 < 3, ~5, 2**3, 7 // 2, 5 & 3, 5 ^ 3, 1 << 4
)
