"""Fuzz one harness with atheris: `python tests/fuzz/run.py frames CORPUS -max_total_time=120` (pip install atheris).

CORPUS is a folder in which inputs are kept from one time to the next.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(include=["sandbox", "json"]):
    from harnesses import HARNESSES, SEEDS


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in HARNESSES:
        sys.exit(f"usage: run.py {{{','.join(HARNESSES)}}} CORPUS [option of libFuzzer]...")
    name, corpus = sys.argv.pop(1), Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
