"""An answer of `/v1/responses`, as events or whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from edgephi import DoneEvent, Event, Reply
from edgephi_serve.errors import ApiError
from edgephi_serve.reading.responses import ResponsesWork
from edgephi_serve.turns.jobs import Job
from edgephi_serve.wire.answers import RequestFigures
from edgephi_serve.wire.response_answers import (
    Incomplete,
    InputDetails,
    OutputDetails,
    ResponseAnswer,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseFailure,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseUsage,
    Status,
)
from edgephi_serve.wire.responses import TextConfig, TextFormat
from edgephi_serve.writing.chat import AnswerHead
from edgephi_serve.writing.replies import ReplyWriter, TokenBytes
from edgephi_serve.writing.response_items import ItemWriter
from edgephi_serve.writing.usage import measured, usage

_ENCODER = msgspec.json.Encoder()


class ResponsesWriter:
    """Turns the events of a request into its answer.

    Args:
        head: Of the answer.
        work: The request.
        token_bytes: See ReplyWriter.
    """

    def __init__(self, head: AnswerHead, work: ResponsesWork, token_bytes: TokenBytes) -> None:
        self._head = head
        self._id = f"resp_{secrets.token_hex(16)}"
        self._request = work.request
        wanted = token_bytes if work.chat.options.logprobs is not None else None
        self._reply = ReplyWriter(wanted, has_parallel_calls=work.chat.has_parallel_calls)
        self._items = ItemWriter()
        self._is_open = False

    @property
    def replies(self) -> list[Reply]:
        """The reply, once it is done."""
        return [] if self._reply.reply is None else [self._reply.reply]

    def has_enough(self, _: int) -> bool:
        """See ReplyWriter."""
        return self._reply.has_enough

    def note(self, _: int, event: Event) -> None:
        """An event of an answer that is given whole."""
        for _event in self._made(event):
            pass

    def chunks(self, _: int, event: Event, job: Job[Any]) -> Iterator[bytes]:
        """The server-sent events of an event."""
        yield from self._opening()
        for made in self._made(event):
            yield _encoded(made)
        if isinstance(event, DoneEvent):
            kind = ResponseCompleted if self._status == "completed" else ResponseIncomplete
            answer = self._answer(self._status, measured(event.reply, job))
            yield _encoded(kind(sequence_number=self._items.next_number(), response=answer))

    def end(self) -> Iterator[bytes]:
        """The end of a stream: its last event says so."""
        return iter(())

    def failure(self, error: ApiError) -> Iterator[bytes]:
        """The end of a stream that fails."""
        yield from self._opening()
        answer = self._answer("failed")
        answer.error = ResponseFailure(code=error.code or error.kind, message=error.message)
        yield _encoded(ResponseFailed(sequence_number=self._items.next_number(), response=answer))

    def whole(self, job: Job[Any]) -> bytes:
        """The answer in one piece."""
        return _ENCODER.encode(self._answer(self._status, measured(self.replies[0], job)))

    @property
    def _status(self) -> Status:
        return "incomplete" if self._reply.finish_reason == "length" else "completed"

    def _opening(self) -> Iterator[bytes]:
        if self._is_open:
            return
        self._is_open = True
        for kind in (ResponseCreated, ResponseInProgress):
            yield _encoded(kind(sequence_number=self._items.next_number(), response=self._answer("in_progress")))

    def _made(self, event: Event) -> Iterator[ResponseEvent]:
        for delta, logprobs in self._reply.deltas(event):
            if isinstance(delta.content, str):
                yield from self._items.add_text(delta.content, [] if logprobs is None else logprobs.content)
            for call in delta.tool_calls or ():
                yield from self._items.add_call(call)
        if isinstance(event, DoneEvent):
            last = self._reply.last_logprobs()
            is_cut = self._reply.finish_reason == "length"
            yield from self._items.end([] if last is None else last.content, is_cut=is_cut)

    def _answer(self, status: Status, figures: RequestFigures | None = None) -> ResponseAnswer:
        request = self._request
        return ResponseAnswer(
            id=self._id,
            created_at=self._head.created,
            status=status,
            incomplete_details=Incomplete() if status == "incomplete" else None,
            instructions=request.instructions,
            max_output_tokens=request.max_output_tokens,
            metadata=request.metadata or {},
            model=self._head.model,
            output=list(self._items.done),
            parallel_tool_calls=request.parallel_tool_calls is not False,
            temperature=request.temperature,
            text=TextConfig(format=(request.text and request.text.format) or TextFormat(type="text")),
            tool_choice=request.tool_choice or "auto",
            tools=request.tools or [],
            top_p=request.top_p,
            usage=self._usage(),
            edgephi=UNSET if figures is None else figures,
        )

    def _usage(self) -> ResponseUsage | None:
        if not self.replies:
            return None
        counts = usage(self.replies)
        return ResponseUsage(
            input_tokens=counts.prompt_tokens,
            input_tokens_details=InputDetails(**msgspec.structs.asdict(counts.prompt_tokens_details)),
            output_tokens=counts.completion_tokens,
            output_tokens_details=OutputDetails(),
            total_tokens=counts.total_tokens,
        )


def _encoded(event: ResponseEvent) -> bytes:
    kind = str(type(event).__struct_config__.tag)
    return b"event: " + kind.encode() + b"\ndata: " + _ENCODER.encode(event) + b"\n\n"
