"""Who gets a session, what it leaves to others, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import httpx
import pytest
import websockets.exceptions

from edgephi import ArtifactError, Event, Model
from edgephi_serve.connections.keys import Keys
from edgephi_serve.settings import Access, Limits, Settings, Times
from support.bundles import nano_bundle
from support.realtime import BUFFER, PATH, TRANSCRIPT, Session, raw, session, speech
from support.serve_thread import ServeThread

PCM = {"type": "audio/pcm", "rate": 16_000}
COMPLETED, FAILED = f"{TRANSCRIPT}completed", f"{TRANSCRIPT}failed"
KEY = "a-long-key"


class GatedModel:
    """The demo's model, which answers once `gate` is set, or raises `failure`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.gate = threading.Event()
        self.is_asked = threading.Event()
        self.failure: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stream(self, messages: Any, *, should_stop: Callable[[], bool], **given: Any) -> Generator[Event, None, None]:
        self.is_asked.set()
        while not self.gate.wait(0.005) and not should_stop():
            pass
        if self.failure is not None:
            raise self.failure
        yield from self._model.stream(messages, should_stop=should_stop, **given)


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


@pytest.fixture
def model(nano: Model) -> GatedModel:
    return GatedModel(nano)


def _status(thread: ServeThread, path: str = PATH, **options: Any) -> tuple[int, Any]:
    """Of an upgrade that is refused: its status and code."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, raw(thread.url, path, **options):
        pass
    response = refused.value.response
    assert "x-request-id" in response.headers
    return response.status_code, json.loads(response.body)["error"]["code"]


def _get(thread: ServeThread, path: str) -> httpx.Response:
    with thread.client() as client:
        return client.get(path)


def _sentence(opened: Session) -> None:
    """An utterance that has ended."""
    opened.append(speech(0.3, hertz=16_000).tobytes())
    opened.until(f"{BUFFER}committed")


def test_an_upgrade_is_checked_like_any_request(model):
    settings = Settings(access=Access(origins=("https://chat.example.org",)))
    thread = ServeThread(model, settings)
    thread.keys = Keys([("page", KEY)])
    with thread:
        bearer = {"Authorization": f"Bearer {KEY}"}
        assert _status(thread) == (401, "invalid_api_key")
        assert _status(thread, subprotocols=["realtime", "openai-insecure-api-key.wrong-key"])[0] == 401
        assert _status(thread, additional_headers=bearer, origin="https://evil.example") == (403, "origin_not_allowed")
        hosted = raw(thread.url.replace("127.0.0.1", "localhost"), additional_headers=bearer)
        hosted.close()
        assert _status(thread, "/v1/realtime", additional_headers=bearer) == (400, "unsupported_parameter")
        assert _status(thread, "/v1/chat/completions", additional_headers=bearer) == (404, "unknown_url")
        with thread.client(headers=bearer) as client:
            plain = client.get(PATH)
            assert (plain.status_code, plain.json()["error"]["code"]) == (426, "upgrade_required")
        offered = ["realtime", f"openai-insecure-api-key.{KEY}"]
        for origin in (thread.url, "https://chat.example.org"):
            with raw(thread.url, subprotocols=offered, origin=origin) as opened:
                assert opened.subprotocol == "realtime"
        with raw(thread.url, "/realtime?intent=transcription", additional_headers={"X-Api-Key": KEY}) as opened:
            assert opened.subprotocol is None


def test_a_foreign_host_gets_no_session(model):
    with ServeThread(model, Settings()) as thread, pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        raw("http://evil.example", sock=thread.connected())
    assert refused.value.response.status_code == 403


def test_there_are_so_many_sessions_and_an_end_makes_room(model):
    with ServeThread(model, Settings(limits=Limits(realtime=1))) as thread:
        with session(thread.url):
            assert _status(thread) == (429, "slow_down")
            assert "edgephi_realtime_sessions 1.0" in _get(thread, "/metrics").text
        thread.until(lambda: "edgephi_realtime_sessions 0.0" in _get(thread, "/metrics").text)
        with session(thread.url):
            pass
    with ServeThread(model, Settings(limits=Limits(realtime=0))) as thread:
        assert _status(thread)[0] == 429
    with ServeThread(model, Settings(), is_loaded=False) as thread:
        assert _status(thread) == (503, "model_loading")


def test_a_chat_beside_two_sessions_is_answered_and_so_are_they(model):
    model.gate.set()
    with ServeThread(model, Settings()) as thread:
        with session(thread.url, format=PCM) as one, session(thread.url, format=PCM) as other:
            for opened in (one, other):
                opened.append(speech(0.3, 0.8, hertz=16_000).tobytes(), 3_200)
            with thread.client() as client:
                body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
                assert client.post("/v1/chat/completions", json=body).status_code == 200
            for opened in (one, other):
                opened.until(COMPLETED, 2)
        assert one.texts() == other.texts()
        figures = _get(thread, "/metrics").text
        assert float(re.search(r"edgephi_realtime_lag_seconds_count (\S+)", figures)[1]) == 4
        assert re.search(r"edgephi_requests_waiting 0.0", figures)


def test_falling_behind_is_reported_once_and_the_oldest_speech_that_waits_fails(model):
    audio = speech(*[0.8] * 8, hertz=16_000)
    with ServeThread(model, Settings(times=Times(behind_s=4.0))) as thread, session(thread.url, format=PCM) as opened:
        opened.append(audio[:64_000].tobytes())  # at once: then nothing is read in the silence after the first
        assert model.is_asked.wait(10)  # else the first and the second may wait, and only the second a moment later
        opened.append(audio[64_000:].tobytes(), 16_000)
        opened.until(f"{BUFFER}committed", 8)
        assert [event.error.code for event in opened.all("error")] == ["falling_behind"]
        model.gate.set()
        while len(opened.all(COMPLETED)) + len(opened.all(FAILED)) < 8:
            opened.next()
    ids = [event.item_id for event in opened.all(f"{BUFFER}committed")]
    failed = [event.item_id for event in opened.all(FAILED)]
    assert {event.error.code for event in opened.all(FAILED)} == {"overloaded"}
    assert 0 < len(failed) < 6
    assert [event.item_id for event in opened.all(COMPLETED)] == [ids[0], *ids[1 + len(failed) :]]


@pytest.mark.parametrize("state", ["silent", "speaking", "waiting", "made"])
def test_a_client_that_leaves_frees_everything(model, state):
    with ServeThread(model, Settings()) as thread:
        with session(thread.url, format=PCM) as opened:
            if state == "speaking":
                opened.append(speech(0.3, hertz=16_000)[:24_000].tobytes())
                opened.until(f"{BUFFER}speech_started")
            elif state != "silent":
                if state == "made":
                    model.gate.set()
                _sentence(opened)
        thread.until(lambda: not thread.engine._jobs)
        assert thread.has_left()
        thread.until(lambda: "edgephi-request" not in [one.name for one in threading.enumerate()])
        model.gate.set()
        with session(thread.url, format=PCM) as opened:
            _sentence(opened)
            opened.until(COMPLETED)


def test_the_end_of_the_server_is_said(model):
    with ServeThread(model, Settings()) as thread, session(thread.url, format=PCM) as opened:
        _sentence(opened)
        thread.until(lambda: thread.engine.running == 1)
        began_s = time.monotonic()
        drained = asyncio.run_coroutine_threadsafe(thread.engine.drain(), thread.loop)
        assert opened.closed() == 1001
        assert opened.all("error")[-1].error.code == "server_shutting_down"
        drained.result(5)
        assert time.monotonic() - began_s < 5
        assert _status(thread) == (503, "server_shutting_down")


def test_another_model_ends_sessions_that_may_then_connect_again(model):
    """Closing the old one is left to the test."""
    model.close = lambda: None  # type: ignore[method-assign]
    model.gate.set()
    with ServeThread(model, Settings()) as thread:
        with session(thread.url, format=PCM) as opened:
            replaced = asyncio.run_coroutine_threadsafe(thread.engine.replace(lambda: model), thread.loop)
            assert opened.closed() == 1012
            assert opened.all("error")[-1].error.code == "model_loading"
            replaced.result(5)
        with session(thread.url, format=PCM) as opened:
            _sentence(opened)
            opened.until(COMPLETED)


def test_a_session_ends_after_its_time(model):
    with ServeThread(model, Settings(times=Times(session_s=0.3))) as thread, session(thread.url) as opened:
        assert opened.closed() == 1001
        assert opened.all("error")[-1].error.code == "session_expired"


def test_damage_fails_the_item_and_a_fault_the_session(model):
    model.gate.set()
    with ServeThread(model, Settings()) as thread:
        model.failure = RuntimeError("canary-of-a-failure")
        with session(thread.url, format=PCM) as opened:
            opened.append(speech(0.3, hertz=16_000).tobytes())
            assert opened.closed() == 1011
            assert opened.all("error")[-1].error.code == "internal"
        assert "canary" not in str(opened.seen)
        model.failure = ArtifactError("weights: damaged")
        with session(thread.url, format=PCM) as opened:
            _sentence(opened)
            assert opened.until(FAILED).error.code == "model_damaged"
        assert _get(thread, "/health").json()["status"] == "damaged"
