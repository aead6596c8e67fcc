"""The command line: parse, render events, nothing else.

stdout is data (the answer, or one JSON object); progress, questions and errors go to stderr.
Exit codes: 0 solved, 1 not solved, 2 usage, 3 model or sandbox unavailable, 70 a bug of ours, 130 interrupted.
"""

from __future__ import annotations

from .boundary import main

__all__ = ["main"]
