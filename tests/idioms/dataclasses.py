from dataclasses import dataclass, field, asdict, replace


@dataclass(order=True, frozen=True)
class P:
    x: int
    y: int = 0
    tags: list = field(default_factory=list, compare=False)

    @property
    def norm(self):
        return self.x + self.y


p = P(1, 2)
print(p, asdict(p), replace(p, x=5), p < P(2), p.norm)
try:
    p.x = 3
except Exception as e:
    print(type(e).__name__)
