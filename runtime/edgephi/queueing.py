"""Turns at a model: one request at a time, in the order they came.

Owns who waits, how many may, and that waiting can be cancelled. Knows nothing about requests.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgephi.errors import CapacityError, ConfigError
from edgephi.stage import Stages
from edgephi.stopping import ask, never

_POLL_S = 0.02


class Turns:
    """A fair, bounded queue.

    Args:
        max_waiting: Most requests that may wait while another is served.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        # Reentrant: a forgotten stream may be collected, and so give its turn back, while this thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[object] = deque()  # the one being served first
        self._owner: int | None = None

    @contextmanager
    def taken(self, should_stop: Callable[[], bool] = never, stages: Stages | None = None) -> Iterator[None]:
        """Wait for a turn and hold it.

        Args:
            should_stop: Asked while waiting, some 50 times a second.
            stages: Told of every request that is done with before this one.

        Raises:
            CapacityError: Too many wait already.
            ConfigError: This thread holds the turn: it would wait for itself.
            Stopped: `should_stop` said so before the turn came.
        """
        ticket = object()
        self._enter(ticket)
        try:
            self._wait(ticket, should_stop, stages or Stages())
            yield
        finally:
            self._leave(ticket)

    def _enter(self, ticket: object) -> None:
        with self._changed:
            if self._queue and self._owner == threading.get_ident():
                raise ConfigError("a stream of this model is still open in this thread; finish or close it first")
            if len(self._queue) > self._max_waiting:
                raise CapacityError(
                    f"{self._max_waiting:,} requests wait for this model already; try again later or raise max_queue"
                )
            self._queue.append(ticket)

    def _wait(self, ticket: object, should_stop: Callable[[], bool], stages: Stages) -> None:
        with self._changed:
            most = self._queue.index(ticket)
            while self._queue[0] is not ticket:
                stages.tell("queue", most - self._queue.index(ticket), most)
                self._changed.wait(_POLL_S)
                ask(should_stop)
            self._owner = threading.get_ident()

    def _leave(self, ticket: object) -> None:
        with self._changed:
            if self._queue[0] is ticket:
                self._owner = None
            self._queue.remove(ticket)
            self._changed.notify_all()
