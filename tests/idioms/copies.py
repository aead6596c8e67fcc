import copy


class A:
    def __init__(self):
        self.l = [1]


a = A()
b = copy.deepcopy(a)
b.l.append(2)
print(a.l, b.l, copy.copy(a).l)
