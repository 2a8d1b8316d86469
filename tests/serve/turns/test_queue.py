"""Who is served next: a long request makes room for a short one, but not at once, for anyone, or for ever."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import pytest

from edgephi_serve.turns.queue import EndedWaitingError, TurnQueue


@dataclass(frozen=True)
class _Remaining:
    """Ten seconds of work, that can be paused again after `pass_s`."""

    pass_s: float = 0.0

    def left_s(self) -> float:
        return 10.0

    def next_s(self) -> float:
        return self.pass_s


@dataclass(eq=False)
class _Request:
    """A claim that notes where it stood in the line, and holds its turn until `may_end` is set."""

    estimate_s: float = math.inf
    held_s: float = 20.0
    delayed_s: float = 0.0
    waits: list[tuple[int, int]] = field(default_factory=list)
    has_ended: bool = False
    may_end: threading.Event = field(default_factory=threading.Event)

    def should_stop(self) -> bool:
        return self.has_ended

    def on_wait(self, before: int, at_first: int) -> None:
        self.waits.append((before, at_first))


class _Line:
    """Requests that wait in threads of their own."""

    def __init__(self, turns: TurnQueue) -> None:
        self._turns = turns
        self.order: list[_Request] = []
        self.threads: list[threading.Thread] = []

    def add(self, request: _Request, *, is_first: bool = False) -> None:
        def take() -> None:
            try:
                self._turns.take(request)
            except EndedWaitingError:
                return
            self.order.append(request)
            assert request.may_end.wait(10)
            self._turns.give_back(request)

        self._turns.enter(request, is_first=is_first)
        self.threads.append(threading.Thread(target=take, daemon=True))
        self.threads[-1].start()
        while not request.waits:  # in the line
            self.threads[-1].join(0.005)

    def join(self, *requests: _Request) -> list[_Request]:
        for request in requests:
            request.may_end.set()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        return self.order


@pytest.mark.parametrize(
    ("slice_s", "pass_s", "delayed_s", "estimate_s", "is_paused"),
    [
        (0.0, 0, 0, 0.1, True),
        (60.0, 0, 0, 0.1, False),  # its turn has only begun
        (60.0, 50, 0, 0.1, False),
        (60.0, 60, 0, 0.1, True),  # its next pass would end after the slice
        (0.0, 0, 20.0, 0.1, True),
        (0.0, 0, 20.1, 0.1, False),  # it has waited for others longer than it was served
        (0.0, 0, 0, 7.4, True),  # less than a quarter of the 20 s that it was served and of the 10 s that are left
        (0.0, 0, 0, 7.5, False),
        (0.0, 0, 0, math.inf, False),
    ],
)
def test_a_long_request_makes_room_by_these_rules(slice_s, pass_s, delayed_s, estimate_s, is_paused):
    turns, long = TurnQueue(slice_s), _Request(delayed_s=delayed_s)
    turns.enter(long)
    turns.take(long)
    line = _Line(turns)
    assert not turns.should_pause(long, _Remaining(pass_s))  # nobody waits
    waiting = _Request(estimate_s=estimate_s)
    line.add(waiting)
    assert turns.should_pause(long, _Remaining(pass_s)) is is_paused
    turns.give_back(long)
    assert line.join(waiting) == [waiting]


def test_the_short_request_comes_next_then_the_one_that_made_room_then_the_others():
    turns, long = TurnQueue(0.0), _Request()
    turns.enter(long)
    turns.take(long)
    line = _Line(turns)
    others, short = [_Request(), _Request()], _Request(estimate_s=0.1)
    for request in (*others, short):
        line.add(request)
    assert turns.should_pause(long, _Remaining())
    turns.give_back(long)
    line.add(long, is_first=True)
    assert line.join(short, long, *others) == [short, long, *others]


def test_a_request_that_has_ended_leaves_the_line():
    turns, long, gone, last = TurnQueue(60.0), _Request(), _Request(), _Request()
    turns.enter(long)
    turns.take(long)
    line = _Line(turns)
    line.add(gone)
    line.add(last)
    assert (gone.waits[0], last.waits[0]) == ((1, 1), (2, 2))
    gone.has_ended = True
    line.threads[0].join(10)
    turns.give_back(long)
    assert line.join(last) == [last]


def test_the_model_is_wanted_by_others_that_have_their_turn_or_wait():
    """Partial captions are made only while it is not."""
    turns, own, other = TurnQueue(60.0), _Request(), _Request()
    assert not turns.is_wanted(own)
    turns.enter(own)
    assert not turns.is_wanted(own)
    turns.take(own)
    assert not turns.is_wanted(own)
    turns.enter(other)
    assert turns.is_wanted(own)
    turns.give_back(own)
    assert turns.is_wanted(own)
    turns.take(other)
    assert turns.is_wanted(own)
    turns.give_back(other)
    assert not turns.is_wanted(own)
