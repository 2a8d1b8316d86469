"""A chat answer, in chunks or whole."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET

from edgephi import DoneEvent, Event, Reply
from edgephi_serve.errors import ApiError
from edgephi_serve.reading.chat import ChatWork
from edgephi_serve.turns.jobs import Job
from edgephi_serve.wire.answers import (
    AnswerChoice,
    AnswerMessage,
    ChatAnswer,
    Chunk,
    ChunkChoice,
    Delta,
    FinishReason,
    Logprobs,
    RequestFigures,
    Usage,
)
from edgephi_serve.wire.error import error_event
from edgephi_serve.writing.replies import ReplyWriter, TokenBytes
from edgephi_serve.writing.usage import measured, usage

DONE = b"data: [DONE]\n\n"
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """The part that all chunks of an answer share."""

    model: str
    fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))


class ChatWriter:
    """Turns the events of a request into its answer.

    Args:
        head: Of the answer.
        work: The request.
        token_bytes: See ReplyWriter.
    """

    def __init__(self, head: AnswerHead, work: ChatWork, token_bytes: TokenBytes) -> None:
        self._head = head
        self._work = work
        wanted = token_bytes if work.options.logprobs is not None else None
        self._replies = [
            ReplyWriter(wanted, has_parallel_calls=work.has_parallel_calls) for _ in range(work.num_choices)
        ]
        self._opened: set[int] = set()

    @property
    def replies(self) -> list[Reply]:
        """Those that are done."""
        return [writer.reply for writer in self._replies if writer.reply is not None]

    @property
    def usage(self) -> Usage:
        """Of all replies."""
        return usage(self.replies)

    def has_enough(self, index: int) -> bool:
        """See ReplyWriter."""
        return self._replies[index].has_enough

    def note(self, index: int, event: Event) -> None:
        """An event of an answer that is given whole."""
        self._replies[index].deltas(event)

    def chunks(self, index: int, event: Event, job: Job[Any]) -> Iterator[bytes]:
        """The server-sent events of an event."""
        if index not in self._opened:
            self._opened.add(index)
            yield self._chunk(index, Delta(role="assistant", content=""), None)
        for delta, logprobs in self._replies[index].deltas(event):
            yield self._chunk(index, delta, logprobs)
        if isinstance(event, DoneEvent):
            writer = self._replies[index]
            yield self._chunk(index, Delta(), writer.last_logprobs(), writer.finish_reason, measured(event.reply, job))

    def end(self) -> Iterator[bytes]:
        """The end of a stream."""
        if self._work.has_usage:
            yield _event(self._of([], self.usage, None))
        yield DONE

    def failure(self, error: ApiError) -> Iterator[bytes]:
        """The end of a stream that fails."""
        yield error_event(error)

    def whole(self, job: Job[Any]) -> bytes:
        """The answer in one piece."""
        choices = [
            AnswerChoice(
                index=index,
                message=AnswerMessage(content=writer.content, tool_calls=writer.calls or UNSET),
                logprobs=writer.logprobs,
                finish_reason=writer.finish_reason,
            )
            for index, writer in enumerate(self._replies)
        ]
        return _ENCODER.encode(
            ChatAnswer(
                id=self._head.id,
                created=self._head.created,
                model=self._head.model,
                system_fingerprint=self._head.fingerprint,
                choices=choices,
                usage=self.usage,
                edgephi=measured(self.replies[0], job),
            )
        )

    def _chunk(
        self,
        index: int,
        delta: Delta,
        logprobs: Logprobs | None,
        reason: FinishReason | None = None,
        facts: RequestFigures | None = None,
    ) -> bytes:
        choice = ChunkChoice(index=index, delta=delta, logprobs=logprobs, finish_reason=reason)
        return _event(self._of([choice], None, facts))

    def _of(self, choices: list[ChunkChoice], total: Usage | None, facts: RequestFigures | None) -> Chunk:
        return Chunk(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            system_fingerprint=self._head.fingerprint,
            choices=choices,
            usage=total if self._work.has_usage else UNSET,
            edgephi=UNSET if facts is None else facts,
        )


def _event(chunk: Chunk) -> bytes:
    return b"data: " + _ENCODER.encode(chunk) + b"\n\n"
