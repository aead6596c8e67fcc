"""Mends mechanical errors by code, without asking the model: before a program runs, where it crashed, and where its
result has the wrong form."""

from .before import mend_statically, mend_to_function, same_program
from .crashed import mend_crash
from .printed import mend_printed
from .returned import mend_returned

__all__ = ["mend_crash", "mend_printed", "mend_returned", "mend_statically", "mend_to_function", "same_program"]
