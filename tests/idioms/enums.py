from enum import Enum, auto, IntEnum


class Color(Enum):
    RED = auto()
    BLUE = "b"

    @property
    def pretty(self):
        return self.name.title()


print(Color.RED, Color("b").name, [c.value for c in Color], Color.BLUE.pretty, Color["RED"] is Color.RED)
