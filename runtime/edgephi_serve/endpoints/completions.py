"""`POST /v1/chat/completions` and `POST /v1/responses`: one way of answering, two forms."""

from __future__ import annotations

from edgephi import DoneEvent, Event, Reply
from edgephi_serve.connections.bodies import check_head, read_body
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.endpoints.delivery import Delivery, cancelled_on_leaving
from edgephi_serve.endpoints.forms import AnswerWriter, Form, ReadForm
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import as_api_error
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job, JobLimits
from edgephi_serve.writing.chat import AnswerHead

ChatJob = Job[tuple[int, Event]]


class Completions:
    """An endpoint.

    Args:
        read: Reads a body.
        engine: Runs the work.
        identity: What the model is called.
        metrics: Count replies.
    """

    def __init__(
        self,
        read: ReadForm,
        engine: Engine,
        identity: Identity,
        metrics: Metrics,
    ) -> None:
        self._read = read
        self._engine = engine
        self._identity = identity
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange, settings = Exchange.of(scope), self._engine.settings
        check_head(scope, "application/json", settings.limits.body_bytes)
        with self._engine.place(exchange.key):
            body = await read_body(scope, receive, settings.limits.body_bytes)
            form = self._read(body, settings, self._identity.names)
            del body
            work = form.work
            exchange.ignored += work.ignored
            limits = JobLimits.of(settings.times, self._engine.pace.estimate_s(work.size))
            async with self._engine.job(work.run, limits) as job, cancelled_on_leaving(receive, job):
                head = AnswerHead(model=self._identity.name, fingerprint=self._identity.fingerprint)
                writer = form.writer(head, job.model.token_bytes)
                delivery = Delivery(scope, send, job, settings.times)
                with form.own_names():
                    if work.is_stream:
                        await self._stream(delivery, job, writer, form)
                    else:
                        await self._whole(delivery, job, writer)
            self._note(exchange, writer.replies, job)

    async def _stream(self, delivery: Delivery, job: ChatJob, writer: AnswerWriter, form: Form) -> None:
        try:
            async for index, event in delivery.events():
                if isinstance(event, DoneEvent):
                    self._check_done(delivery, job, event)
                await delivery.begin("text/event-stream; charset=utf-8")
                for chunk in writer.chunks(index, event, job):
                    delivery.add(chunk)
                if writer.has_enough(index):
                    job.end_reply(index)
        except Exception as error:
            if not delivery.has_begun or job.stopped_by == "client":
                raise
            api = form.renamed(as_api_error(error))
            await delivery.fail(api, b"".join(writer.failure(api)))
            self._engine.note_failure(error)
            return
        await delivery.end(b"".join(writer.end()))

    async def _whole(self, delivery: Delivery, job: ChatJob, writer: AnswerWriter) -> None:
        async for index, event in delivery.quiet_events():
            if isinstance(event, DoneEvent):
                self._check_done(delivery, job, event)
            writer.note(index, event)
            if writer.has_enough(index):
                job.end_reply(index)
        await delivery.begin("application/json")
        await delivery.end(writer.whole(job))

    @staticmethod
    def _check_done(delivery: Delivery, job: ChatJob, event: DoneEvent) -> None:
        """Raise what ended a reply early, where the client is to get an error for it."""
        if event.reply.finish_reason == "cancelled" and job.stopped_by is not None:
            delivery.check()

    def _note(self, exchange: Exchange, replies: list[Reply], job: ChatJob) -> None:
        if not replies:
            return
        timing = replies[0].timing
        made = sum(reply.timing.new_tokens for reply in replies)
        exchange.facts |= {
            "prompt": timing.prompt_tokens, "image": timing.image_tokens, "audio": timing.audio_tokens,
            "cached": timing.cached_tokens, "new": made, "queue_s": job.queue_s, "encode_s": timing.encode_s,
            "prefill_s": timing.prefill_s, "decode_s": timing.decode_s,
        }  # fmt: skip
        if job.num_pauses:
            exchange.facts["pauses"] = job.num_pauses
        for reply in replies:
            self._engine.pace.note_reply(reply.timing)
        self._metrics.note_replies(replies, job)
