"""The queue of requests before a model: one is served at a time, in the order they came.

A stream keeps its turn between its events, and whoever iterates it may do so in any thread. So a thread that waits for
its turn could be the very one that would have gone on with the stream before it, in a pool with fewer threads than
clients or in a program with one thread. Therefore a waiting thread iterates the first stream itself if nobody else
does: the events it makes are kept for that stream's reader. So every request is served, however few threads there are.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, TypeVar

from edgephi.base.cancellation import ask, never
from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.stage import StageReporter

T = TypeVar("T")

_POLL_S = 0.02
#: A reader that comes back within this goes on with its stream itself.
_GRACE_S = 0.1


class _Ticket:
    """A request in the queue.

    Attributes:
        steps: Makes its events; None for a request that its thread serves at once.
        events: Made and not read yet.
        error: What ended the steps, not raised yet.
        runner: The thread that works on it now; None while it waits, or between two steps.
        is_over: No step is left.
        is_left: Nobody will read more of it.
        is_helped: Its last step was made by a thread that waits for its own turn.
        idle_since_s: When its last step ended; infinite before the first.
    """

    def __init__(self, steps: Generator[Any, None, None] | None = None) -> None:
        self.steps = steps
        self.events: deque[Any] = deque()
        self.error: BaseException | None = None
        self.runner: int | None = None
        self.is_over = self.is_left = self.is_helped = False
        self.idle_since_s = math.inf

    def needs_help(self) -> bool:
        """Whether its reader has gone away for a while, or a helper is at it anyway."""
        if self.steps is None or self.runner is not None or self.is_over or self.is_left:
            return False
        return self.is_helped or time.monotonic() - self.idle_since_s > _GRACE_S


class RequestQueue:
    """A fair, bounded queue.

    Args:
        max_waiting: The upper limit of requests that wait while another is served.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        # Reentrant: an abandoned stream may be collected, and so give its turn back, while this thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[_Ticket] = deque()  # the one being served first

    @contextmanager
    def enter(self, should_stop: Callable[[], bool] = never, stages: StageReporter | None = None) -> Iterator[None]:
        """Wait for a turn and hold it, for a request that this thread serves at once.

        Args:
            should_stop: Called while waiting, some 50 times a second.
            stages: Notified of every request that is done before this one.

        Raises:
            CapacityError: Too many wait already.
            ConfigError: This thread is in the midst of a request: it would wait for itself.
            Stopped: `should_stop` returned True before the turn came.
        """
        ticket = _Ticket()
        self._enter(ticket)
        try:
            self._wait(ticket, should_stop, stages or StageReporter())
            ticket.runner = threading.get_ident()
            yield
        finally:
            self._leave(ticket)

    def stream(
        self,
        steps: Generator[T, None, None],
        should_stop: Callable[[], bool] = never,
        stages: StageReporter | None = None,
    ) -> Generator[T, None, None]:
        """Wait for a turn and make the events of `steps` within it. The turn ends with the last, read or not.

        Args:
            steps: Run by the thread that asks for the next event, or by one that waits for its own turn; never by two
                at once. Closed when this is.
            should_stop: Called while waiting, some 50 times a second.
            stages: Notified of every request that is done before this one.

        Raises:
            CapacityError: Too many wait already.
            ConfigError: This thread is in the midst of a request: it would wait for itself.
            Stopped: `should_stop` returned True before the turn came.
            BaseException: Raised by `steps`.
        """
        ticket = _Ticket(steps)
        self._enter(ticket)
        try:
            self._wait(ticket, should_stop, stages or StageReporter())
            while self._is_ready(ticket):
                yield ticket.events.popleft()
        finally:
            self._abandon(ticket)

    def _enter(self, ticket: _Ticket) -> None:
        with self._changed:
            if self._queue and self._queue[0].runner == threading.get_ident():
                raise ConfigError(
                    "this thread is in the midst of a request of this model, so another would wait for itself; "
                    "ask outside of callbacks"
                )
            if len(self._queue) > self._max_waiting:
                raise CapacityError(
                    f"{self._max_waiting:,} requests wait for this model already; try again later or raise max_queue",
                    reason="queue",
                )
            self._queue.append(ticket)

    def _wait(self, ticket: _Ticket, should_stop: Callable[[], bool], stages: StageReporter) -> None:
        with self._changed:
            most = self._queue.index(ticket)
        while True:
            with self._changed:
                first = self._queue[0]
                if first is ticket:
                    return
                stages.report("queue", most - self._queue.index(ticket), most)
                is_helper = first.needs_help()
                if not is_helper:
                    self._changed.wait(_POLL_S)
            if is_helper:
                self._help(first)
            ask(should_stop)

    def _help(self, ticket: _Ticket) -> None:
        """Make a step of another's stream, unless somebody is at it by now."""
        with self._changed:
            if not ticket.needs_help():
                return
            ticket.runner, ticket.is_helped = threading.get_ident(), True
        try:
            self._step(ticket, is_helper=True)
        finally:
            with self._changed:
                if ticket.runner == threading.get_ident():  # interrupted before the step
                    ticket.runner = None

    def _is_ready(self, ticket: _Ticket) -> bool:
        """Make sure that there is a next event, unless there will be none. Raises what ended the steps."""
        while True:
            with self._changed:
                if ticket.events:
                    return True
                if ticket.is_over:
                    error, ticket.error = ticket.error, None
                    break
                is_mine = ticket.runner is None
                if is_mine:
                    ticket.runner, ticket.is_helped = threading.get_ident(), False
                else:
                    self._changed.wait(_POLL_S)
            if is_mine:
                self._step(ticket)
        try:
            if error is not None:
                raise error
            return False
        finally:
            del error  # it holds this frame

    def _step(self, ticket: _Ticket, *, is_helper: bool = False) -> None:
        """Make one event. The caller has become the ticket's runner. A helper's interruption is raised here too."""
        events: list[Any] = []
        error: BaseException | None = None
        try:
            if ticket.steps is not None:
                events.append(next(ticket.steps))
        except StopIteration:
            pass
        except BaseException as raised:  # raised where the stream is read
            error = raised
        is_interrupted = is_helper and error is not None and not isinstance(error, Exception)
        with self._changed:
            ticket.events += events
            ticket.error = EdgeError("the program was interrupted in this reply") if is_interrupted else error
            ticket.is_over = not events
            ticket.runner, ticket.idle_since_s = None, time.monotonic()
            if ticket.is_over:
                self._leave(ticket)
            self._changed.notify_all()
            is_forsaken = ticket.is_left and not ticket.is_over
        if is_forsaken:
            self._abandon(ticket)
        if is_interrupted and error is not None:
            raise error

    def _abandon(self, ticket: _Ticket) -> None:
        """Nobody reads more. The turn ends now, or after the step that another thread is making."""
        with self._changed:
            ticket.is_left = True
            is_mine = ticket.runner in (None, threading.get_ident())
            if not is_mine or (ticket.steps is not None and getgeneratorstate(ticket.steps) == GEN_RUNNING):
                return
            ticket.runner = threading.get_ident()
        try:
            if ticket.steps is not None:
                ticket.steps.close()
        finally:
            ticket.is_over = True
            self._leave(ticket)

    def _leave(self, ticket: _Ticket) -> None:
        with self._changed:
            ticket.runner = None
            with suppress(ValueError):  # it has left when its last step ended
                self._queue.remove(ticket)
            self._changed.notify_all()
