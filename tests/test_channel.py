"""What a program's process may say: forged ends, figures and their caps, claims of every shape."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_text import BAD

from sandbox import Display, Policy, Problem, SandboxUnavailable, claims, open_session
from sandbox.jail.figures import Figures, size_of

jail = pytest.mark.jail
FORGE = """
import json, os, socket, stat, struct
def frame(**message):
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body
fds = [fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")]
channel = socket.socket(fileno=os.dup(next(fd for fd in fds if fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode))))
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, methods: bytes = b"\0\0\0", pad: int = 0) -> bytes:
    """A PNG image whose first chunk claims this size, with `pad` bytes of data."""
    header = struct.pack(">IIBB", width, height, depth, colour) + methods
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 4) + bytes(pad)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def framed(data: bytes, **more: Any) -> dict[str, Any]:
    return {"op": "display", "mime": "image/png", "data": base64.b64encode(data).decode(), **more}


def taken(*messages: dict[str, Any], **caps: Any) -> Figures:
    figures = Figures(Policy(**caps))
    for message in messages:
        figures.take(message)
    return figures


# -- figures ----------------------------------------------------------------------------------------------------------


def test_the_size_of_an_image_is_read_from_its_first_chunk():
    assert size_of(png(640, 480)) == (640, 480)
    assert size_of(png(1, (1 << 31) - 1, depth=1, colour=3)) == (1, (1 << 31) - 1)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", png(1, 1)[:-1], png(1, 1) + b"<script>", png(1, 1)[:30]),
        *(png(0, 1), png(1, 0), png(1 << 31, 1), png(1, 0xFFFFFFFF)),
        *(png(1, 1, depth=3), png(1, 1, colour=1), png(1, 1, depth=16, colour=3), png(1, 1, colour=255)),
        *(png(1, 1, methods=b"\1\0\0"), png(1, 1, methods=b"\0\1\0"), png(1, 1, methods=b"\0\0\2")),
        png(1, 1)[:8] + chunk(b"tEXt", b"k\0v") + png(1, 1)[8:],
        png(1, 1)[:8] + chunk(b"IHDR", bytes(12)) + png(1, 1)[8:],
        png(1, 1)[:16] + struct.pack(">I", 100_000) + png(1, 1)[20:],
    ],
    ids=range(20),
)
def test_what_is_no_sane_png_is_left_out_and_said(data: bytes):
    figures = taken(framed(data), framed(png(1, 1)))
    assert [d.name for d in figures.kept] == ["figure-1.png"]
    assert figures.notes == ("figure 1 was left out: it is no PNG image",)


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ({"displays": 1}, "more than 1"),
        ({"display_bytes": 999}, "over the limit of 999"),
        ({"displays_bytes": 1999}, "more than 1999 bytes"),
        ({"display_pixels": 99}, "20 x 5 pixels, over the limit of 99"),
    ],
)
def test_each_cap_leaves_out_what_is_over_it(caps: dict[str, int], said: str):
    small, large = png(10, 5, pad=100), png(20, 5, pad=1000)
    assert len(taken(framed(large), framed(large)).kept) == 2
    figures = taken(framed(small), framed(large), framed(large), **caps)
    assert len(figures.kept) == (2 if "displays_bytes" in caps else 1)
    assert said in figures.notes[-1] and len(figures.notes) == 3 - len(figures.kept)


def test_a_bomb_is_left_out_by_its_size_alone():
    figures = taken(framed(png(100_000, 100_000)))
    assert figures.notes == ("figure 1 was left out: it has 100000 x 100000 pixels, over the limit of 40000000",)


def test_a_flood_of_refused_figures_makes_a_few_notes():
    figures = taken(*[framed(b"x")] * 5000)
    assert len(figures.notes) == 9 and figures.notes[-1] == "4992 more figures were left out"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"mime": "image/svg+xml", "data": "PHN2Zz4="},
        {"mime": "text/html", "data": "PHNjcmlwdD4="},
        *({"mime": "image/png", "data": data} for data in (None, 7, [], {}, "\ud800", "é", "AAA", "A" * 1000)),
        *({"mime": mime, "data": ""} for mime in (None, 7, ["image/png"], {})),
        {"problem": "\x1b]0;x\x07\u202e\n" + "y" * 10_000},
    ],
    ids=range(16),
)
def test_hostile_figures_are_left_out_with_a_harmless_note(message: dict[str, Any]):
    figures = taken(message)
    assert not figures.kept
    (note,) = figures.notes
    assert len(note) < 300 and not BAD.search(note) and "\n" not in note


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\x1b[2J", "\0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
ANY_PNG = st.builds(
    png, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), depth=st.integers(0, 255), colour=st.integers(0, 255)
)
DATA = (st.binary(max_size=80) | ANY_PNG).map(lambda data: base64.b64encode(data).decode())
MESSAGES = st.fixed_dictionaries(
    {}, optional={"mime": st.just("image/png") | JSON, "data": DATA | JSON, "problem": JSON, "op": JSON}
)


