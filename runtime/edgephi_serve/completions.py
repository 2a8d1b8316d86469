"""`POST /v1/chat/completions` and `POST /v1/responses`: one way of answering, two forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from edgephi import CapacityError, ConfigError, DoneEvent, Event, Reply
from edgephi_serve.bodies import check_head, read_body
from edgephi_serve.delivery import Delivery, cancelled_on_leaving
from edgephi_serve.engine import Engine
from edgephi_serve.errors import ApiError, as_api_error
from edgephi_serve.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.identity import Identity
from edgephi_serve.jobs import Job, JobLimits
from edgephi_serve.metrics import Metrics
from edgephi_serve.reading.chat import ChatWork, read_chat
from edgephi_serve.reading.responses import read_responses
from edgephi_serve.settings import Settings
from edgephi_serve.writing.chat import AnswerHead, ChatWriter
from edgephi_serve.writing.replies import TokenBytes
from edgephi_serve.writing.responses import ResponsesWriter

ChatJob = Job[tuple[int, Event]]


class AnswerWriter(Protocol):
    """Turns the events of a request into its answer."""

    @property
    def replies(self) -> list[Reply]:
        """Those that are done."""

    def has_enough(self, index: int, /) -> bool:
        """Whether nothing more of a reply could still be given."""

    def note(self, index: int, event: Event, /) -> None:
        """An event of an answer that is given whole."""

    def chunks(self, index: int, event: Event, job: Job[Any], /) -> Iterator[bytes]:
        """The server-sent events of an event."""

    def end(self) -> Iterator[bytes]:
        """The end of a stream."""

    def failure(self, error: ApiError) -> Iterator[bytes]:
        """The end of a stream that fails."""

    def whole(self, job: Job[Any]) -> bytes:
        """The answer in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A request that was read, and how it is answered.

    Attributes:
        work: The request.
        writer: Makes the writer of its answer.
        renamed: A refusal with the names of its fields.
    """

    work: ChatWork
    writer: Callable[[AnswerHead, TokenBytes], AnswerWriter]
    renamed: Callable[[ApiError], ApiError] = lambda error: error


def chat_form(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> Form:
    """A request of chat.completions.

    Raises:
        EdgeError: It cannot be used.
        ApiError: Likewise.
    """
    work = read_chat(body, settings, model_names)
    return Form(work=work, writer=lambda head, token_bytes: ChatWriter(head, work, token_bytes))


def responses_form(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> Form:
    """A request of responses.

    Raises:
        ApiError: It cannot be used.
    """
    work = read_responses(body, settings, model_names)
    return Form(
        work=work.chat,
        writer=lambda head, token_bytes: ResponsesWriter(head, work, token_bytes),
        renamed=work.renamed,
    )


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
        read: Callable[[bytes, Settings, tuple[str, ...]], Form],
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
                try:
                    if work.is_stream:
                        await self._stream(delivery, job, writer, form.renamed)
                    else:
                        await self._whole(delivery, job, writer)
                except (ApiError, ConfigError, CapacityError) as error:
                    raise form.renamed(as_api_error(error)) from None
            self._note(exchange, writer.replies, job)

    async def _stream(
        self, delivery: Delivery, job: ChatJob, writer: AnswerWriter, renamed: Callable[[ApiError], ApiError]
    ) -> None:
        try:
            async for index, event in delivery.events():
                if isinstance(event, DoneEvent):
                    self._check_done(delivery, job, event)
                await delivery.begin("text/event-stream; charset=utf-8")
                for chunk in writer.chunks(index, event, job):
                    await delivery.send(chunk)
                if writer.has_enough(index):
                    job.end_reply(index)
        except Exception as error:
            if not delivery.has_begun or job.stopped_by in ("client", "reader"):
                raise
            api = renamed(as_api_error(error))
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
            "prompt": timing.prompt_tokens, "cached": timing.cached_tokens, "new": made, "queue_s": job.queue_s,
            "encode_s": timing.encode_s, "prefill_s": timing.prefill_s, "decode_s": timing.decode_s,
        }  # fmt: skip
        if job.num_pauses:
            exchange.facts["pauses"] = job.num_pauses
        for reply in replies:
            self._engine.pace.note_reply(reply.timing)
        self._metrics.note_replies(replies, job)
