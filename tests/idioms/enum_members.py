from enum import Enum


class Planet(Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.41e23, 3.38e6)

    def __init__(self, mass, radius):
        self.mass = mass
        self._radius = radius

    @property
    def gravity(self):
        return 6.67e-11 * self.mass / self._radius**2


class Level(str, Enum):
    LOW = "low"

    def __new__(cls, text):
        made = str.__new__(cls, text)
        made._value_ = text.upper()
        return made

    @classmethod
    def _missing_(cls, value):
        return cls.LOW


print([round(p.gravity, 1) for p in Planet], Level("no such").value, Level.LOW == "low")


class Shape:
    registry = {}
    __count = 0

    def __new__(cls, *args):
        made = super().__new__(cls)
        made._new = True
        return made

    def __init__(self, sides=3):
        dict.__init__({})
        self.sides = sides
        Shape.__count += 1
        Shape.registry[self.__class__.__name__] = self

    def like(self):
        return type(self)(self.sides), self.__class__(4)._new

    @classmethod
    def count(cls):
        return cls.__count


class Square(Shape):
    pass


print(Square(4).like()[1], Shape.count(), sorted(Shape.registry))
