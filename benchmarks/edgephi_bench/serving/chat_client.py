"""One client of a server: a connection that is kept, and replies that come as server-sent events."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from edgephi.base.errors import EdgeError
from edgephi_bench.serving.answers import Answer

_PATH = "/v1/chat/completions"
_HEADERS = {"Content-Type": "application/json"}
#: Beyond the server's own limits of waiting and answering.
_TIMEOUT_S = 1200.0
_PIECE_BYTES = 1 << 16
_FEWER = {429: "; use fewer --clients", 503: "; use fewer --clients or shorter requests"}
#: A piece of the body, and when it came.
Piece = tuple[float, bytes]


class RequestError(EdgeError):
    """The server refused or cut off a request."""


class ChatClient:
    """Connects at the first request.

    Args:
        host: Where the server listens.
        port: Likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(self, body: bytes) -> Answer:
        """Send one streamed request and take its whole reply.

        Raises:
            RequestError: Another status than 200, an event of an error, or a reply that was cut off.
        """
        if self._connection.sock is None:
            self._connect()
        began = time.perf_counter()
        try:
            self._connection.request("POST", _PATH, body, _HEADERS)
            response = self._connection.getresponse()
            if response.status != 200:
                raise _refusal(response.status, response.read())
            pieces = []
            while piece := response.read1(_PIECE_BYTES):
                pieces.append((time.perf_counter() - began, piece))
            end_s = time.perf_counter() - began
        except (OSError, http.client.HTTPException) as error:
            raise RequestError(f"the server's answer was cut off ({type(error).__name__})") from error
        return read_answer(pieces, end_s)

    def _connect(self) -> None:
        try:
            self._connection.connect()
        except OSError as error:
            raise RequestError(f"the server cannot be reached ({error.strerror or error})") from error


def read_answer(pieces: Iterable[Piece], end_s: float) -> Answer:
    """The reply that a stream holds. It is read once it has ended, so that reading takes no time from the server.

    Args:
        pieces: Of the body, in any cut, with the seconds at which each came.
        end_s: When the body ended.

    Raises:
        RequestError: The stream holds an error, or ends before it is complete.
    """
    texts: list[str] = []
    first_s = finish_s = new_tokens = None
    is_whole = False
    for seconds, data in _events(pieces):
        if data == b"[DONE]":
            is_whole = True
            break
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            raise RequestError(f"the server ended a reply with an error: {event['error']['message']}")
        if event.get("usage"):
            new_tokens = int(event["usage"]["completion_tokens"])
        for choice in event["choices"]:
            if text := choice["delta"].get("content"):
                first_s = seconds if first_s is None else first_s
                texts.append(text)
            if choice["finish_reason"]:
                finish_s = seconds
    if not is_whole or finish_s is None or new_tokens is None:
        raise RequestError("the server's stream ended before its reply was complete")
    first_s = finish_s if first_s is None else first_s
    return Answer(
        first_s=first_s,
        finish_s=finish_s,
        end_s=end_s,
        text="".join(texts),
        new_tokens=new_tokens,
        num_texts=len(texts),
    )


def _events(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The data of each event, with the time at which its last byte came; comments with progress are left out."""
    rest = b""
    for seconds, piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield seconds, b"\n".join(lines)


def _refusal(status: int, body: bytes) -> RequestError:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = "without a message"
    return RequestError(f"the server answered {status}: {message}{_FEWER.get(status, '')}")
