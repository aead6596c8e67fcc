"""The frames between host and worker: whatever a hostile worker sends is refused cheaply, or is a plain object."""

from __future__ import annotations

import itertools
import json
import os
import resource
import socket
import struct
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.worker import wire

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.text(), JSON, max_size=5)


def framed(body: bytes, size: int | None = None) -> bytes:
    return struct.pack("!I", len(body) if size is None else size) + body


def fed(*pieces: bytes, limit: int = wire.MAX_FRAME) -> list[dict[str, Any]]:
    reader = wire.FrameReader(limit)
    return [message for piece in pieces for message in reader.feed(piece)]


# -- whole frames -----------------------------------------------------------------------------------------------------


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message):
    assert fed(wire.encode(message)) == [message]


@given(st.lists(MESSAGES, max_size=4), st.data())
def test_frames_arrive_whole_however_they_were_cut(messages, data):
    stream = b"".join(map(wire.encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    assert fed(*(stream[a:b] for a, b in itertools.pairwise(edges))) == messages


# Streams in which frames, whole and broken, are common.
BODIES = st.one_of(
    MESSAGES.map(lambda message: json.dumps(message).encode()),
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\u", b"d800", b":", b",", b"1", b"e999", b"NaN"])).map(
        b"".join
    ),
)
FRAMES = st.builds(framed, BODIES, st.none() | st.sampled_from([0, 1, 2, 300, 1 << 31]))
STREAMS = st.lists(FRAMES | st.binary(max_size=8), max_size=5).map(b"".join)


def heard(pieces: list[bytes], limit: int, items: int) -> tuple[list[dict[str, Any]], str]:
    """The messages that come before an error, if one does; what the reader holds is looked at after each piece."""
    reader, messages = wire.FrameReader(limit, items), []
    try:
        for piece in pieces:
            for message in reader.feed(piece):
                messages.append(message)
            assert len(reader._buffer) <= limit + 4
    except wire.ProtocolError as error:
        return messages, str(error)
    return messages, ""


@given(STREAMS, st.lists(st.integers(0, 400), max_size=8), st.integers(0, 300), st.integers(0, 50))
@example(framed(b"{}") + framed(b"[]") + framed(b"{}"), [3, 5], 300, 50)
@example(framed(b'{"a":1,"a":[2]}') + framed(b'{"s":"\\ud800,,,,"}'), [4], 300, 3)
def test_any_stream_gives_the_same_however_it_was_cut(stream, cuts, limit, items):
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    whole = heard([stream], limit, items)
    assert heard(pieces, limit, items) == whole
    assert heard([stream[i : i + 1] for i in range(len(stream))], limit, items) == whole
    assert all(type(message) is dict for message in whole[0])


@given(st.lists(st.binary(max_size=64), max_size=6))
@example([b"\0\0\0\2{}", b"\0\0\0\2[]"])
@example([b"\0\0\0\0"])
@example([b"\xff\xff\xff\xff"])
@example([b"\0\0\0\4\xf0\x9f\x98"])
def test_any_bytes_are_objects_or_a_protocol_error(pieces):
    try:
        messages = fed(*pieces, limit=1 << 16)
    except wire.ProtocolError:
        return
    assert all(type(message) is dict for message in messages)


@given(st.binary(max_size=200))
def test_any_body_is_an_object_or_a_protocol_error(body):
    try:
        message = wire.decode(body)
    except wire.ProtocolError:
        return
    assert type(message) is dict and json.dumps(message)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"1", b'"x"', b"null", b"true", b"{", b'{"a":1}x', b"\xff\xfe", b"\0", b'{"a"', b"{}{}"),
        *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":[[NaN]]}'),
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":-' + b"9" * 100_000 + b"}",
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 1_000_000,
    ],
    ids=lambda body: f"{body[:12]!r}x{len(body)}",
)
def test_forged_frames_are_refused(body):
    with pytest.raises(wire.ProtocolError):
        fed(framed(body))


def test_numbers_out_of_range_stay_harmless():
    (message,) = fed(framed(b'{"b":-0.0,"c":1e-999,"d":-9223372036854775808}'))
    assert message["c"] == 0 and message["d"] == -(2**63)
    for number in (b"1e999", b"9" * 21, b"-" + b"9" * 20):
        with pytest.raises(wire.ProtocolError):
            fed(framed(b'{"a":' + number + b"}"))


