"""Mends mechanical errors by code, without asking the model: before a program runs, and where it crashed."""

from .before import mend_statically, same_program
from .crashed import mend_crash

__all__ = ["mend_crash", "mend_statically", "same_program"]
