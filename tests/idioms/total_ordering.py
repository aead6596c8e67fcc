from functools import total_ordering


@total_ordering
class N:
    def __init__(self, v):
        self.v = v

    def __eq__(self, o):
        return self.v == o.v

    def __lt__(self, o):
        return self.v < o.v


print(N(1) >= N(0))
