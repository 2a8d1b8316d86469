"""The model behind the server: whether it is ready, who may enter its queue, and the jobs that run or wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar

from edgephi import ArtifactError, Model
from edgephi_serve.errors import ApiError, shutting_down, unavailable
from edgephi_serve.settings import Settings
from edgephi_serve.turns.jobs import Admission, Job, JobLimits
from edgephi_serve.turns.pace import Pace
from edgephi_serve.turns.preparing import Preparing
from edgephi_serve.turns.queue import TurnQueue

T = TypeVar("T")
State = Literal["loading", "ready", "damaged", "draining"]
#: openai-python gives up at once when it is asked to wait longer.
_LONGEST_RETRY_S = 120


class Engine:
    """Admits requests to the one model.

    Args:
        settings: Limits and times.
        shares_keys: Whether several keys are in use, so that one may take half of the queue at most.

    Attributes:
        state: `damaged` once a file of the model was found to be so.
        pace: Of the requests so far.
    """

    def __init__(self, settings: Settings, *, shares_keys: bool = False) -> None:
        self.settings = settings
        self.shares_keys = shares_keys
        self.state: State = "loading"
        self._model: Model | None = None
        self._places: Counter[str] = Counter()
        self._jobs: set[Job[Any]] = set()
        slice_s = math.inf if settings.times.slice_s is None else settings.times.slice_s
        self.pace = Pace()
        preparing = Preparing(settings.limits.prepared_bytes)
        self._admission = Admission(turns=TurnQueue(slice_s), preparing=preparing, pace=self.pace)
        self._open = asyncio.Event()
        self._open.set()
        self._dismissal = asyncio.Event()

    @property
    def dismissal(self) -> asyncio.Event:
        """Set once sessions that have begun by now must end: the server ends, or loads its model again."""
        return self._dismissal

    @property
    def model(self) -> Model:
        """The loaded model.

        Raises:
            ApiError: It is being loaded, or the server ends.
        """
        if self.state == "draining":
            raise shutting_down()
        if self._model is None:
            raise unavailable("model_loading", "The model is being loaded; try again in a few seconds.")
        return self._model

    @property
    def running(self) -> int:
        """Requests that have their turn."""
        return sum(job.is_running for job in self._jobs)

    @property
    def waiting(self) -> int:
        """Requests that hold a place and have no turn yet."""
        return self._places.total() - sum(job.is_running and job.holds_place for job in self._jobs)

    @property
    def is_stuck(self) -> bool:
        """Whether a running request has shown no sign of work for too long."""
        return any(job.is_running and job.silent_s > self.settings.times.stall_s for job in self._jobs)

    @property
    def health(self) -> tuple[int, str]:
        """A status and a word for it."""
        if self.state == "ready" and self.is_stuck:
            return 503, "stuck"
        return (200, "ok") if self.state == "ready" else (503, self.state)

    def become_ready(self, model: Model) -> None:
        """Answer with this model from now on."""
        self._model = model
        if self.state != "draining":
            self.state = "ready"

    @contextmanager
    def place(self, key: str) -> Iterator[None]:
        """Hold a place in the queue, from the head of a request to the end of its answer.

        Args:
            key: Name of the key that asks.

        Raises:
            ApiError: Too many wait; or the model is not there.
        """
        _ = self.model
        total, queue = self._places.total(), self.settings.limits.queue
        if total > queue or (self.shares_keys and self._places[key] > queue // 2):
            wait_s = min(max(math.ceil(self.pace.wait_s(total)), 1), _LONGEST_RETRY_S)
            raise ApiError(
                429,
                "rate_limit_error",
                "slow_down",
                f"{self.waiting} requests wait already; try again in about {wait_s} s.",
                headers={"Retry-After": str(wait_s)},
            )
        self._places[key] += 1
        try:
            yield
        finally:
            self._places[key] -= 1
            self._places += Counter()  # without zeros

    @asynccontextmanager
    async def job(self, work: Callable[[Job[T]], None], limits: JobLimits) -> AsyncIterator[Job[T]]:
        """Run work for the block; when the block is left, the work has ended and its turn is given back.

        Raises:
            ApiError: The server ends.
        """
        await self._open.wait()
        job: Job[T] = Job(self.model, self._admission, limits)
        self._jobs.add(job)
        try:
            job.start(work)
            yield job
        finally:
            job.stop("client")
            await asyncio.shield(self._after(job))

    async def _after(self, job: Job[Any]) -> None:
        try:
            await job.ended()
        finally:
            self._jobs.discard(job)
            if job.holds_place and job.has_begun:
                self.pace.note_turn(job.held_s)

    def note_failure(self, error: BaseException) -> None:
        """A request failed; a damaged file makes the server unhealthy from then on."""
        if isinstance(error, ArtifactError) and self.state == "ready":
            self.state = "damaged"

    async def replace(self, make: Callable[[], Model]) -> None:
        """Take another model once no request runs; those that come meanwhile wait.

        Raises:
            EdgeError: As `make`. The old model is closed by then, and no request can be answered.
        """
        self._open.clear()
        self._dismissal.set()
        self._dismissal = asyncio.Event()
        try:
            while self._jobs:
                await asyncio.sleep(0.02)
            old, self._model = self._model, None
            if old is not None:
                await asyncio.to_thread(old.close)
            self.become_ready(await asyncio.to_thread(make))
        except BaseException:
            self.state = "damaged"
            raise
        finally:
            self._open.set()

    async def drain(self) -> None:
        """End: refuse what waits, let what runs finish for a while, then stop it."""
        self.state = "draining"
        self._dismissal.set()
        for job in self._jobs:
            if not job.has_begun:
                job.stop("drain")
        ends_s = time.monotonic() + self.settings.times.drain_s
        while self._jobs and time.monotonic() < ends_s:
            await asyncio.sleep(0.02)
        self.stop_all()
        while self._jobs:
            await asyncio.sleep(0.02)

    def stop_all(self) -> None:
        """Stop what runs."""
        for job in self._jobs:
            job.stop("drain")

    def close(self) -> None:
        """Free the model."""
        if self._model is not None:
            self._model.close()
            self._model = None
