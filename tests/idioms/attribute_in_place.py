class A:
    total = 0

    def add(self, n):
        self.total += n
        A.total += 1
        return self


a = A()
print(a.add(3).total, A.total)
