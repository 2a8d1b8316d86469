"""`AsyncModel`: a model for asyncio programs. Each request runs in a thread of its own; the event loop never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from edgephi.audio.decoding import AudioSource
from edgephi.base.cancellation import never
from edgephi.base.errors import EdgeError
from edgephi.base.stage import OnStage, ignore_stage
from edgephi.generation.reply import DoneEvent, Event, Reply
from edgephi.generation.sampler import SamplingOptions
from edgephi.model import Model
from edgephi.model_options import ModelFields, ModelOptions
from edgephi.prepared_request import PreparedRequest
from edgephi.prompt.messages import Messages
from edgephi.request import Request, RequestFields
from edgephi.transcription.transcript import Transcript

T = TypeVar("T")


class AsyncModel:
    """A loaded model whose requests are awaited. Make one with `AsyncModel.load`, or around a `Model`.

    Requests are served one at a time in the order they came, with those of the `Model`'s other users. A task that is
    cancelled ends its request within a step, queued or running.

    Args:
        model: What answers.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    async def load(
        cls,
        path: str | Path,
        options: ModelOptions | None = None,
        *,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[ModelFields],
    ) -> Self:
        """Open a model folder; arguments and errors are those of `Model.load`. `on_stage` is called in a thread."""
        load = partial(Model.load, path, options, on_stage=on_stage, **fields)
        loading = asyncio.ensure_future(asyncio.to_thread(load))
        try:
            return cls(await asyncio.shield(loading))
        except asyncio.CancelledError:
            loading.add_done_callback(_close_loaded)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As `Model.close`."""
        self.model.close()

    async def generate(
        self,
        request: Messages | Request | PreparedRequest,
        *,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[RequestFields],
    ) -> Reply:
        """Answer a conversation; arguments and errors are those of `Model.stream`.

        Raises:
            EdgeError: The stream ended without a reply.
        """
        stream = self.stream(request, options=options, should_stop=should_stop, on_stage=on_stage, **fields)
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    return event.reply
        raise EdgeError("the generation ended without a reply")

    async def stream(
        self,
        request: Messages | Request | PreparedRequest,
        *,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[RequestFields],
    ) -> AsyncGenerator[Event, None]:
        """Answer a conversation with an event for every token; arguments and errors are those of `Model.stream`.

        The callbacks are called in the request's thread.

        The request begins when the result is first awaited, and goes on while nobody awaits it. Close the result, as
        `contextlib.aclosing` does, to end it early.
        """
        worker = _Worker(
            lambda is_left: self.model.stream(
                request,
                options=options,
                should_stop=lambda: is_left() or should_stop(),
                on_stage=on_stage,
                **fields,
            )
        )
        worker.start()
        try:
            while (event := await worker.next()) is not None:
                yield event
        finally:
            await worker.end()

    async def prepare(self, request: Messages | Request, **options: Any) -> PreparedRequest:
        """Read and check a request; arguments and errors are those of `Model.prepare`. Cancelling ends it soon."""
        return await _beside(self.model.prepare, request, options)

    async def transcribe(self, source: AudioSource, **options: Any) -> Transcript:
        """Write down a recording; arguments and errors are those of `Model.transcribe`. Cancelling ends it soon."""
        return await _beside(self.model.transcribe, source, options)


async def _beside(call: Callable[..., T], given: object, options: dict[str, Any]) -> T:
    """The result of a call in a thread of its own, which ends soon after this task is cancelled."""
    is_left, theirs = threading.Event(), options.pop("should_stop", never)
    work = asyncio.ensure_future(
        asyncio.to_thread(call, given, **options, should_stop=lambda: is_left.is_set() or theirs())
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        is_left.set()
        await asyncio.wait([work])
        raise


class _Worker:
    """A thread that iterates one stream and hands its events to the event loop.

    Args:
        open_stream: Opens the stream, which ends when the function that it is given returns True.
    """

    def __init__(self, open_stream: Callable[[Callable[[], bool]], Iterator[Event]]) -> None:
        self._open_stream = open_stream
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._is_left = threading.Event()
        self._is_over = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="edgephi-request", daemon=True).start()

    async def next(self) -> Event | None:
        """The next event; None after the last. Raises what ended the stream."""
        item = await self._events.get()
        self._is_over = item is None
        if isinstance(item, BaseException):
            raise item
        return item

    async def end(self) -> None:
        """Make the thread stop, and wait until it has given its turn back."""
        self._is_left.set()
        while not self._is_over:
            self._is_over = await self._events.get() is None

    def _run(self) -> None:
        try:
            for event in self._open_stream(self._is_left.is_set):
                self._hand_over(event)
        except BaseException as error:  # raised where the stream is awaited
            self._hand_over(error)
        self._hand_over(None)

    def _hand_over(self, item: Event | BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, item)
        except RuntimeError:  # the loop was closed, so nobody waits
            self._is_left.set()


def _close_loaded(loading: asyncio.Future[Model]) -> None:
    """The model came after its task was cancelled."""
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()
