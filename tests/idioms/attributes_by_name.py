class A:
    pass


a = A()
setattr(a, "x", 3)
a._y = 4
print(getattr(a, "x"), getattr(a, "no", 5), hasattr(a, "x"), hasattr(a, "z"), getattr(a, "_y"), vars(a), a.__dict__)
delattr(a, "x")
print(hasattr(a, "x"), getattr("a-b", "split")("-"))
