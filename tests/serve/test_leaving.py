"""A client that leaves: its work ends, at any stage, whether its answer was streamed or not."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from edgephi import Model, Stage
from edgephi.base.stage import OnStage
from edgephi_serve.settings import Settings
from support.bundles import nano_bundle
from support.serve_thread import ScriptedModel, ServeThread, body, request_bytes
from support.signals import random_image


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


@pytest.mark.parametrize("middlewares", [0, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("script", ["encode a 1000 0.05", "prefill a 1000 0.05", "write 1000 0.05"])
def test_a_client_that_leaves_stops_the_work_within_a_pass(nano, middlewares, is_stream, script):
    def wrap(app):
        async def through(scope, receive, send):
            await app(scope, receive, send)

        return through

    def all_of(app):
        for _ in range(middlewares):
            app = wrap(app)
        return app

    with ServeThread(ScriptedModel(nano), Settings(), wrap=all_of) as running:
        with running.raw() as raw:
            raw.sendall(request_bytes(json.dumps(body(script, stream=is_stream)).encode()))
            running.until(lambda: running.engine.running == 1)
        began_s = time.monotonic()
        running.until(running.has_left)
        assert time.monotonic() - began_s < 2  # of 50 seconds
        passes = running.model.passes
        time.sleep(0.1)
        assert running.model.passes == passes < 40


class _Left:
    """The real model. `leave` is called at a stage; only then the work goes on, and further stages are kept."""

    def __init__(self, model: Model, at: Callable[[Stage], bool], leave: Callable[[], None]) -> None:
        self._model, self._at, self._leave = model, at, leave
        self.later: list[Stage] | None = None
        self.reasons: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stream(self, request: Any, *, on_stage: OnStage, **given: Any) -> Iterator[Any]:
        def observed(stage: Stage) -> None:
            if self.later is not None:
                self.later.append(stage)
            elif self._at(stage):
                self.later = []
                self._leave()
            on_stage(stage)

        for event in self._model.stream(request, on_stage=observed, **given):
            if hasattr(event, "reply"):
                self.reasons.append(event.reply.finish_reason)
            yield event


@pytest.mark.parametrize(
    ("at", "is_stream"),
    [
        (lambda stage: stage.name == "encode" and stage.done == 1, True),
        (lambda stage: stage.name == "prefill" and 0 < stage.done < stage.total, False),
        (lambda stage: stage.name == "decode" and stage.done == 3, True),
    ],
    ids=["encode", "prefill", "decode"],
)
def test_the_real_model_begins_no_further_pass_once_its_client_has_left(nano, at, is_stream):
    """Of an image of several crops, a prompt of several passes and a reply that would be long."""
    file = io.BytesIO()
    Image.fromarray(random_image("left", 500, 330)).save(file, "PNG")
    image = {"url": "data:;base64," + base64.b64encode(file.getvalue()).decode()}
    text = {"type": "text", "text": "hello " * 600}
    asked = body(
        [{"type": "image_url", "image_url": image}, text],
        stream=is_stream,
        edgephi={"regex": "[a-z]{300}", "speculation": False},
    )
    nano.clear_cache()

    def leave() -> None:
        raw.close()
        running.until(lambda: all(job.stopped_by == "client" for job in running.engine._jobs))

    running = ServeThread(_Left(nano, at, leave), Settings())
    with running, running.connected() as raw:
        raw.sendall(request_bytes(json.dumps(asked).encode()))
        running.until(lambda: running.model.later is not None)
        running.until(running.has_left)
    assert (running.model.later, running.model.reasons) == ([], ["cancelled"])
