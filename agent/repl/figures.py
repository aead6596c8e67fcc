"""Figures of a step: saved as files, and shown where the terminal draws pictures (kitty's and iTerm2's protocols).

The bytes are what the program made: nothing here decodes them, and in base64 nothing of them is a command.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from sandbox import Display

from ..cli.options import write_file
from ..cli.terminal import note

__all__ = ["inline", "show_figures"]

_ENDINGS = {"image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpg", "text/html": "html"}
_CHUNK = 4096
"""Characters that kitty takes at once."""


def show_figures(figures: Sequence[Display], folder: Path) -> None:
    """Save the figures in `folder`, say where, and draw them if stderr is a terminal that can."""
    if figures:
        folder.mkdir(mode=0o700, exist_ok=True)
    for figure in figures:
        path = _free(folder, _ENDINGS.get(figure.mime, "bin"))
        write_file(path, figure.data)
        note(f"figure saved: {path}")
        if figure.mime == "image/png" and sys.stderr.isatty():
            sys.stderr.write("".join(inline(figure.data, os.environ)))
            sys.stderr.flush()


def inline(data: bytes, environ: Mapping[str, str]) -> Iterator[str]:
    """What makes the terminal of `environ` draw a PNG; nothing for one that cannot, or inside of tmux or screen."""
    terminal, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if terminal.startswith(("tmux", "screen")):
        return
    text = base64.b64encode(data).decode()
    if "kitty" in terminal or "ghostty" in terminal or "KITTY_WINDOW_ID" in environ:
        yield from _kitty(text)
        yield "\n"
    elif program in ("iTerm.app", "WezTerm"):
        yield f"\x1b]1337;File=inline=1;size={len(data)}:{text}\x07\n"


def _kitty(text: str) -> Iterator[str]:
    """A PNG (`f=100`) to be shown at once (`a=T`), in pieces of which all but the last say `m=1`."""
    pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    for number, piece in enumerate(pieces):
        head = "a=T,f=100,q=2," if number == 0 else ""
        yield f"\x1b_G{head}m={int(number < len(pieces) - 1)};{piece}\x1b\\"


def _free(folder: Path, ending: str) -> Path:
    return next(path for n in count(1) if not (path := folder / f"figure-{n}.{ending}").exists())