@given(st.lists(MESSAGES, max_size=6), st.integers(1, 4), st.integers(1, 300), st.integers(1, 10**6))
def test_whatever_comes_is_a_figure_within_the_caps_or_a_note(
    messages: list[dict[str, Any]], displays: int, size: int, pixels: int
):
    caps = {"displays": displays, "display_bytes": size, "displays_bytes": 2 * size, "display_pixels": pixels}
    figures = taken(*messages, **caps)
    assert len(figures.kept) + len(figures.notes) == len(messages) and len(figures.kept) <= displays
    assert sum(len(d.data) for d in figures.kept) <= 2 * size
    for kept in figures.kept:
        width, height = size_of(kept.data)
        assert type(kept) is Display and len(kept.data) <= size and width * height <= pixels
    assert not any(BAD.search(note) or "\n" in note or len(note) > 400 for note in figures.notes)


# -- claims -----------------------------------------------------------------------------------------------------------

FIELDS = ("type", "message", "source", "traceback", "line", "notes")


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), st.integers(1, 200))
@example({"line": True, "notes": ["\x1b[31m" * 999, 7, None]}, 50)
@example({"type": "\x1b" * 10_000, "traceback": ["x"]}, 100)
def test_any_claim_of_an_error_is_harmless(claim: Any, limit: int):
    problem = claims.problem(claim, limit)
    if problem is None:
        return
    assert type(problem) is Problem and (problem.line is None or type(problem.line) is int)
    texts = (problem.type, problem.message, problem.source, problem.traceback)
    assert all(type(text) is str and len(text) <= limit and not BAD.search(text) for text in texts)
    assert len(problem.notes) <= 8
    assert all(type(note) is str and len(note) <= 1000 and not BAD.search(note) for note in problem.notes)


@given(JSON, st.integers(1, 200))
def test_any_claim_of_a_value_or_an_exit_code_is_harmless(claim: Any, limit: int):
    text, code = claims.text(claim, limit), claims.exit_code(claim)
    assert text is None or (type(text) is str and len(text) <= limit and not BAD.search(text))
    assert code is None or (type(code) is int and 0 <= code <= 255)


# -- forged ends, in a jail -------------------------------------------------------------------------------------------


@jail
@pytest.mark.parametrize("answered", ["", "+ frame(op='sync', id=1) + frame(op='sync', id='')"], ids=["", "and-sync"])
def test_a_forged_end_and_a_program_that_goes_on_is_a_timeout_of_its_own(answered: str):
    with open_session("jail", policy=Policy(wall_seconds=1)) as session:
        ends = f"channel.sendall(frame(op='result', id=1, value='forged', error=None, exit_code=None){answered})\n"
        run = session.execute(FORGE + ends + "while True: pass")
        assert (run.status, run.limit) == ("timeout", "wall")
        began = time.monotonic()
        assert session.execute("'channel' in globals()").value == "False"  # it went back
        assert time.monotonic() - began < 3


@jail
def test_a_program_that_plays_its_own_worker_costs_the_next_execution_its_time_and_no_more():
    """It answers what it is asked, and goes on: then only that it does not serve tells the host."""
    ends = "channel.sendall(frame(op='result', id=1, value='forged', error=None, exit_code=None))\n"
    with open_session("jail", policy=Policy(wall_seconds=1)) as session:
        run = session.execute(FORGE + ends + "channel.sendall(channel.recv(9999))\nwhile True: pass")
        assert (run.status, run.value) == ("ok", "forged")  # a claim, like any output
        began = time.monotonic()
        with pytest.raises(SandboxUnavailable, match="has not ended"):
            session.execute("1")
        assert time.monotonic() - began < 8
        with pytest.raises(SandboxUnavailable, match="lost"):
            session.execute("1")