def test_duplicate_keys_lone_surrogates_and_nul_are_plain_values():
    (message,) = fed(framed(b'{"a":1,"a":2,"s":"\\ud800","n":"\\u0000"}'))
    assert message == {"a": 2, "s": "\ud800", "n": "\0"}
    assert fed(wire.encode(message)) == [message]


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [wire.MAX_FRAME + 1, 1 << 31, 0xFFFFFFFF])
def test_a_large_frame_is_refused_by_its_header(size):
    with pytest.raises(wire.ProtocolError, match="limit"):
        fed(framed(b"", size))


def test_a_frame_of_the_largest_size_is_read():
    body = json.dumps({"a": "x" * (wire.MAX_FRAME - 8)}, separators=(",", ":")).encode()
    assert len(body) == wire.MAX_FRAME
    assert len(fed(framed(body))[0]["a"]) == wire.MAX_FRAME - 8


def test_half_a_frame_is_none():
    assert fed(b"\0", b"\0\0", b"\x02", b"{") == []


def test_a_frame_of_zero_bytes_is_no_object():
    with pytest.raises(wire.ProtocolError):
        fed(framed(b""))


@pytest.mark.parametrize("item", [b"[],", b"{},", b'"ab",', b'{"a":1},', b"1,"])
def test_many_items_cost_the_host_neither_time_nor_memory(item):
    count = (wire.MAX_FRAME - 100) // len(item)
    frame = framed(b'{"a":[' + item * count + b"1]}")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(wire.ProtocolError, match="items"):
        fed(frame)
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB: copies of the frame


def test_bytes_one_at_a_time_take_linear_time():
    stream = wire.encode({"a": "x" * 20_000}) * 3
    reader, began = wire.FrameReader(), time.monotonic()
    messages = [m for i in range(len(stream)) for m in reader.feed(stream[i : i + 1])]
    assert len(messages) == 3 and time.monotonic() - began < 5


# -- over a socket ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    one, two = socket.socketpair()
    with one, two:
        yield one, two


def test_a_message_travels_with_its_descriptors(pair):
    one, two = pair
    reader, writer = os.pipe()
    wire.send(one, {"op": "x"}, [writer])
    message, fds = wire.receive(two) or ({}, [])
    assert message == {"op": "x"} and len(fds) == 1
    os.write(fds[0], b"through")
    assert os.read(reader, 9) == b"through"
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_the_end_of_the_stream_is_none(pair):
    one, two = pair
    one.close()
    assert wire.receive(two) is None


@pytest.mark.parametrize(
    "stream", [b"\0\0\0\x05{}", b"\xff\xff\xff\xff", b"\0\0\0\x02[]", b"\0\0\0\x03{{{", b"\0\0\0\0"]
)
def test_a_cut_or_forged_stream_is_a_protocol_error(pair, stream):
    one, two = pair
    one.sendall(stream)
    one.close()
    with pytest.raises(wire.ProtocolError):
        wire.receive(two)


def test_a_large_message_is_sent_whole(pair):
    one, two = pair
    message = {"code": "é" * 500_000}
    thread = threading.Thread(target=wire.send, args=(one, message))
    thread.start()
    received = wire.receive(two)
    thread.join()
    assert received == (message, [])


@given(st.binary(max_size=300))
def test_receive_refuses_what_is_no_frame(stream):
    one, two = socket.socketpair()
    with one, two:
        one.sendall(stream)
        one.close()
        try:
            got = wire.receive(two)
        except wire.ProtocolError:
            return
        assert got is None or type(got[0]) is dict


def test_nesting_does_not_reach_the_end_of_the_stack_where_the_recursion_limit_was_raised():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        for body in (b'{"a":' + b"[" * 400_000, b'{"a":' * 100_000, b'{"a":"",' + b'"b":[' * 5_000):
            with pytest.raises(wire.ProtocolError):
                wire.decode(body)
    finally:
        sys.setrecursionlimit(limit)
    assert wire.decode(b'{"a":"' + b"[" * 10_000 + b'"}') == {"a": "[" * 10_000}
