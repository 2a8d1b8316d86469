"""One session of live captions from its first event to its close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from edgephi import Stage
from edgephi_serve.connections.bodies import ClientLeftError
from edgephi_serve.connections.exchange import Exchange, Receive, Send
from edgephi_serve.errors import ApiError, as_api_error, invalid, shutting_down, unavailable
from edgephi_serve.reading.realtime import BadMessageError, ClientMessage, NotJsonError, SessionState, read_message
from edgephi_serve.realtime.live_audio import LiveAudio
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job
from edgephi_serve.wire.realtime import (
    AudioAppend,
    AudioClear,
    AudioCleared,
    AudioCommit,
    ServerEvent,
    SessionCreated,
    SessionUpdate,
    SessionUpdated,
)
from edgephi_serve.writing.realtime import Happening, RealtimeWriter, error_event

_MOST_NOT_JSON = 3
#: Codes of RFC 6455: the server goes, not readable, failed, restarts.
_GOING_AWAY, _NOT_READABLE, _FAILED, _RESTARTS = 1001, 1007, 1011, 1012


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """An accepted WebSocket.

    Attributes:
        receive: Its messages.
        send: To it.
        exchange: Notes its end.
    """

    receive: Receive
    send: Send
    exchange: Exchange


class Connection:
    """One session.

    Args:
        channel: To the client.
        engine: Whose model writes down.
        job: The session's.
        audio: Its work.
        state: To begin with.
    """

    def __init__(
        self, channel: Channel, engine: Engine, job: Job[Happening], audio: LiveAudio, state: SessionState
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._job = job
        self._audio = audio
        self._state = state
        self._times = engine.settings.times
        self._dismissal = engine.dismissal
        self._writer = RealtimeWriter(state, job.model.token_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgephi-realtime")
        self._num_not_json = 0

    async def run(self) -> None:
        """Until the client leaves, the session's time is over, or the server ends.

        Raises:
            ClientLeftError: The client left.
            Exception: The server failed on the session; the client has been notified.
        """
        self._job.emit(SessionCreated(session=self._state.body()))
        reading, sending = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())
        leaving = asyncio.ensure_future(self._dismissal.wait())
        tasks = (reading, sending, leaving)
        try:
            await asyncio.wait(tasks, timeout=self._times.session_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._thread.shutdown(wait=False, cancel_futures=True)
        await self._close(reading, sending)

    async def _close(self, reading: asyncio.Future[None], sending: asyncio.Future[None]) -> None:
        """Say why the session ends, where it is not the client who ends it."""
        failed = next((error for error in map(_error_of, (sending, reading)) if error is not None), None)
        if self._dismissal.is_set() and self._engine.state != "draining":
            loading = unavailable("model_loading", "The model is being loaded again; connect again in a few seconds.")
            await self._end(loading, _RESTARTS)
        elif self._dismissal.is_set() or (failed is None and _has_ended(sending)):
            await self._end(shutting_down(), _GOING_AWAY)
        elif isinstance(failed, NotJsonError):
            await self._end(None, _NOT_READABLE)
        elif isinstance(failed, ClientLeftError):
            raise failed
        elif failed is not None:
            await self._end(as_api_error(failed), _FAILED)
            raise failed
        elif not _has_ended(reading):
            minutes = self._times.session_s / 60
            expired = invalid(f"The session has lasted {minutes:g} minutes, which is the most.", code="session_expired")
            await self._end(expired, _GOING_AWAY)

    async def _end(self, error: ApiError | None, code: int) -> None:
        with suppress(ClientLeftError, OSError):  # nobody is there to read it
            if error is not None:
                self._channel.exchange.reason = error.code or error.kind
                await self._send(error_event(error))
            await self._channel.send({"type": "websocket.close", "code": code})

    async def _write(self) -> None:
        while (item := await self._job.next(None)) is not None:
            if not isinstance(item, Stage):
                for event in self._writer.events(item):
                    await self._send(event)

    async def _send(self, event: ServerEvent) -> None:
        text = msgspec.json.encode(event).decode()
        try:
            await self._channel.send({"type": "websocket.send", "text": text})
        except OSError:  # uvicorn's, for a connection that was closed
            raise ClientLeftError from None

    async def _read(self) -> None:
        while True:
            message = await self._channel.receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("bytes") or (message.get("text") or "").encode()
            self._channel.exchange.received += len(content)
            try:
                await self._take(read_message(content))
            except BadMessageError as bad:
                self._job.emit(error_event(bad.error, bad.event_id))
                self._count(bad.error)

    def _count(self, error: ApiError) -> None:
        """Raise the third error of a client that does not speak JSON."""
        if isinstance(error, NotJsonError):
            self._num_not_json += 1
            if self._num_not_json >= _MOST_NOT_JSON:
                raise error

    async def _take(self, message: ClientMessage) -> None:
        try:
            match message.event:
                case SessionUpdate() as update:
                    self._change(update)
                case AudioAppend() as append:
                    if not self._audio.has_begun:
                        await self._in_thread(lambda: self._audio.begin(self._job, self._state))
                    await self._in_thread(lambda: self._audio.push(append.audio))
                case AudioCommit():
                    await self._in_thread(self._audio.commit)
                case AudioClear():
                    await self._in_thread(self._audio.clear)
                    self._job.emit(AudioCleared())
        except ApiError as error:
            raise BadMessageError(error, message.event_id) from None

    def _change(self, update: SessionUpdate) -> None:
        changed = self._state.changed(update.session)
        if self._audio.has_begun and not changed.takes_like(self._state):
            raise invalid(
                "Format and turn detection can be changed before the first audio only; connect again for others.",
                param="session.audio.input",
                code="session_has_begun",
            )
        self._state = self._writer.state = changed
        self._job.emit(SessionUpdated(session=changed.body()))

    async def _in_thread(self, work: Callable[[], None]) -> None:
        """All work on audio is done in one thread, beside the event loop."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _has_ended(task: asyncio.Future[None]) -> bool:
    return task.done() and not task.cancelled()


def _error_of(task: asyncio.Future[None]) -> BaseException | None:
    return task.exception() if _has_ended(task) else None
