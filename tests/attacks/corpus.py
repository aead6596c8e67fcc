"""The corpus by class."""

from __future__ import annotations

from cases import Case
from corpus_channel import CHANNEL, CRASHES
from corpus_escape import ESCAPE
from corpus_network import NETWORK
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
    "H": CHANNEL,
    "I": CRASHES,
}
BY_ID: dict[str, Case] = {case.id: case for cases in CLASSES.values() for case in cases}
