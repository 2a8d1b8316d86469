"""Sending an answer while its work goes on: the client's leaving ends the work, and no wait is silent."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from edgephi import Stage
from edgephi_serve.connections.bodies import ClientLeftError, header
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.errors import ApiError
from edgephi_serve.settings import Times
from edgephi_serve.turns.jobs import Job

T = TypeVar("T")

#: Stages whose progress a stream begins with; the status of a failure before them is still its own.
_BEGINNING = ("queue", "load", "encode", "prefill")
#: They end no event where none has begun, and stand after each one: programs that split a stream at lines, or at empty
#: lines, and take every piece for JSON pass over them.
_EMPTY_LINES = b"\n\n"
#: Events that come faster than this share a write, whose cost would otherwise be a good part of a small model's token.
_BETWEEN_WRITES_S = 0.002
#: A write comes after this time even if the next event is always there.
_MOST_BETWEEN_WRITES_S = 0.1


@asynccontextmanager
async def cancelled_on_leaving(receive: Receive, job: Job[Any]) -> AsyncIterator[None]:
    """Inside the block the job is stopped as soon as the client leaves."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        job.stop("client")

    task = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Delivery:
    """Sends one answer.

    Args:
        scope: Of the request.
        send: Of the request.
        job: The work.
        times: Between bytes.
    """

    def __init__(self, scope: Scope, send: Send, job: Job[Any], times: Times) -> None:
        self.exchange = Exchange.of(scope)
        self._send = send
        self._job = job
        self._times = times
        self._has_comments = reads_comments(scope)
        self._added: list[bytes] = []
        self._sent_s = -math.inf
        self._written_s = time.monotonic()  # the last byte, of any kind
        self.has_begun = False

    async def begin(self, kind: str) -> None:
        """The status and the headers of an answer."""
        if not self.has_begun:
            self.has_begun = True
            headers = [(b"content-type", kind.encode())]
            if kind.startswith("text/event-stream"):
                headers.append((b"x-accel-buffering", b"no"))
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def add(self, body: bytes) -> None:
        """A piece of the body, sent once no event is left in the queue."""
        self._added.append(body)

    async def send(self, body: bytes = b"") -> None:
        """A piece of the body, after those that were added."""
        self._written_s = time.monotonic()
        await self._send({"type": "http.response.body", "body": self._taken(body), "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        """The last piece."""
        await self._send({"type": "http.response.body", "body": self._taken(body), "more_body": False})

    def check(self) -> None:
        """Raise what ended the work early, where the client is to get an error for it.

        Raises:
            ClientLeftError: The client left.
            ApiError: The server ends, or the request waited too long.
        """
        if self._job.stopped_by == "client":
            raise ClientLeftError
        if (error := self._job.refusal()) is not None:
            raise error

    async def events(self) -> AsyncIterator[Any]:
        """The job's events for a stream; progress goes out meanwhile, once the request is accepted.

        What was added for the events before is sent before it waits for the next one, for the first event at once, and
        after `_MOST_BETWEEN_WRITES_S` even if no wait comes, as where events are made faster than they are encoded.
        """
        comment, item = b": waiting\n\n", None
        while True:
            if self._added and (self._is_due() or not self._job.has_next):
                await self.send()
                if not isinstance(item, Stage):
                    await self._gather()
            try:
                item = await self._job.next(max(self._until_ping_s(), 0.001))
            except TimeoutError:
                await self._keep_alive(comment)
                continue
            if item is None:
                return
            if not isinstance(item, Stage):
                yield item
            else:
                comment = stage_comment(item)
                if self.has_begun or item.name in _BEGINNING:
                    await self._keep_alive(comment)

    def _is_due(self) -> bool:
        """Whether the last write is long ago. At the first event it is: the first token goes alone."""
        return time.monotonic() - self._sent_s >= _MOST_BETWEEN_WRITES_S

    async def _gather(self) -> None:
        """Let events gather, if this write came soon after the last one."""
        before_s, self._sent_s = self._sent_s, time.monotonic()
        if self._sent_s - before_s < _BETWEEN_WRITES_S:
            await self._job.ended(_BETWEEN_WRITES_S)

    def _taken(self, body: bytes) -> bytes:
        added, self._added = self._added, []
        return b"".join([*added, body])

    async def _keep_alive(self, comment: bytes) -> None:
        """Progress for a client that reads comments; for any other empty lines where they are due."""
        if not self.has_begun and not self._job.is_accepted:  # a refusal has a status of its own
            self._written_s = time.monotonic()
            return
        is_first = not self.has_begun
        await self.begin("text/event-stream; charset=utf-8")
        if self._has_comments:
            self.add(comment)
        elif is_first or self._until_ping_s() <= 0:
            self.add(_EMPTY_LINES)

    def _until_ping_s(self) -> float:
        """Seconds until the connection has been silent for too long."""
        return self._written_s + self._times.ping_s - time.monotonic()

    async def fail(self, error: ApiError, event: bytes) -> None:
        """Report a failure in a stream that has begun, as its last event."""
        self.exchange.reason = error.code or error.kind
        await self.send(event)
        await self.end()

    async def plain_events(self) -> AsyncIterator[Any]:
        """The job's events for a text that is sent as it comes."""
        while (item := await self._job.next(None)) is not None:
            if not isinstance(item, Stage):
                yield item

    async def quiet_events(self) -> AsyncIterator[Any]:
        """The job's events for an answer given whole; after a long while white space keeps the connection."""
        began_s = time.monotonic()
        while True:
            wait_s = self._times.newline_s if self.has_begun else self._times.commit_s - (time.monotonic() - began_s)
            try:
                item = await self._job.next(max(wait_s, 0.001))
            except TimeoutError:
                await self.begin("application/json")
                await self.send(b"\n")
                continue
            if item is None:
                return
            if not isinstance(item, Stage):
                yield item


def reads_comments(scope: Scope) -> bool:
    """Whether a client says that it reads server-sent events. Many take every line that is not empty for JSON."""
    return "text/event-stream" in (header(scope, b"accept") or "").lower()


def stage_comment(stage: Stage) -> bytes:
    """A stage as a comment of server-sent events, such as `: prefill 512/2049`."""
    if stage.name == "queue":
        return f": queued {stage.total - stage.done}\n\n".encode()
    return f": {stage.name} {stage.done}/{stage.total}\n\n".encode()
