"""Connections with deadlines: uvicorn sets none on a request's head or body, nor on a client that takes nothing of an
answer, so silent clients would hold sockets.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from edgephi_serve.errors import ApiError
from edgephi_serve.settings import MIB, Limits, Settings
from edgephi_serve.wire.error import error_json


def http_protocol(settings: Settings) -> type[H11Protocol]:
    """The class of one server's connections."""

    class Http(_Http):
        own_limits = settings.limits
        reader_s = settings.times.reader_s

    return Http


def websocket_protocol(settings: Settings) -> type[WSProtocol]:
    """The class of one server's connections that have become WebSockets."""

    class WebSocket(_ReaderDeadline, WSProtocol):
        reader_s = settings.times.reader_s

    return WebSocket


class _ReaderDeadline(asyncio.Protocol):
    """Cuts a connection whose client takes no byte for `reader_s` while there are bytes for it.

    A connection that was closed is cut too: closing waits until the client has taken the last byte.
    """

    reader_s: float
    transport: asyncio.Transport
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the base class does."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1)  # `pause_writing` is called for what the client does not take at once

    def connection_lost(self, exc: Exception | None) -> None:
        """As the base class does."""
        self._reads()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """As the base class does."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """As the base class does."""
        self._reads()
        super().resume_writing()

    def _wait_for_reader(self) -> None:
        self._reader_timer = asyncio.get_running_loop().call_later(self.reader_s, self._check_reader, self._not_taken())

    def _not_taken(self) -> int:
        """Bytes that the client has not taken: the kernel's too, which takes ours only in big pieces."""
        kernel = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return self.transport.get_write_buffer_size() + int.from_bytes(kernel, sys.byteorder)

    def _reads(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _check_reader(self, size: int) -> None:
        if self._not_taken() < size:
            self._wait_for_reader()
        else:
            self.transport.abort()


class _Http(_ReaderDeadline, H11Protocol):
    """Closes connections that are too many, and those whose head or body does not come."""

    own_limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _body: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the base class does."""
        super().connection_made(transport)
        if len(self.connections) > self.own_limits.connections:
            self._answer(503, "server_is_overloaded", "Too many connections are open.", ((b"retry-after", b"5"),))
            return
        self._wait(self.own_limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """As the base class does."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As the base class does."""
        super().data_received(data)
        cycle = self.cycle
        if self.conn.their_state is h11.IDLE:
            if self._timer is None:
                self._wait(self.own_limits.head_s)
        elif self.conn.their_state is h11.SEND_BODY and cycle is not None:
            if self._body is not cycle:
                self._body = cycle
                self._rest()
                self._wait(self.own_limits.body_s + self._announced() / MIB)
        else:
            self._rest()

    def send_400_response(self, msg: str) -> None:
        """In our form."""
        self._answer(400, "bad_http", msg)

    def _announced(self) -> int:
        most = self.own_limits.upload_bytes
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        return min(int(length), most) if length.isdigit() else most

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self._answer(408, "request_timeout", "The request did not come in time.")

    def _answer(self, status: int, code: str, message: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_json(ApiError(status, "invalid_request_error", code, message))
            headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *more]
            headers.append((b"content-length", str(len(body)).encode()))
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
