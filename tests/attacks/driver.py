"""Plays cases for another process: one JSON object per line in, one out. Run as `python driver.py`."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from typing import Any

import specials_landlock
from arena import Arena, applies
from cases import Case
from corpus import BY_ID
from corpus_landlock import LANDLOCK
from removal import LAYERS
from specials import SPECIALS

from sandbox import SandboxUnavailable

_CORPORA = {"": (BY_ID, SPECIALS), "landlock": (LANDLOCK, specials_landlock.SPECIALS)}


def answer(arena: Arena, request: dict[str, Any]) -> dict[str, Any]:
    """Play what is asked for; a failure is an answer, too."""
    try:
        cases, specials = _CORPORA[request.get("corpus", "")]
        if "special" in request:
            broken = arena.perform(specials[request["special"]])
            return {"error": f"left: {broken}"} if broken else {}
        case = cases[request["case"]]
        if "without" in request:
            return _without(arena, request["without"].split(" + "), case)
        return {"skip": applies(case)} if applies(case) else {"outcome": asdict(arena.play(case))}
    except Exception:
        return {"error": traceback.format_exc(limit=-12)}


def _without(arena: Arena, layers: list[str], case: Case) -> dict[str, Any]:
    """What a case achieves without some layers; `skip` says why that cannot be told here."""
    if not all(LAYERS[layer].is_here() for layer in layers):
        return {"skip": "there is no such layer for this user"}
    try:
        return {"achieved": arena.play_without(layers, case)}
    except SandboxUnavailable as error:
        return {"closed": str(error)}
    finally:
        arena.forget(layers)


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
