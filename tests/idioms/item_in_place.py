d = {"a": 1}
d["a"] += 2
d.setdefault("b", []).append(1)
d["b"] += [2]
print(d)
