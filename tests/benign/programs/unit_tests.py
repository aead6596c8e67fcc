"""A function, its tests, and its examples, all run inside of the program."""

import doctest
import io
import sys
import unittest
from unittest import mock


def median(numbers):
    """The middle one.

    >>> median([3, 1, 2])
    2
    >>> median([1, 2, 3, 4])
    2.5
    """
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(numbers) % 2 else (ordered[half - 1] + ordered[half]) / 2


class MedianTest(unittest.TestCase):
    def test_odd(self):
        self.assertEqual(median([9, 1, 5]), 5)

    def test_empty(self):
        with self.assertRaises(IndexError):
            median([])

    def test_mock(self):
        with mock.patch("builtins.sorted", return_value=[7]):
            self.assertEqual(median([1]), 7)


if __name__ == "__main__":
    result = unittest.main(argv=["x"], exit=False, testRunner=unittest.TextTestRunner(stream=io.StringIO())).result
    print(result.testsRun, result.wasSuccessful())
    print(doctest.testmod(sys.modules["__main__"]))

# Prints:
# 3 True
# TestResults(failed=0, attempted=2)
