"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from edgephi_serve.connections.bodies import check_head
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.connections.uploads import KIND, read_form, spool
from edgephi_serve.endpoints.delivery import Delivery, cancelled_on_leaving
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError, as_api_error, invalid
from edgephi_serve.reading.transcription import Task, TranscriptEnd, TranscriptItem, read_transcription
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job, JobLimits
from edgephi_serve.wire.error import error_event
from edgephi_serve.writing.transcript import CONTENT_TYPES, TranscriptWriter


class Uploads:
    """Counts the recordings that are sent or transcribed at once, since each takes room on the disk."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more, for the block.

        Raises:
            ApiError: There are too many already.
        """
        if self._count >= self._most:
            message = f"{self._count} recordings are sent or transcribed already; try again later."
            raise ApiError(429, "rate_limit_error", "slow_down", message, headers={"Retry-After": "10"})
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class Transcriptions:
    """One of the two endpoints.

    Args:
        task: Which one.
        engine: Runs the work.
        uploads: Shared by both.
        metrics: Count seconds of recordings.
    """

    def __init__(self, task: Task, engine: Engine, uploads: Uploads, metrics: Metrics) -> None:
        self._task = task
        self._engine = engine
        self._uploads = uploads
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange, settings = Exchange.of(scope), self._engine.settings
        check_head(scope, KIND, settings.limits.upload_bytes)
        with self._engine.place(exchange.key), self._uploads.one(), spool() as file:
            form = await read_form(scope, receive, file, settings.limits)
            work = read_transcription(form, self._task)
            if settings.is_strict and work.ignored:
                raise invalid(f"Unknown or without effect: {', '.join(work.ignored)}.", param=work.ignored[0])
            exchange.ignored += work.ignored
            limits = JobLimits(queue_s=settings.times.queue_s, turn_s=math.inf)
            run = partial(work.run, descriptor=file.fileno())
            async with self._engine.job(run, limits) as job, cancelled_on_leaving(receive, job):
                delivery = Delivery(scope, send, job, settings.times)
                writer = TranscriptWriter(work, job.model.token_bytes)
                if work.is_stream:
                    await self._stream(delivery, job, writer)
                elif work.form in CONTENT_TYPES:
                    await self._text(delivery, job, writer, CONTENT_TYPES[work.form])
                else:
                    await self._whole(delivery, job, writer)

    async def _stream(self, delivery: Delivery, job: Job[TranscriptItem], writer: TranscriptWriter) -> None:
        try:
            async for item in delivery.events():
                await delivery.begin("text/event-stream; charset=utf-8")
                if isinstance(item, TranscriptEnd):
                    end = self._ended(delivery, job, item)
                else:
                    for event in writer.events(item):
                        await delivery.send(event)
        except Exception as error:
            if delivery.has_begun and job.stopped_by != "client":
                api = as_api_error(error)
                await delivery.fail(api, error_event(api))
            raise
        await delivery.end(writer.done(end))

    async def _text(self, delivery: Delivery, job: Job[TranscriptItem], writer: TranscriptWriter, kind: str) -> None:
        """Segments as they come. After a failure the body is cut, since these formats have no place for it."""
        async for item in delivery.plain_events():
            if isinstance(item, TranscriptEnd):
                end = self._ended(delivery, job, item)
            else:
                if not delivery.has_begun:
                    await delivery.begin(kind)
                    await delivery.send(writer.start())
                await delivery.send(writer.text(item))
        if end.transcript.error is not None:
            raise invalid(f"{end.transcript.error}.", param="file")
        if not delivery.has_begun:
            await delivery.begin(kind)
            await delivery.send(writer.start())
        await delivery.end()

    async def _whole(self, delivery: Delivery, job: Job[TranscriptItem], writer: TranscriptWriter) -> None:
        async for item in delivery.quiet_events():
            if isinstance(item, TranscriptEnd):
                end = self._ended(delivery, job, item)
            else:
                writer.note(item)
        await delivery.begin("application/json")
        await delivery.end(writer.whole(end))

    def _ended(self, delivery: Delivery, job: Job[TranscriptItem], end: TranscriptEnd) -> TranscriptEnd:
        """Note the end of a transcript that was not stopped, before the client reads it. Raises what stopped it."""
        transcript = end.transcript
        if not transcript.is_complete and transcript.error is None:
            delivery.check()
        delivery.exchange.facts |= {
            "audio_s": transcript.duration_s,
            "new": end.new_tokens,
            "queue_s": job.queue_s,
        }
        self._metrics.audio_s.inc(transcript.duration_s)
        return end
