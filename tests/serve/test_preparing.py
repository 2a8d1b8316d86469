"""A request is read and checked before it waits: what is refused is refused at once, and with its status."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgephi import ConfigError, Model, PreparedRequest, Request, SamplingOptions
from edgephi.base.cancellation import Stopped
from edgephi_serve.settings import MIB, Limits, Settings, Times
from edgephi_serve.turns.preparing import Preparing, Unprepared
from support.bundles import nano_bundle
from support.serve_thread import ScriptedModel, ServeThread

NANO = Path(__file__).parents[2] / "nano/samples"
URL = "/v1/chat/completions"


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1, max_context=3000) as model:
        yield model


class SlowModel(ScriptedModel):
    """Prepares requests as the real model does."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._real = model

    def prepare(self, request: Request, **options: Any) -> PreparedRequest:
        return self._real.prepare(request, **options)


def _image(content: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:;base64,{base64.b64encode(content).decode()}"}}


def _user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "write 1 0"}]}]


@pytest.fixture
def busy(nano: Model) -> Iterator[ServeThread]:
    """A server whose turn is taken until its model's gate is opened."""
    with ServeThread(SlowModel(nano), Settings(times=Times(ping_s=0.05))) as running:
        thread = threading.Thread(target=running.ask, args=("hold",))
        thread.start()
        running.until(lambda: running.engine.running == 1)
        yield running
        running.model.gate.set()
        thread.join()


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a damaged image": ({"messages": _user(_image(b"no image" * 20))}, None),
    "a cut image": ({"messages": _user(_image((NANO / "number.png").read_bytes()[:300]))}, None),
    "a prompt over the context": ({"messages": [{"role": "user", "content": "a " * 9000}]}, "context_length_exceeded"),
    "too many crops": (
        {"messages": _user(_image((NANO / "number.png").read_bytes())), "edgephi": {"max_crops": 1000}}, None,
    ),
    "a bias for no token": ({"messages": _user(), "logit_bias": {"99999999": 1}}, None),
    "a schema that nothing meets": (
        {"messages": _user(), "response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"type": "integer", "minimum": 2, "maximum": 1}}}}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_stream_that_waits_is_refused_with_its_status(busy: ServeThread, name: str):
    asked, code = REFUSED[name]
    with busy.client() as client:
        answer = client.post(URL, json={**asked, "stream": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), answer.text
    assert not busy.model.gate.is_set()


def test_a_stream_that_waits_long_says_so_once_it_is_accepted(busy: ServeThread):
    with busy.client() as client, busy.stream(client, "write 1 0") as answer:
        lines = answer.iter_lines()
        assert answer.status_code == 200
        assert next(line for line in lines if line.startswith(": queued")) == ": queued 1"
        busy.model.gate.set()
        assert [line for line in lines if line][-1] == "data: [DONE]"


def test_reading_takes_nobodys_place(nano: Model):
    """The first of two that wait is read for long; the second, read at once, does not overtake it."""

    class FirstIsSlow(ScriptedModel):
        def prepare(self, request: Request, **options: Any) -> PreparedRequest:
            if request.messages[-1]["content"] == "write 1 0":
                time.sleep(0.3)
            return super().prepare(request, **options)

    with ServeThread(FirstIsSlow(nano), Settings()) as running:
        threads = []
        for script in ("hold", "write 1 0", "write 2 0"):
            count = len(threads)
            threads.append(threading.Thread(target=running.ask, args=(script,)))
            threads[-1].start()
            running.until(lambda count=count: running.engine.running + running.engine.waiting == count + 1)
            if not count:
                running.until(lambda: running.engine.running == 1)
        running.model.gate.set()
        for thread in threads:
            thread.join()
        assert running.model.begun == ["hold", "write 1 0", "write 2 0"]


def test_media_over_the_limit_are_read_again_in_their_turn(nano: Model):
    image = (NANO / "number.png").read_bytes()
    asked = Unprepared(request=Request("What number?", images=[image]), options=SamplingOptions())
    size = nano.prepare(asked.request).media_bytes
    preparing = Preparing(2 * size)
    with preparing.prepared(nano, asked) as one, preparing.prepared(nano, asked) as two:
        assert isinstance(one, PreparedRequest)
        assert isinstance(two, PreparedRequest)
        with preparing.prepared(nano, asked) as three:
            assert three is asked.request
    with preparing.prepared(nano, asked) as again:
        assert isinstance(again, PreparedRequest)
    assert nano.generate(three).text == nano.generate(again).text


def test_a_server_without_room_for_media_answers_the_same(nano: Model):
    asked = {"messages": _user(_image((NANO / "number.png").read_bytes())), "temperature": 0, "max_tokens": 8}

    def said(prepared_bytes: int) -> str:
        settings = Settings(limits=Limits(prepared_bytes=prepared_bytes))
        with ServeThread(nano, settings) as running, running.client() as client:
            return client.post(URL, json=asked).json()["choices"][0]["message"]["content"]

    assert said(1) == said(256 * MIB)


def test_requests_are_read_one_at_a_time_and_one_that_is_left_waits_no_more(nano: Model):
    """Sixteen images at once would take the memory of a small device."""
    inside, most = [], []
    go_on = threading.Event()

    class Counting(ScriptedModel):
        def prepare(self, request: Request, **options: Any) -> PreparedRequest:
            inside.append(1)
            most.append(len(inside))
            assert go_on.wait(5)
            inside.pop()
            return super().prepare(request, **options)

    preparing, model = Preparing(MIB), Counting(nano)
    asked = Unprepared(request=Request("hello"), options=SamplingOptions())
    threads = [threading.Thread(target=preparing.prepare, args=(model, asked)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with pytest.raises(Stopped):
        preparing.prepare(model, Unprepared(request=asked.request, options=asked.options, should_stop=lambda: True))
    go_on.set()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (3, 1)


@pytest.mark.parametrize("url", [URL, f"{URL}/input_tokens"])
def test_a_client_that_leaves_while_it_is_read_frees_its_place(nano: Model, url: str):
    reading = threading.Event()

    class Reading(ScriptedModel):
        def prepare(self, request: Request, *, should_stop: Callable[[], bool], **options: Any) -> PreparedRequest:
            reading.set()
            while not should_stop():
                time.sleep(0.005)
            raise Stopped

    with ServeThread(Reading(nano), Settings()) as running:
        with running.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post(url, json={"messages": _user(), "stream": True}, timeout=0.3)
        assert reading.is_set()
        running.until(running.has_left)
        assert running.model.begun == []


def test_a_failure_of_preparing_gives_the_lock_back(nano: Model):
    preparing = Preparing(MIB)
    with pytest.raises(ConfigError):
        preparing.prepare(nano, Unprepared(request=Request("x", images=[b"no"]), options=SamplingOptions()))
    assert preparing.prepare(nano, Unprepared(request=Request("x"), options=SamplingOptions())).cost.prompt_tokens


def test_what_is_refused_without_a_turn_does_not_shorten_the_estimate_of_waiting(nano: Model):
    """Otherwise a burst of mistakes would let every client that is turned away come back at once."""
    with ServeThread(SlowModel(nano), Settings()) as running, running.client() as client:
        running.ask("hang 0.2;write 1 0")
        running.until(running.has_left)
        before_s = running.engine.pace.wait_s(1)
        for _ in range(5):
            assert client.post(URL, json=REFUSED["a damaged image"][0]).status_code == 400
        running.until(running.has_left)
        assert running.engine.pace.wait_s(1) == before_s > 0.1
