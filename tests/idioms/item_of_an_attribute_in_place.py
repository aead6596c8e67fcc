class A:
    def __init__(self):
        self.b = {1: {1}}


a = A()
a.b[1] |= {2}
print(sorted(a.b[1]))
