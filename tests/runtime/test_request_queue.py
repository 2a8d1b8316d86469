"""Whoever comes first is served first, nobody waits for ever, and nobody who gave up stands in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edgephi.base.cancellation import Stopped, never
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.request_queue import RequestQueue
from support.waiting import until


class Visitor(threading.Thread):
    """Takes one turn, and tells when."""

    def __init__(
        self, queue: RequestQueue, served: list[str], name: str, should_stop: Callable[[], bool] = never
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._queue, self._served, self._should_stop = queue, served, should_stop
        self.error: BaseException | None = None
        before = len(queue._queue)
        self.start()
        until(lambda: len(queue._queue) > before or not self.is_alive())

    def run(self) -> None:
        try:
            with self._queue.enter(self._should_stop):
                self._served.append(self.name)
        except BaseException as error:
            self.error = error


def test_queue_come_in_the_order_of_arrival():
    queue, served = RequestQueue(10), []
    with queue.enter():
        visitors = [Visitor(queue, served, name) for name in "abcdefgh"]
        assert not served
    for visitor in visitors:
        visitor.join(10)
    assert served == list("abcdefgh")


def test_a_full_queue_refuses_and_keeps_nothing_of_the_refused():
    queue, served = RequestQueue(2), []
    with queue.enter():
        visitors = [Visitor(queue, served, name) for name in "abc"]
        visitors[2].join(10)
        assert isinstance(visitors[2].error, CapacityError)
        assert str(visitors[2].error).startswith("2 requests wait for this model already; try again later")
    for visitor in visitors:
        visitor.join(10)
    assert served == ["a", "b"]
    with queue.enter():
        pass


def test_no_queue_at_all_still_serves_one_at_a_time():
    queue, served = RequestQueue(0), []
    with queue.enter():
        visitor = Visitor(queue, served, "a")
        visitor.join(10)
    assert isinstance(visitor.error, CapacityError)
    assert visitor.error.reason == "queue"
    with queue.enter():
        pass


def test_one_who_gives_up_while_waiting_is_skipped():
    queue, served, stop = RequestQueue(10), [], threading.Event()
    with queue.enter():
        first = Visitor(queue, served, "a")
        second = Visitor(queue, served, "b", stop.is_set)
        third = Visitor(queue, served, "c")
        stop.set()
        second.join(10)
        assert isinstance(second.error, Stopped)
        assert not served
    for visitor in (first, third):
        visitor.join(10)
    assert served == ["a", "c"]


def test_a_thread_that_would_wait_for_itself_is_refused():
    queue = RequestQueue(10)
    with queue.enter():
        with pytest.raises(ConfigError, match="in the midst of a request of this model"), queue.enter():
            pass
        assert len(queue._queue) == 1
    with queue.enter():
        pass


def test_a_turn_can_be_given_back_by_another_thread():
    """A server may close a stream elsewhere than where it was begun."""
    queue = RequestQueue(10)
    turn = queue.enter()
    turn.__enter__()
    closer = threading.Thread(target=turn.__exit__, args=(None, None, None))
    closer.start()
    closer.join(10)
    with queue.enter():
        pass


def test_a_turn_given_back_in_the_midst_of_the_queues_own_work_does_not_lock_up():
    """A forgotten stream is closed by the garbage collector, wherever the thread happens to be."""
    queue = RequestQueue(10)
    turn = queue.enter()
    turn.__enter__()
    with queue._changed:
        turn.__exit__(None, None, None)
    with queue.enter():
        pass
