"""Call the C library."""

import ctypes
import ctypes.util

libm = ctypes.CDLL(ctypes.util.find_library("m"))
libm.cos.restype, libm.cos.argtypes = ctypes.c_double, [ctypes.c_double]
print(libm.cos(0.0), ctypes.util.find_library("c") is not None)
libc = ctypes.CDLL(None)
print(libc.abs(-5), libc.strlen(b"four!"), libc.atoi(b"42"))


class Pair(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]


compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 4)(3, 1, 4, 2)
libc.qsort(numbers, 4, ctypes.sizeof(ctypes.c_int), compare(lambda a, b: a[0] - b[0]))
print(list(numbers), ctypes.sizeof(Pair), Pair(1, 2.5).b, ctypes.create_string_buffer(b"abc").value)

# Prints:
# 1.0 True
# 5 5 42
# [1, 2, 3, 4] 16 2.5 b'abc'
