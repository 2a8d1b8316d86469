"""A stream read from outside: in any cut, with comments, with errors, and cut off."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edgephi_bench.serving.chat_client import ChatClient, Piece, RequestError, read_answer


def _event(content: str | None = None, reason: str | None = None, **fields: object) -> bytes:
    delta = {} if content is None else {"content": content}
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": None, **fields}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


_USAGE = _event(choices=[], usage={"completion_tokens": 3})
_EVENTS = (_event(""), b": prefill 1/2\n\n", _event("he"), _event("y"), _event(reason="length"), _USAGE)
_STREAM = (*_EVENTS, b"data: [DONE]\n\n")


def test_times_are_those_of_the_first_text_and_of_the_last_event_of_the_reply() -> None:
    answer = read_answer([(float(number), event) for number, event in enumerate(_STREAM)], 9.0)
    assert (answer.first_s, answer.finish_s, answer.end_s) == (2.0, 4.0, 9.0)
    assert (answer.text, answer.new_tokens, answer.num_texts) == ("hey", 3, 2)


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_an_event_counts_from_its_last_byte_in_any_cut(size: int) -> None:
    whole = b"".join(_STREAM)
    pieces = [(float(start + size), whole[start : start + size]) for start in range(0, len(whole), size)]
    answer = read_answer(pieces, 1e6)
    assert answer.text == "hey"
    end_of_first = len(b"".join(_STREAM[:3]))
    assert answer.first_s == next(seconds for seconds, _ in pieces if seconds >= end_of_first)


def test_a_reply_without_text_has_its_first_moment_at_its_end() -> None:
    pieces: list[Piece] = [(1.0, _event("")), (2.0, _event(reason="length")), (3.0, _USAGE + b"data: [DONE]\n\n")]
    answer = read_answer(pieces, 3.0)
    assert (answer.first_s, answer.finish_s, answer.decode_s) == (2.0, 2.0, 0.0)


def test_an_error_in_the_stream_is_raised_with_its_message() -> None:
    with pytest.raises(RequestError, match="ended a reply with an error: out of memory"):
        read_answer([(1.0, b'data: {"error": {"message": "out of memory"}}\n\n')], 1.0)


@pytest.mark.parametrize("last", range(len(_STREAM)))
def test_a_stream_that_is_cut_off_is_no_answer(last: int) -> None:
    with pytest.raises(RequestError, match="before its reply was complete"):
        read_answer([(1.0, event) for event in _STREAM[:last]], 1.0)


@contextmanager
def _answering(status: int, body: bytes, length: int) -> Iterator[ChatClient]:
    """A client of a server that answers everything so; a length above the body's cuts the answer off."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = ChatClient("127.0.0.1", server.server_port)
        try:
            yield client
        finally:
            client.close()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error": {"message": "too long"}}', "answered 400: too long$"),
        (429, b'{"error": {"message": "full"}}', "answered 429: full; use fewer --clients"),
        (500, b"<html>", "answered 500: without a message"),
    ],
)
def test_a_refusal_is_raised_with_the_servers_own_words(status: int, body: bytes, message: str) -> None:
    with _answering(status, body, len(body)) as client, pytest.raises(RequestError, match=message):
        client.ask(b"{}")


def test_a_connection_that_ends_within_a_reply_is_an_error() -> None:
    body = b"".join(_EVENTS[:3])
    with _answering(200, body, len(body) + 100) as client, pytest.raises(RequestError, match=r"cut off|complete"):
        client.ask(b"{}")


def test_a_server_that_is_gone_is_an_error() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    with pytest.raises(RequestError, match="cannot be reached"):
        ChatClient("127.0.0.1", port).ask(b"{}")
