"""One request's work in a thread of its own, whose events are awaited in the event loop.

A stream of the model stays in one thread from its first event to its last, since each thread waits for its own turn.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Generic, Literal, TypeVar

from edgephi import Model, Stage
from edgephi_serve.errors import ApiError, shutting_down, unavailable
from edgephi_serve.settings import Times

T = TypeVar("T")
StopReason = Literal["client", "reader", "request_timeout", "queue_timeout", "drain", "enough"]


class Job(Generic[T]):
    """The work of one request.

    Args:
        times: How long it may take.

    Attributes:
        stage: Where the work stands; None before it began.
        stopped_by: Why it was ended early.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[T | Stage | BaseException | None] = asyncio.Queue()
        self._has_ended = asyncio.Event()
        self._entered_s = self._beat_s = time.monotonic()
        self._began_s: float | None = None
        self.stage: Stage | None = None
        self.stopped_by: StopReason | None = None

    @property
    def queue_s(self) -> float:
        """Seconds until its own turn came, or until now."""
        return (self._began_s or time.monotonic()) - self._entered_s

    @property
    def held_s(self) -> float:
        """Seconds since its turn came."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    @property
    def is_running(self) -> bool:
        """Whether it has its turn."""
        return self._began_s is not None and not self._has_ended.is_set()

    @property
    def silent_s(self) -> float:
        """Seconds without a sign of work."""
        return time.monotonic() - self._beat_s

    def start(self, model: Model, work: Callable[[Model, Job[T]], Generator[T, None, None]]) -> None:
        """Begin the work."""
        threading.Thread(target=self._run, args=(model, work), name="edgephi-request", daemon=True).start()

    def stop(self, reason: StopReason) -> None:
        """End the work within a pass; the first reason counts."""
        self.stopped_by = self.stopped_by or reason

    async def next(self, timeout_s: float) -> T | Stage | None:
        """The next event or stage; None after the last.

        Raises:
            TimeoutError: Nothing came within the time.
            BaseException: What ended the work.
        """
        item = await asyncio.wait_for(self._items.get(), timeout_s)
        if isinstance(item, BaseException):
            raise item
        return item

    async def ended(self) -> None:
        """Wait until its thread has left the model."""
        await self._has_ended.wait()

    def should_stop(self) -> bool:
        """Asked by the runtime, between passes and during long ones."""
        now = time.monotonic()
        if self._began_s is None:
            if now - self._entered_s > self._times.queue_s:
                self.stop("queue_timeout")
        else:
            self._beat_s = now
            if now - self._began_s > self._times.request_s:
                self.stop("request_timeout")
        return self.stopped_by is not None

    def on_stage(self, stage: Stage) -> None:
        """Called by the runtime."""
        self._beat_s = time.monotonic()
        if stage.name != "queue" and self._began_s is None:
            self._began_s = self._beat_s
        self.stage = stage
        self._push(stage)

    def refusal(self) -> ApiError | None:
        """What a client is told that still listens though its work was ended early; None where a reply can be given."""
        if self.stopped_by == "drain":
            return shutting_down()
        if self.stopped_by == "queue_timeout":
            return unavailable("server_is_overloaded", "The request waited too long for its turn.")
        return None

    def _run(self, model: Model, work: Callable[[Model, Job[T]], Generator[T, None, None]]) -> None:
        try:
            with closing(work(model, self)) as items:
                for item in items:
                    self._beat_s = time.monotonic()
                    if self._began_s is None:
                        self._began_s = self._beat_s
                    self._push(item)
        except BaseException as error:  # raised where the events are awaited
            self._push(error)
        self._push(None)
        self._call(self._has_ended.set)

    def _push(self, item: T | Stage | BaseException | None) -> None:
        self._call(self._items.put_nowait, item)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed, so nobody waits
            self.stop("drain")
