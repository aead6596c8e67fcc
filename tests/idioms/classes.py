class Base:
    kind = "base"
    _count = 0
    __hidden = 1

    def __init__(self, name, *, size=1):
        self.name = name
        self._size = size
        self.__secret = size * 2
        Base._count += 1

    def __repr__(self):
        return f"{self.__class__.__name__}({self.name!r}, {self._size}, {self.__secret})"

    def __eq__(self, other):
        return isinstance(other, Base) and self._size == other._size

    def __lt__(self, other):
        return self._size < other._size

    def __len__(self):
        return self._size

    def __getitem__(self, i):
        return i * 2

    def __call__(self, x):
        return x + 1

    def __hash__(self):
        return 7

    def __add__(self, other):
        return Base("sum", size=self._size + other._size)

    __radd__ = __add__

    @property
    def size(self):
        return self._size

    @size.setter
    def size(self, v):
        self._size = v

    @classmethod
    def make(cls):
        return cls("made")

    @staticmethod
    def helper(x):
        return x


class Child(Base):
    def __init__(self, name):
        super().__init__(name, size=3)
        self.items = {}

    def _private(self):
        return super().size

    def run(self):
        return self._private()


a, b = Base("x"), Child("y")
a.size = 4
print(
    a,
    b,
    a == b,
    b < a,
    len(b),
    b[3],
    b(1),
    a + b,
    b.run(),
    Base._count,
    Base.make(),
    Base.helper(1),
    {a: 1}[a],
    sorted([a, b]),
)
