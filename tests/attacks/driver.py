"""Plays cases for another process: one JSON object per line in, one out. Run as `python driver.py`."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from typing import Any

from arena import Arena, applies
from corpus import BY_ID
from specials import SPECIALS


def answer(arena: Arena, request: dict[str, Any]) -> dict[str, Any]:
    """Play what is asked for; a failure is an answer, too."""
    try:
        if "special" in request:
            return {"special": SPECIALS[request["special"]](arena)}
        case = BY_ID[request["case"]]
        return {"skip": applies(case)} if applies(case) else {"outcome": asdict(arena.play(case))}
    except Exception:
        return {"error": traceback.format_exc(limit=-12)}


def main() -> None:
    replies = sys.stdout
    sys.stdout = sys.stderr
    arena = Arena()
    try:
        for line in sys.stdin:
            print(json.dumps(answer(arena, json.loads(line))), file=replies, flush=True)
    finally:
        arena.close()


if __name__ == "__main__":
    main()
