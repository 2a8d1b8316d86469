"""One request's work in a thread of its own, whose events are awaited in the event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, TypeVar

from edgephi import Model, PreparedRequest, Request, SamplingOptions, Stage
from edgephi.base.cancellation import Stopped
from edgephi_serve.connections.bodies import ClientLeftError
from edgephi_serve.errors import ApiError, shutting_down, unavailable
from edgephi_serve.settings import Times
from edgephi_serve.turns.pace import Pace
from edgephi_serve.turns.preparing import Preparing, Unprepared
from edgephi_serve.turns.progress import Progress
from edgephi_serve.turns.queue import EndedWaitingError, TurnQueue
from edgephi_serve.turns.workers import Workers

T = TypeVar("T")
StopReason = Literal["client", "request_timeout", "queue_timeout", "drain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """How long a job may take.

    Attributes:
        queue_s: Until its first turn.
        turn_s: All its turns together.
        estimate_s: What it will probably take.
        holds_place: Whether it holds a place in the queue from its request's head to the end of its answer.
    """

    queue_s: float
    turn_s: float
    estimate_s: float = math.inf
    holds_place: bool = True

    @classmethod
    def of(cls, times: Times, estimate_s: float = math.inf) -> JobLimits:
        """Those of a reply."""
        return cls(queue_s=times.queue_s, turn_s=times.request_s, estimate_s=estimate_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The way of all requests to one model.

    Attributes:
        turns: Whose turn it is.
        preparing: Reads requests before their turn.
        pace: Of the requests so far.
        workers: Threads for them.
    """

    turns: TurnQueue
    preparing: Preparing
    pace: Pace
    workers: Workers = field(default_factory=Workers)


