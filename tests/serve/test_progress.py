"""A request before its first token makes room for a short one, at any stage of its work, and loses none of it."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from edgephi import Model, SamplingOptions, Stage
from edgephi.base.stage import OnStage
from edgephi.media.encoders import VisionEncoder
from edgephi_serve.settings import Settings, Times
from support.bundles import nano_bundle
from support.serve_thread import ServeThread, body, request_bytes
from support.signals import random_image

#: A text so long that its request is not taken for a short one.
LETTERS = "x" * 2_000_000
SLOW = pytest.mark.slow
#: Added to each crop of the real encoder.
_CROP_S = 0.02


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


def _paced(running: ServeThread) -> None:
    """Let the server learn how fast this model is."""
    assert running.ask("write 3 0").status_code == 200
    running.until(running.has_left)


def _long(running: ServeThread, script: str, answers: dict[str, httpx.Response]) -> threading.Thread:
    def ask() -> None:
        answers[script] = running.ask(script)

    before = running.engine.running + running.engine.waiting
    thread = threading.Thread(target=ask)
    thread.start()
    running.until(lambda: running.engine.running + running.engine.waiting == before + 1)
    return thread


def test_a_long_prefill_makes_room_for_a_short_request(serve):
    running = serve(slice_s=0.2)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    thread = _long(running, "prefill a 20 0.05;write 3 0", answers)
    short = running.ask("write 3 0", max_tokens=8)
    assert thread.is_alive()
    thread.join()
    long = answers["prefill a 20 0.05;write 3 0"].json()
    assert short.json()["choices"][0]["message"]["content"] == "0 1 2 "
    assert running.model.passes == 20  # none was in vain
    assert long["choices"][0]["message"]["content"] == "0 1 2 "
    assert (long["edgephi"]["pauses"], short.json()["edgephi"]["pauses"]) == (1, 0)


@SLOW
def test_it_makes_room_as_often_as_it_is_due_and_goes_on_before_other_long_ones(serve):
    """A photo takes minutes on a small machine; with a number of pauses the next question waited for the rest of it."""
    running = serve(slice_s=0.05)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    scripts = [f"prefill {name} 100 0.04;{LETTERS}" for name in "ab"]
    threads = [_long(running, script, answers) for script in scripts]
    while threads[0].is_alive():
        assert running.ask("write 1 0", max_tokens=1).status_code == 200
    for thread in threads:
        thread.join()
    assert answers[scripts[0]].json()["edgephi"]["pauses"] > 5
    order = [text for text in running.model.begun if text.startswith("prefill")]
    assert order == sorted(order)  # b begins after a has ended
    assert running.model.passes == 200


@SLOW
def test_requests_that_were_taken_for_short_do_not_keep_it_from_its_work(serve):
    """The first such one takes more than the long one has had by then; the next waits until it has caught up."""
    running = serve(slice_s=0.05)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    script = f"prefill a 50 0.04;{LETTERS}"
    thread = _long(running, script, answers)
    while thread.is_alive():
        assert running.ask("write 5 0.2", max_tokens=1).status_code == 200
    thread.join()
    seconds = 50 * 0.04
    assert 1 <= answers[script].json()["edgephi"]["pauses"] <= seconds / 1.0 + 2


@SLOW
def test_a_long_request_does_not_overtake(serve):
    running = serve(slice_s=0.05)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    threads = [_long(running, f"prefill {name} 20 0.05;{LETTERS}", answers) for name in "abc"]
    for thread in threads:
        thread.join()
    assert [text[:9] for text in running.model.begun[1:]] == ["prefill a", "prefill b", "prefill c"]


def test_what_the_cache_has_lost_is_read_again_once(serve):
    running = serve(slice_s=0.1)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    thread = _long(running, "prefill lost 15 0.04", answers)
    for _ in range(3):
        assert running.ask("write 1 0", max_tokens=1).status_code == 200
    thread.join()
    assert answers["prefill lost 15 0.04"].json()["edgephi"]["pauses"] == 1


def test_encoding_makes_room_too_and_its_crops_are_kept(serve):
    running = serve(slice_s=0.2)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    script = "encode a 20 0.05;prefill a 4 0.05;write 3 0"
    thread = _long(running, script, answers)
    assert running.ask("write 3 0", max_tokens=8).json()["choices"][0]["message"]["content"] == "0 1 2 "
    assert thread.is_alive()
    thread.join()
    assert running.model.passes == 24  # none was in vain
    long = answers[script].json()
    assert (long["choices"][0]["message"]["content"], long["edgephi"]["pauses"]) == ("0 1 2 ", 1)


def test_crops_that_were_evicted_are_encoded_again_once(serve):
    running = serve(slice_s=0.1)
    _paced(running)
    answers: dict[str, httpx.Response] = {}
    thread = _long(running, "encode lost 15 0.04", answers)
    for _ in range(3):
        assert running.ask("write 1 0", max_tokens=1).status_code == 200
    thread.join()
    assert answers["encode lost 15 0.04"].json()["edgephi"]["pauses"] == 1


def test_a_request_that_is_paused_can_still_be_left(serve):
    running = serve(slice_s=0.1)
    _paced(running)
    with running.raw() as raw:
        raw.sendall(request_bytes(json.dumps(body("prefill a 100 0.05")).encode()))
        running.until(lambda: running.engine.running == 1)
        answers: dict[str, httpx.Response] = {}
        thread = _long(running, "write 10 0.05", answers)
        running.until(lambda: "write 10 0.05" in running.model.begun)
    thread.join()
    running.until(running.has_left)
    assert running.model.passes < 20


class _Interrupted:
    """The real model; `meanwhile` is called once, before the fourth crop of an image."""

    def __init__(self, model: Model, meanwhile: Callable[[], None]) -> None:
        self._model = model
        self._meanwhile = [meanwhile]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stream(self, request: Any, *, on_stage: OnStage, **given: Any) -> Any:
        def observed(stage: Stage) -> None:
            if stage.name == "encode" and stage.done == 3 and self._meanwhile:
                self._meanwhile.pop()()
            on_stage(stage)

        return self._model.stream(request, on_stage=observed, **given)


def test_a_photo_that_makes_room_is_answered_as_if_alone(nano, monkeypatch):
    """Through the real encoder: each crop is encoded once, before or after the short request."""
    file, crops, texts = io.BytesIO(), [], []
    Image.fromarray(random_image("room", 500, 330)).save(file, "PNG")
    expected = nano.generate(
        "What is this?", images=[file.getvalue()], options=SamplingOptions.greedy(max_new_tokens=8)
    )
    nano.clear_cache()
    encode = VisionEncoder._view

    def slowly(self: VisionEncoder, *given: Any) -> Any:
        crops.append(1)
        time.sleep(_CROP_S)
        return encode(self, *given)

    monkeypatch.setattr(VisionEncoder, "_view", slowly)
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]

    def ask_short() -> None:
        turns = running.engine._admission.turns
        threads.append(threading.Thread(target=lambda: texts.append(running.ask("hello", max_tokens=2))))
        threads[0].start()
        running.until(lambda: turns.is_wanted(turns.holder))

    threads: list[threading.Thread] = []
    running = ServeThread(_Interrupted(nano, ask_short), Settings(times=Times(slice_s=0.001)))
    with running:
        running.engine.pace.note_reply(replace(expected.timing, prefill_s=1e-6, decode_s=1e-6))
        with running.client() as client:
            asked = {"messages": [{"role": "user", "content": parts}], "temperature": 0, "max_tokens": 8}
            photo = client.post("/v1/chat/completions", json=asked).json()
        threads[0].join()
    assert photo["edgephi"]["pauses"] == 1
    _check_whole(photo)
    assert photo["choices"][0]["message"]["content"] == expected.text
    assert texts[0].status_code == 200
    assert len(crops) == 1 + 3 * 2


def _check_whole(paused: dict) -> None:
    """Times and counts are those of all turns: with the last turn's alone a photo would seem to have been cheap."""
    timing = paused["edgephi"]["timing"]
    assert timing["encode_s"] >= _CROP_S * 7, "only the crops of the last turn were counted"
    assert timing["ttft_s"] >= timing["encode_s"] + timing["prefill_s"]
    assert paused["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
