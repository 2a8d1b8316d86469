"""Connections that are silent, too many, or say too much."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edgephi import Model
from edgephi_serve.settings import Limits, Settings
from support.bundles import nano_bundle
from support.serve_thread import ScriptedModel, ServeThread, body, request_bytes

LIMITS = Limits(connections=4, head_s=1, body_s=1, body_bytes=1000, upload_bytes=2000, keep_alive_s=1)


@pytest.fixture(scope="module")
def running() -> Iterator[ServeThread]:
    limits = replace(LIMITS, head_s=1.0, body_s=1.0)
    for name in ("head_s", "body_s"):  # shorter than a server may be told, so that tests are
        object.__setattr__(limits, name, 0.3)
    with (
        Model.load(nano_bundle(), threads=1) as model,
        ServeThread(ScriptedModel(model), Settings(limits=limits)) as opened,
    ):
        yield opened


def _answer(raw: socket.socket) -> tuple[int, dict]:
    """All that comes until the server closes the connection."""
    content = b""
    while piece := raw.recv(65536):
        content += piece
    head, _, rest = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(rest)["error"]


@pytest.mark.parametrize(
    "sent",
    [b"", pytest.param(b"POST /v1/chat", marks=pytest.mark.slow), b"GET /livez HTTP/1.1\r\n"],
)
def test_a_head_that_does_not_come_ends_the_connection(running, sent):
    with running.raw() as raw:
        began_s = time.monotonic()
        raw.sendall(sent)
        status, error = _answer(raw)
        assert (status, error["code"]) == (408, "request_timeout")
        assert 0.25 < time.monotonic() - began_s < 5


def test_a_body_that_does_not_come_ends_the_connection_and_gives_its_place_back(running):
    whole = request_bytes(json.dumps(body("write 1 0")).encode())
    with running.raw() as raw:
        raw.sendall(whole[:-5])
        running.until(lambda: running.engine.waiting == 1)
        status, error = _answer(raw)
        assert (status, error["code"]) == (408, "request_timeout")
    running.until(running.has_left)


def test_a_slow_body_that_keeps_coming_is_cut_at_its_deadline(running):
    whole = request_bytes(json.dumps(body("write 1 0")).encode())
    began_s = time.monotonic()
    with running.raw() as raw:
        raw.sendall(whole[:-40])
        for byte in whole[-40:]:
            raw.sendall(bytes([byte]))
            if select.select([raw], [], [], 0.05)[0]:
                break
        assert _answer(raw)[0] == 408
    assert time.monotonic() - began_s < 5
    running.until(running.has_left)


def test_a_connection_that_is_kept_takes_a_second_request(running):
    whole = request_bytes(json.dumps(body("write 1 0")).encode())
    with running.raw() as raw:
        for _ in range(3):
            raw.sendall(whole)
            assert raw.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.1)
            raw.recv(65536)


@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_over_the_limit_is_refused_and_closed(running, is_chunked):
    content = json.dumps(body("x" * 2000)).encode()
    sent = request_bytes(content)
    if is_chunked:
        head = sent[: sent.index(b"Content-Length")] + b"Transfer-Encoding: chunked\r\n\r\n"
        sent = head + f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"
    with running.raw() as raw:
        raw.sendall(sent)
        status, error = _answer(raw)
        assert (status, error["code"]) == (413, "request_too_large")
    running.until(running.has_left)


def test_an_upload_over_the_limit_is_refused(running):
    with running.client() as client:
        answer = client.post("/v1/audio/transcriptions", files={"file": ("a", bytes(3000))})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    running.until(running.has_left)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"}, {"content-encoding": "br"}, {"content-type": "text/plain"},
        {"content-type": "multipart/form-data"},
    ],
)  # fmt: skip
def test_a_body_of_another_kind_is_refused(running, headers):
    with running.client() as client:
        answer = client.post(
            "/v1/chat/completions", content=b"{}", headers={"content-type": "application/json", **headers}
        )
        assert (answer.status_code, answer.json()["error"]["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000]
)
def test_what_is_no_http_is_refused(running, sent):
    with running.raw() as raw:
        raw.sendall(sent)
        status, error = _answer(raw)
        assert (status, error["code"]) == (400, "bad_http")


def test_connections_over_the_limit_are_refused_at_once(running):
    opened = [socket.create_connection(running.address) for _ in range(4)]
    try:
        opened[-1].sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert opened[-1].recv(15) == b"HTTP/1.1 200 OK"
        with running.raw() as raw:
            status, error = _answer(raw)
            assert (status, error["code"]) == (503, "server_is_overloaded")
    finally:
        for one in opened:
            one.close()
    with running.client() as client:
        running.until(lambda: client.get("/livez").status_code == 200)