class Job(Generic[T]):
    """The work of one request.

    Args:
        model: Does it.
        admission: Of the model.
        limits: Of its time.

    Attributes:
        is_accepted: Whether all that can be refused has been.
        stopped_by: Why it was ended early.
        reply: Which of its replies is being made; set by the work.
        num_pauses: How often it has made room.
    """

    def __init__(self, model: Model, admission: Admission, limits: JobLimits) -> None:
        self.model = model
        self._turns, self._preparing, self._workers = admission.turns, admission.preparing, admission.workers
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._items: deque[T | Stage | BaseException | None] = deque()
        self._has_items = asyncio.Event()
        self._is_awaited = False
        self._has_ended = asyncio.Event()
        self._entered_s = self._beat_s = time.monotonic()
        self._began_s: float | None = None
        self._turn_s: float | None = None
        self._before_s = 0.0
        self._progress = Progress(admission.pace)
        self._is_pausing = False
        self._waiting: Stage | None = None
        self.is_accepted = False
        self.stopped_by: StopReason | None = None
        self.reply = 0
        self._enough: int | None = None
        self._delayed_s = 0.0
        self.num_pauses = 0

    @property
    def estimate_s(self) -> float:
        """See Claim."""
        return self._limits.estimate_s

    @property
    def holds_place(self) -> bool:
        """See JobLimits."""
        return self._limits.holds_place

    @property
    def delayed_s(self) -> float:
        """See Claim."""
        return self._delayed_s

    @property
    def queue_s(self) -> float:
        """Seconds until its own turn came, or until now."""
        return (self._began_s or time.monotonic()) - self._entered_s

    @property
    def held_s(self) -> float:
        """Seconds of all its turns."""
        return self._before_s + (0.0 if self._turn_s is None else time.monotonic() - self._turn_s)

    @property
    def is_running(self) -> bool:
        """Whether it has its turn."""
        return self._turn_s is not None

    @property
    def has_begun(self) -> bool:
        """Whether it has had a turn."""
        return self._began_s is not None

    @property
    def silent_s(self) -> float:
        """Seconds without a sign of work."""
        return time.monotonic() - self._beat_s

    @property
    def is_pausing(self) -> bool:
        """Whether the model was stopped to make room; `give_way` and the same request again go on with it."""
        return self._is_pausing and self.stopped_by is None

    def start(self, work: Callable[[Job[T]], None]) -> None:
        """Begin the work in a thread."""
        self._workers.run(partial(self._run, work))

    def stop(self, reason: StopReason) -> None:
        """End the work within a pass; the first reason counts."""
        self.stopped_by = self.stopped_by or reason

    def end_reply(self, reply: int) -> None:
        """Of this reply nothing more is needed; further ones are still made."""
        self._enough = reply

    async def next(self, timeout_s: float | None) -> T | Stage | None:
        """The next event or stage; None after the last.

        Raises:
            TimeoutError: Nothing came within the time.
            BaseException: What ended the work.
        """
        if not self._items:
            async with asyncio.timeout(timeout_s):
                await self._some()
        item = self._items.popleft()
        if isinstance(item, BaseException):
            try:
                raise item
            finally:
                del item  # its traceback holds this frame: else both, and the request's media, would wait for gc
        return item

    async def result(self) -> T:
        """The first event of work that emits one; stages are passed over.

        Raises:
            BaseException: What ended the work before it.
        """
        while True:
            item = await self.next(None)
            assert item is not None, "the work has ended without a result"
            if not isinstance(item, Stage):
                return item

    @property
    def has_next(self) -> bool:
        """Whether `next` will not wait."""
        return bool(self._items)

    async def ended(self, timeout_s: float | None = None) -> None:
        """Wait until its thread has left the model, or until the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_ended.wait()

    def is_wanted(self) -> bool:
        """Whether the model is wanted by others; what could as well be left undone makes room for them."""
        return self._turns.is_wanted(self)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn at the model and hold it for the block. Used in the job's thread, as what follows.

        Raises:
            ApiError: It was ended while it waited, and the client is to get an error.
            ClientLeftError: The client left while it waited.
        """
        self.is_accepted = True
        self._turns.enter(self)
        with self._entered():
            yield

    @contextmanager
    def prepared_turn(self, request: Request, options: SamplingOptions) -> Iterator[Request | PreparedRequest]:
        """As `turn`, with what the model is to be given: the request is read and checked before it waits.

        Raises:
            EdgeError: The request cannot be used.
            ApiError: As `turn`.
            ClientLeftError: As `turn`.
        """
        given = Unprepared(request=request, options=options, should_stop=self.should_stop, on_stage=self.on_stage)
        self._turns.enter(self)  # first, so that reading takes nobody's place
        try:
            with self._preparing.prepared(self.model, given) as ready:
                self.is_accepted = True
                self._progress.positions = ready.cost.prompt_tokens if isinstance(ready, PreparedRequest) else 0
                with self._entered():
                    yield ready
        except Stopped:
            raise self.refusal() or ClientLeftError() from None
        finally:
            self._turns.leave(self)

    def prepare(self, request: Request, options: SamplingOptions) -> PreparedRequest:
        """Read and check a request without a turn.

        Raises:
            EdgeError: The request cannot be used.
            ApiError: As `turn`.
            ClientLeftError: As `turn`.
        """
        try:
            given = Unprepared(request=request, options=options, should_stop=self.should_stop)
            return self._preparing.prepare(self.model, given)
        except Stopped:
            raise self.refusal() or ClientLeftError() from None

    def give_way(self) -> None:
        """Within a turn: let a short request go first.

        Raises:
            ApiError: As `turn`.
            ClientLeftError: As `turn`.
        """
        self.num_pauses += 1
        self._give_back()
        paused_s = time.monotonic()
        self._is_pausing = False
        self._progress.end_turn()
        self._turns.enter(self, is_first=True)
        self._take()
        self._delayed_s += time.monotonic() - paused_s

    def emit(self, item: T) -> None:
        """Hand an event to the event loop."""
        self._beat_s = time.monotonic()
        self._push(item)

    def should_stop(self) -> bool:
        """Called by the runtime, between passes and during long ones."""
        self._beat_s = now = time.monotonic()
        if self._began_s is None and now - self._entered_s > self._limits.queue_s:
            self.stop("queue_timeout")
        elif self.held_s > self._limits.turn_s:
            self.stop("request_timeout")
        return self._is_pausing or self.stopped_by is not None or self._enough == self.reply

    def on_stage(self, stage: Stage) -> None:
        """Called by the runtime. A request is paused between two crops, windows or passes, so that none is in vain.

        Stages of decoding are signs of work and no more: the tokens themselves show how far it is.
        """
        self._beat_s = time.monotonic()
        if self._progress.note(stage) and self._turns.should_pause(self, self._progress):
            self._is_pausing = True
        if stage.name != "decode":
            self._push(stage)

    def on_wait(self, before: int, at_first: int) -> None:
        """See Claim."""
        stage = Stage("queue", at_first - before, at_first)
        if stage != self._waiting:
            self._waiting = stage
            self._push(stage)

    def refusal(self) -> ApiError | None:
        """For a client that still listens though the work was ended early; None where a reply can be given."""
        if self.stopped_by == "drain":
            return shutting_down()
        if self.stopped_by == "queue_timeout":
            return unavailable("server_is_overloaded", "The request waited too long for its turn.")
        return None

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def _take(self) -> None:
        try:
            self._turns.take(self)
        except EndedWaitingError:
            raise self.refusal() or ClientLeftError() from None
        self._beat_s = self._turn_s = time.monotonic()
        self._began_s = self._began_s or self._turn_s

    def _give_back(self) -> None:
        self._before_s, self._turn_s = self.held_s, None
        self._turns.give_back(self)

    def _run(self, work: Callable[[Job[T]], None]) -> None:
        try:
            work(self)
        except BaseException as error:  # raised where the events are awaited
            self._push(error)
        self._push(None)
        self._call(self._has_ended.set)

    async def _some(self) -> None:
        while not self._items:
            self._has_items.clear()
            self._is_awaited = True
            if not self._items:  # else an item came before the thread could see that it is awaited
                await self._has_items.wait()

    def _push(self, item: T | Stage | BaseException | None) -> None:
        self._items.append(item)
        if self._is_awaited:  # waking the event loop costs a system call
            self._is_awaited = False
            self._call(self._has_items.set)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed, so nobody waits
            self.stop("drain")
