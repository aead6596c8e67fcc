"""The harnesses for atheris, without it: on their seeds, on small changes of these, and on any bytes."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from harnesses import HARNESSES, SEEDS


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in HARNESSES for seed in SEEDS[name]])
def test_seeds_and_small_changes_of_them(name: str, seed: bytes) -> None:
    dice = random.Random(seed)
    HARNESSES[name](seed)
    for _ in range(20):
        changed = bytearray(seed)
        for _ in range(dice.randint(1, 3)):
            at = dice.randint(0, len(changed))
            changed[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 2))
        HARNESSES[name](bytes(changed))


@pytest.mark.parametrize("name", HARNESSES)
def test_any_bytes(name: str) -> None:
    given(st.binary(max_size=200))(HARNESSES[name])()
