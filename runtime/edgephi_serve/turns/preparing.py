"""Requests are read and checked before their turn: one at a time, and no more media are kept than a limit allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgephi import Model, PreparedRequest, Request, SamplingOptions, Stage
from edgephi.base.cancellation import ask, never
from edgephi.base.stage import ignore_stage

_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprepared:
    """A request with its options, and how its preparation is stopped and observed."""

    request: Request
    options: SamplingOptions
    should_stop: Callable[[], bool] = never
    on_stage: Callable[[Stage], None] = ignore_stage


class Preparing:
    """Prepares requests for a model, each before its turn.

    Args:
        most_bytes: Most memory that the media of prepared requests take together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._one, self._counting = threading.Lock(), threading.Lock()
        self._held_bytes = 0

    def prepare(self, model: Model, given: Unprepared) -> PreparedRequest:
        """Read and check a request, once no other is read.

        Raises:
            EdgeError: It cannot be used.
            Stopped: It was stopped.
        """
        while not self._one.acquire(timeout=_POLL_S):
            ask(given.should_stop)
        try:
            return model.prepare(
                given.request, options=given.options, should_stop=given.should_stop, on_stage=given.on_stage
            )
        finally:
            self._one.release()

    @contextmanager
    def prepared(self, model: Model, given: Unprepared) -> Iterator[Request | PreparedRequest]:
        """Read and check a request, and keep its media for the block; where there is no room, the request itself.

        Raises:
            EdgeError: It cannot be used.
            Stopped: It was stopped.
        """
        ready = self.prepare(model, given)
        size = ready.media_bytes
        with self._counting:
            fits = self._held_bytes + size <= self._most_bytes
            self._held_bytes += size * fits
        try:
            yield ready if fits else given.request
        finally:
            with self._counting:
                self._held_bytes -= size * fits
