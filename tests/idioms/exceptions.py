class Mine(ValueError):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


try:
    try:
        {}["k"]
    except KeyError as e:
        raise Mine(3) from e
except (Mine, TypeError) as e:
    print(e, e.code, type(e).__name__, repr(e.__cause__), e.args)
else:
    print("no")
finally:
    print("end")
try:
    assert 1 == 2, "no"
except AssertionError as e:
    print(e)
