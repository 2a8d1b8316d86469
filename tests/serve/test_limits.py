"""What is just within a limit is taken, and what is just beyond it refused."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from edgephi import Model, SamplingOptions
from edgephi_serve.connections.bodies import check_head, read_body
from edgephi_serve.connections.exchange import Exchange
from edgephi_serve.connections.keys import Keys
from edgephi_serve.connections.logs import RequestLog
from edgephi_serve.connections.uploads import Form, read_form
from edgephi_serve.endpoints.guard import Guard
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError
from edgephi_serve.reading.sampling import sampling_options
from edgephi_serve.settings import Access, Limits, Listen, Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.wire.chat import ChatRequest

JSON, FORM = "application/json", "multipart/form-data; boundary=b"


def _scope(kind: str = JSON, **more: Any) -> dict[str, Any]:
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())], **more}
    Exchange(id="a").put(scope)
    return scope


def _receive(*pieces: bytes) -> Callable[[], Any]:
    """Gives a body piece by piece."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


@pytest.mark.parametrize("pieces", [(b"x" * 10,), (b"x" * 4, b"x" * 6)])
def test_a_body_may_be_as_large_as_the_limit(pieces: tuple[bytes, ...]):
    assert asyncio.run(read_body(_scope(), _receive(*pieces), 10)) == b"x" * 10
    with pytest.raises(ApiError, match="request_too_large"):
        asyncio.run(read_body(_scope(), _receive(*pieces), 9))


def test_a_body_may_be_announced_as_large_as_the_limit():
    scope = _scope()
    scope["headers"].append((b"content-length", b"10"))
    check_head(scope, JSON, 10)
    with pytest.raises(ApiError, match="request_too_large"):
        check_head(scope, JSON, 9)


def _form(num_fields: int) -> bytes:
    field = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n'
    return field * num_fields + file + b"--b--\r\n"


def _read(content: bytes, limits: Limits) -> Form:
    return asyncio.run(read_form(_scope(FORM), _receive(content[:9], content[9:]), io.BytesIO(), limits))


def test_a_recording_may_be_as_large_as_the_limit():
    content = _form(1)
    assert _read(content, Limits(upload_bytes=len(content))).has_file
    with pytest.raises(ApiError, match="request_too_large"):
        _read(content, Limits(upload_bytes=len(content) - 1))


def test_a_form_may_have_32_parts():
    assert len(_read(_form(31), Limits()).fields["n"]) == 31
    with pytest.raises(ApiError) as refused:
        _read(_form(32), Limits())
    assert refused.value.message == "The form has more than 32 parts."


@pytest.mark.parametrize(("turn_s", "retry_s"), [(None, 2), (3.2, 7), (0.01, 1), (60.0, 120), (3600.0, 120)])
def test_a_full_queue_is_to_be_asked_again_after_its_length_and_two_minutes_at_most(turn_s: float | None, retry_s: int):
    """OpenAI's library gives up at once when it is asked to wait longer."""
    engine = Engine(Settings(limits=Limits(queue=1)))
    engine.become_ready(cast("Model", object()))
    if turn_s is not None:
        engine.pace.note_turn(turn_s)
    with engine.place("a"), engine.place("a"), pytest.raises(ApiError) as refused, engine.place("a"):
        pass
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": str(retry_s)})


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("0.0.0.0", 401)])
def test_metrics_need_a_key_where_other_machines_can_ask(host: str, status: int):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    settings = Settings(listen=Listen(host=host), access=Access(key="a-key-for-this-test"))
    engine, keys, log = Engine(settings), Keys([("a", "a-key-for-this-test")]), RequestLog("text", has_access=False)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": [(b"host", host.encode())]}
    asyncio.run(Guard(app, settings, keys, engine, Metrics(engine), log)(scope, _receive(b""), cast("Any", send)))
    assert sent[0]["status"] == status


def _options(**fields: Any) -> SamplingOptions:
    body = {"messages": [{"role": "user", "content": "a"}], **fields}
    return sampling_options(msgspec.convert(body, ChatRequest), Settings(max_new_tokens=7))


def test_a_top_p_of_0_is_the_likeliest_token_whatever_else_is_asked_for():
    chosen = _options(top_p=0, temperature=2.0, top_k=50)
    assert (chosen.top_k, chosen.top_p, chosen.temperature) == (1, 1.0, 2.0)
    chosen = _options(top_p=0.1, top_k=50)
    assert (chosen.top_k, chosen.top_p) == (50, 0.1)


@pytest.mark.parametrize(
    ("name", "ends", "beyond"),
    [
        ("temperature", (0, 2), 2.1),
        ("top_p", (0, 1), 1.1),
        ("min_p", (0, 1), -0.1),
        ("n", (1, 8), 9),
        ("presence_penalty", (-2, 2), 2.1),
        ("frequency_penalty", (-2, 2), -2.1),
        ("stop", (["a"], ["a"] * 16), ["a"] * 17),
        ("max_tokens", (1, 10**9), 0),
        ("max_completion_tokens", (1, -1), -2),
        ("logit_bias", ({"1": -100}, {"1": 100}), {"1": 101}),
    ],
)
def test_both_ends_of_a_range_are_taken(name: str, ends: tuple[Any, Any], beyond: Any):
    for end in ends:
        _options(**{name: end})
    with pytest.raises(ApiError):
        _options(**{name: beyond})


def test_without_a_limit_or_with_minus_one_a_reply_has_the_servers():
    assert [_options(**fields).max_new_tokens for fields in ({}, {"max_tokens": -1}, {"max_tokens": 3})] == [7, 7, 3]
