"""What each layer of the wall stops alone: takes one out at a time and plays the attacks that may then be played.

    python benchmarks/layers.py [--layer NAME]... [--json]

Prints a table in markdown: the layer, and the cases of `tests/attacks` that succeed without it, as root and as an
unprivileged user (as the current user only, when that is not root). That a case succeeds is its own control. The layers
are taken out by patching this process and the warm process that it starts (`tests/attacks/removal.py`); nothing in the
package can do it. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]  # its `sandbox.py` hides the package
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "attacks")]

import users  # noqa: E402
from arena import Arena, applies  # noqa: E402
from corpus import BY_ID  # noqa: E402
from removal import LAYERS, TOGETHER, allowed  # noqa: E402

from sandbox import SandboxUnavailable  # noqa: E402

CLOSED = "no session opens"
Found = dict[str, list[str] | str]
"""Layers, joined by ` + `, to the ids of the cases that succeed without them, or why that cannot be told."""


def measure(chosen: list[str]) -> Found:
    """Play without each of the layers, alone or together, as the current user."""
    arena = Arena()
    try:
        return {name: _without(arena, name.split(" + ")) for name in chosen}
    finally:
        arena.close()


def _without(arena: Arena, layers: list[str]) -> list[str] | str:
    if not all(LAYERS[layer].is_here() for layer in layers):
        return "not here"
    found: list[str] = []
    try:
        for case in BY_ID.values():
            if not allowed(case, layers) or applies(case):
                continue
            achieved = arena.play_without(layers, case)
            if achieved and arena.play_without(layers, case):  # twice: others use this machine, too
                print(f"{' + '.join(layers)}: {case.id}: {achieved}", file=sys.stderr)
                found.append(case.id)
    except SandboxUnavailable as error:
        print(f"{' + '.join(layers)}: {error}", file=sys.stderr)
        return CLOSED
    finally:
        arena.forget(layers)
    return found


def measure_as_user(chosen: list[str]) -> Found:
    """`measure` in a process of an unprivileged user."""
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, users.USER, users.USER)
        options = [word for name in chosen for word in ("--layer", name)]
        command = users.command([sys.executable, str(Path(__file__).resolve()), "--json", *options])
        done = subprocess.run(
            command, env=users.environment(Path(home)), cwd="/", stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(done.stdout)


def table(columns: dict[str, Found]) -> str:
    """In markdown. The rows of several layers show what is stopped as long as one of them stands."""
    names = list(next(iter(columns.values())))
    head = f"| without | {' | '.join(f'then succeed, as {user}' for user in columns)} |"
    lines = [head, "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_cell(_more(found, name)) for found in columns.values())} |" for name in names]
    return "\n".join(lines)


def _more(found: Found, name: str) -> list[str] | str:
    """What succeeds without the layers in `name` and does not with some of them in place, as far as was measured."""
    here, layers = found[name], set(name.split(" + "))
    if isinstance(here, str):
        return here
    fewer = [ids for other, ids in found.items() if set(other.split(" + ")) < layers and not isinstance(ids, str)]
    return [id for id in here if not any(id in ids for ids in fewer)]


def _cell(found: list[str] | str) -> str:
    """Ids as in `C08-inet`, those of a number together: `C08 (3)`."""
    if isinstance(found, str):
        return found
    numbers: dict[str, int] = {}
    for id in found:
        number = id.partition("-")[0]
        numbers[number] = numbers.get(number, 0) + 1
    shown = ", ".join(f"{number} ({count})" if count > 1 else number for number, count in numbers.items())
    return f"**{len(found)}**: {shown}" if found else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", action="append", help="only this one, or several joined by ' + '; may be repeated")
    parser.add_argument("--json", action="store_true", help="as the current user only, as JSON")
    options = parser.parse_args()
    chosen = options.layer or [*LAYERS, *map(" + ".join, TOGETHER)]
    mine = measure(chosen)
    if options.json:
        print(json.dumps(mine))
    elif os.geteuid() == 0:
        print(table({"root": mine, f"uid {users.USER}": measure_as_user(chosen)}))
    else:
        print(table({f"uid {os.geteuid()}": mine}))


if __name__ == "__main__":
    main()
