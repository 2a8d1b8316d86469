"""A request that is prepared ahead is answered as if it had not been, and refused before it waits for its turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgephi import CapacityError, ConfigError, Grammar, Model, SamplingOptions
from edgephi.base.cancellation import Stopped
from edgephi.prompt.tokenizer import Tokenizer
from support.bundles import small_bundle
from support.signals import random_audio, random_image

IMAGES = [random_image("ahead", 300, 120), random_image("ahead too", 60, 40)]
AUDIO = [(random_audio("ahead", 1.7, 16000), 16000)]
FEW = SamplingOptions(max_new_tokens=6, temperature=0.0)
TOOL = {"name": "lock", "parameters": {"device": "str"}}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1, max_context=2000) as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("prompt", "given"),
    [
        ("what is this", {}), ("what", {"images": IMAGES}), ("what", {"audio": AUDIO}),
        ("what", {"images": IMAGES, "audio": AUDIO, "max_crops": 2}),
        ("one <|image_2|> two <|image_1|>", {"images": IMAGES}),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}], {"tools": [TOOL]}),
    ],
)  # fmt: skip
def test_the_reply_and_the_cost_are_those_of_the_request(model: Model, prompt: Any, given: dict[str, Any]):
    plain = model.generate(prompt, options=FEW, **given)
    model.clear_cache()
    ready = model.prepare(prompt, **given)
    for _ in range(2):
        reply = model.generate(ready, options=FEW)
        assert (reply.token_ids, reply.adapter) == (plain.token_ids, plain.adapter)
        assert reply.timing.prompt_tokens == ready.cost.prompt_tokens == plain.timing.prompt_tokens
        assert reply.timing.ttft_s >= reply.timing.preprocess_s >= ready.preprocess_s > 0
    assert len(ready.cost.images) == len(given.get("images", ()))


def test_the_cost_of_media_is_their_shape(model: Model):
    cost = model.prepare("what", images=IMAGES, audio=AUDIO).cost
    wide, small = cost.images
    assert (small.columns, small.rows) == (2, 1)
    assert wide.width / wide.height == pytest.approx(300 / 120, rel=0.05)
    assert wide.tokens > small.tokens > 0
    assert cost.audio[0].duration_s == pytest.approx(1.7, abs=0.01)
    assert cost.prompt_tokens == cost.text_tokens + cost.image_tokens + cost.audio_tokens


def test_media_are_read_once(model: Model, tmp_path: Path):
    """A program may remove an upload as soon as its request is prepared."""
    path = tmp_path / "a.png"
    Image.fromarray(IMAGES[0]).save(path)
    ready = model.prepare("what", images=[path])
    expected = model.generate("what", images=[path], options=FEW)
    path.unlink()
    assert model.generate(ready, options=FEW).token_ids == expected.token_ids
    assert ready.media_bytes > IMAGES[0].nbytes


def test_a_prediction_is_read_once(model: Model, monkeypatch: pytest.MonkeyPatch):
    """Of a file of the context's length that takes as long as the prompt; another prediction counts all the same."""
    read: list[str] = []
    encode_text = Tokenizer.encode_text

    def noted(self: Tokenizer, text: str) -> list[int]:
        read.append(text)
        return encode_text(self, text)

    monkeypatch.setattr(Tokenizer, "encode_text", noted)
    reply = model.generate("hello", options=FEW)
    expected = replace(FEW, prediction="turn on the light")
    ready = model.prepare("hello", options=expected)
    for _ in range(2):
        assert model.generate(ready, options=expected).token_ids == reply.token_ids
    assert read.count(expected.prediction) == 1
    model.generate(ready, options=replace(FEW, prediction="quite another"))
    assert read.count("quite another") == 1


def test_no_turn_is_needed(model: Model):
    """A request of this thread is open, so any other that needed a turn would be refused or wait."""
    with closing(model.stream("hello", options=FEW)) as events:
        next(events)
        assert model.prepare("what", images=IMAGES).cost.images


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"images": [b"no image"]}, ConfigError, "image"),
        ({"images": IMAGES, "max_crops": 1000}, ConfigError, "max_crops is 1000"),
        ({"options": SamplingOptions(constraint=Grammar("start: missing"))}, ConfigError, "the grammar"),
        ({"options": SamplingOptions(logit_bias={10**7: 1.0})}, ConfigError, "logit_bias names token 10000000"),
        ({"audio": [(np.zeros(16000 * 300, np.float32), 16000)]}, CapacityError, "2,000"),
    ],
)
def test_what_the_reply_would_be_refused_for_is_refused(
    model: Model, given: dict[str, Any], error: type[Exception], match: str
):
    with pytest.raises(error, match=match) as refused:
        model.prepare("what", **given)
    with pytest.raises(error) as later:
        model.generate("what", **{"options": FEW, **given})
    assert str(later.value) == str(refused.value)


def test_a_long_text_is_refused(model: Model):
    with pytest.raises(CapacityError, match="2,000"):
        model.prepare("hello " * 5000)


def test_it_can_be_stopped(model: Model):
    with pytest.raises(Stopped):
        model.prepare("what", images=IMAGES, should_stop=lambda: True)


def test_a_prepared_request_takes_no_fields_and_no_other_model(model: Model):
    ready = model.prepare("hello")
    with pytest.raises(ConfigError, match="give its fields to `prepare`"):
        model.stream(ready, max_crops=1)
    with Model.load(small_bundle(), threads=1) as other, pytest.raises(ConfigError, match="another model"):
        other.stream(ready)


def test_a_closed_model_prepares_nothing():
    model = Model.load(small_bundle(), threads=1)
    model.close()
    with pytest.raises(ConfigError, match="closed"):
        model.prepare("hello")
