"""Who shares a model: turns that are taken and given back, and calls that are cancelled for one caller alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import Event

import pytest
from loopback import wait_until

from agent.models.base import Completion, Message, Model
from agent.models.calls import Calls, calling_as
from agent.models.scripted import ScriptedModel
from agent.models.share import Share
from agent.models.turns import Turn, Turns

ASK = [Message("user", "Say something.")]
NEVER = Event()


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


# --- turns ---


def waiting(turns: Turns, turn: Turn, order: list[Turn]) -> threading.Thread:
    """A thread that waits for `turn`, behind those that wait already, and tells when it has it."""
    before = len(turns.waiting)
    thread = in_thread(lambda: order.append(turn) if turn.wait(NEVER) else None)
    assert wait_until(lambda: len(turns.waiting) > before)
    return thread


def test_there_are_so_many_turns_and_no_more() -> None:
    turns = Turns(2)
    first, second, third = turns.one(), turns.one(), turns.one()
    assert first.wait(NEVER) and second.wait(NEVER) and turns.free == 0
    order: list[Turn] = []
    thread = waiting(turns, third, order)
    assert not order
    first.end()
    thread.join(20)
    assert order == [third] and turns.free == 0


def test_who_needs_all_turns_is_not_passed_by() -> None:
    turns = Turns(2)
    first, second, everything, late = turns.one(), turns.one(), turns.all(), turns.one()
    assert first.wait(NEVER) and second.wait(NEVER)
    order: list[Turn] = []
    threads = [waiting(turns, everything, order), waiting(turns, late, order)]
    first.end()  # enough for the late one, which has to wait all the same
    second.end()
    threads[0].join(20)
    assert order == [everything] and turns.free == 0
    everything.end()
    threads[1].join(20)
    assert order == [everything, late]


def test_a_wait_ends_when_it_is_cancelled_and_others_go_on() -> None:
    turns = Turns(1)
    held, given_up, next_one, cancelled = turns.one(), turns.one(), turns.one(), Event()
    assert held.wait(NEVER)
    answers: list[bool] = []
    thread = in_thread(lambda: answers.append(given_up.wait(cancelled)))
    assert wait_until(lambda: len(turns.waiting) == 1)
    order: list[Turn] = []
    behind = waiting(turns, next_one, order)
    cancelled.set()
    thread.join(20)
    assert answers == [False] and not order
    held.end()
    behind.join(20)
    assert order == [next_one]


def test_a_turn_is_given_back_once_however_it_is_left() -> None:
    turns = Turns(2)
    with pytest.raises(KeyboardInterrupt), turns.one() as turn:
        assert turn.wait(NEVER)
        raise KeyboardInterrupt
    turn.end()
    turns.one().end()  # never waited for
    assert turns.free == 2


# --- calls of a caller ---


def test_cancelling_reaches_the_calls_of_the_caller_or_all() -> None:
    calls = Calls()
    with calls.begin() as nobodys, calling_as("a"), calls.begin() as a, calling_as("b"), calls.begin() as b:
        calls.cancel()
        assert (nobodys.is_set(), a.is_set(), b.is_set()) == (False, False, True)
        with calling_as("a"):
            calls.cancel()
        assert (nobodys.is_set(), a.is_set()) == (False, True)
        calls.cancel_all()
        assert nobodys.is_set()


def test_without_a_caller_all_calls_are_cancelled() -> None:
    calls = Calls()
    with calling_as("a"), calls.begin() as a:
        in_thread(calls.cancel).join(20)
        assert a.is_set()


def replying(model: Model, go_on: Event | None = None) -> tuple[threading.Thread, list[Completion]]:
    """A reply that has begun, and goes on when it may."""
    replies: list[Completion] = []
    begun = Event()

    def on_token(piece: str) -> None:
        begun.set()
        assert go_on is None or go_on.wait(20)

    thread = in_thread(lambda: replies.extend(model.complete(ASK, on_token=on_token)))
    assert begun.wait(20)
    return thread, replies


def test_a_share_is_cancelled_without_the_others() -> None:
    model, go_on = ScriptedModel(["word " * 600, "word " * 9], pause=0.02), Event()
    shares = Share(model), Share(model)
    (one, first), (other, second) = replying(shares[0]), replying(shares[1], go_on)
    shares[0].cancel()
    one.join(20)
    assert first[0].finish_reason == "cancelled" and not second
    go_on.set()
    other.join(20)
    assert (second[0].finish_reason, second[0].text) == ("stop", "word " * 9)


@pytest.mark.parametrize("stop", ["cancel", "close"])
def test_the_model_itself_cancels_all_and_a_closed_share_leaves_it_open(stop: str) -> None:
    model = ScriptedModel(["word " * 600] * 3, pause=0.02)
    share = Share(model)
    threads = [replying(share), replying(model)]
    (share.close if stop == "close" else model.cancel)()
    threads[0][0].join(20)
    assert threads[0][1][0].finish_reason == "cancelled"
    if stop == "close":
        assert threads[1][0].is_alive()
        model.cancel()
    threads[1][0].join(20)
    assert threads[1][1][0].finish_reason == "cancelled"
    assert share.complete(ASK, max_tokens=2)[0].text == "word word"
    assert share.profile is model.profile and share.count_tokens(ASK) == 2


def test_a_script_gives_each_reply_once_to_many_threads() -> None:
    replies = [str(n) for n in range(400)]
    model = ScriptedModel(replies)
    said: list[str] = []
    threads = [in_thread(lambda: said.extend(model.complete(ASK)[0].text for _ in range(100))) for _ in range(4)]
    for thread in threads:
        thread.join(20)
    assert sorted(said, key=int) == replies
