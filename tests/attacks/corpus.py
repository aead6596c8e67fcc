"""The corpus by class."""

from __future__ import annotations

from cases import Case
from corpus_channel import CHANNEL, CRASHES
from corpus_escape import ESCAPE
from corpus_network import NETWORK
from corpus_own import OWN, RESTRICTED
from corpus_resources import RESOURCES
from corpus_secrets import LEARN, READ
from corpus_writes import WRITE

CLASSES: dict[str, list[Case]] = {
    "A": READ,
    "B": WRITE,
    "C": NETWORK,
    "D": ESCAPE,
    "E": RESOURCES,
    "F": LEARN,
    "G": RESTRICTED,
    "H": CHANNEL,
    "I": CRASHES,
    "J": OWN,
}
BY_ID: dict[str, Case] = {case.id: case for cases in CLASSES.values() for case in cases}

LAST: dict[str, int] = {"A": 20, "B": 15, "C": 14, "D": 30, "E": 31, "F": 10, "G": 43, "H": 20, "I": 20}
"""The last number of each class in the plan of attacks. What is numbered beyond it, and all of J, was found here."""
LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(
        (f"G{n:02}" for n in (*range(2, 10), *range(11, 21), 34, 35, 37, 38, 39, 41)),
        "asks of restricted Python to refuse it, which test_language.py sees; as plain Python it is an ordinary "
        "program, and what it reaches is in the G cases that are here",
    ),
}
"""Numbers that no case has, and why."""
