def _helper(_x, __y=1):
    return _x + __y


for _ in range(2):
    _helper(1)
_CACHE = {}
_CACHE["a"] = _helper(2)
a, _, __ = 1, 2, 3
print(_CACHE, _)