@jail
@pytest.mark.parametrize("claim", ["True", "'0'", "10 ** 18", "-1", "256", "[]", "{}", "0.0"])
def test_a_claimed_exit_code_of_another_kind_is_an_error_without_one(claim: str):
    with open_session("jail") as session:
        run = session.execute(FORGE + f"channel.sendall(frame(op='result', id=1, exit_code={claim}))")
    assert (run.status, run.exit_code) == ("error", None)


@jail
def test_texts_of_any_length_that_a_policy_grants_come_through():
    """Every character escaped, and more commas than a frame may have items by default."""
    with open_session("jail", policy=Policy(value_chars=400_000)) as session:
        assert session.execute("'\U0001f600,' * 190_000").value == repr("\U0001f600," * 190_000)
        assert len(session.execute("list(range(10 ** 6))").value) <= 400_000
    with open_session("jail", policy=Policy(value_chars=5)) as session:
        assert len(session.execute("'x' * 10 ** 7").value) <= 5


# -- figures, in a jail -----------------------------------------------------------------------------------------------

IMAGE = """
import zlib, struct
class Image:
    def __init__(self, width, height, pad): self.size = width, height, pad
    def _repr_png_(self):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        width, height, pad = self.size
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\\x89PNG\\r\\n\\x1a\\n" + head + chunk(b"IDAT", bytes(pad)) + chunk(b"IEND", b"")
"""


@jail
@pytest.mark.parametrize(
    ("policy", "image", "said"),
    [
        (Policy(), "Image(100_000, 100_000, 9)", "100000 x 100000 pixels"),
        (Policy(display_pixels=50), "Image(10, 6, 9)", "10 x 6 pixels"),
        (Policy(display_bytes=2000), "Image(10, 6, 3000)", "3057 bytes, over the limit of 2000"),
        (Policy(displays_bytes=2000), "Image(10, 6, 3000)", "more than 2000 bytes"),
    ],
    ids=["bomb", "pixels", "bytes", "bytes-together"],
)
def test_a_picture_over_a_cap_is_left_out_with_a_note(policy: Policy, image: str, said: str):
    with open_session("jail", policy=policy) as session:
        run = session.execute(IMAGE + image)
        assert run.ok and run.displays == () and len(run.notes) == 1 and said in run.notes[0]
        assert run.to_json()["notes"] == list(run.notes)
        run = session.execute("Image(7, 7, 20)")
    assert [size_of(d.data) for d in run.displays] == [(7, 7)] and run.notes == ()


@jail
def test_the_cap_on_figures_is_kept_and_said():
    with open_session("jail", policy=Policy(displays=2)) as session:
        send = f"for _ in range(5): channel.sendall(frame(**{framed(png(3, 3))!r}))"
        run = session.execute(FORGE + send)
    assert run.ok and len(run.displays) == 2 and run.notes[0] == "figure 3 was left out: there are more than 2"


@jail
@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit(9)",
        "raise KeyboardInterrupt",
        "return None",
        "return 'text'",
        "return b'no image'",
        "return self",
    ],
)
def test_a_hostile_picture_costs_nothing_but_itself(body: str):
    with open_session("jail") as session:
        run = session.execute(f"class A:\n    def _repr_png_(self): {body}\n    def __repr__(self): return 'A'\nA()")
        assert run.ok and run.value == "A" and run.displays == ()
        assert session.execute("2").value == "2"


@jail
@pytest.mark.data
def test_images_of_pillow_and_figures_of_matplotlib_within_the_caps():
    with open_session("jail", policy=Policy(displays=3)) as session:
        run = session.execute("from PIL import Image\nImage.new('RGB', (30, 20))")
        assert [size_of(d.data) for d in run.displays] == [(30, 20)] and "PIL" in (run.value or "")
        run = session.execute(
            "import matplotlib.pyplot as plt\nplt.figure(figsize=(5000, 5000))\n"
            "plt.figure(); plt.title('$\\\\nothing$')\n"
            "for _ in range(4): plt.figure(figsize=(1, 1)); plt.plot([1, 2])\n'drawn'"
        )
        assert (run.status, run.value, len(run.displays)) == ("ok", "'drawn'", 3), run
        assert "500000 x 500000 pixels" in run.notes[0] and "could not be drawn" in run.notes[1]
        assert "more than 3" in run.notes[-1]
