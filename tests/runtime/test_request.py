"""A request as a value: checked when it is made, equal to the keywords that it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ConfigError, Model, ModelOptions, Request, SamplingOptions
from edgephi.model_options import ModelFields
from edgephi.request import RequestFields, as_request
from support.bundles import small_bundle
from support.signals import random_audio, random_image

FEW = SamplingOptions(max_new_tokens=4, temperature=0.0)
IMAGE = random_image("request", 60, 40)
AUDIO = (random_audio("request", 0.6, 16000), 16000)
TOOLS = [{"name": "lamp", "parameters": {"type": "object"}}]


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), ModelOptions(threads=1), max_queue=3) as loaded:
        yield loaded


@pytest.mark.parametrize(("keywords", "value"), [(RequestFields, Request), (ModelFields, ModelOptions)])
def test_the_keywords_are_the_fields_of_the_value(keywords: type, value: Any):
    """One that was added to only one of them could be given in one form and not in the other."""
    fields = {f.name: f.type for f in dataclasses.fields(value) if f.init and f.name != "messages"}
    assert {name: hint.__forward_arg__ for name, hint in keywords.__annotations__.items()} == fields


@pytest.mark.parametrize(
    "fields", [{}, {"images": [IMAGE], "max_crops": 1}, {"audio": [AUDIO]}, {"tools": TOOLS}, {"adapter": "speech"}]
)
def test_a_request_is_answered_as_its_keywords_are(model: Model, fields: dict[str, Any]):
    by_keywords = model.generate("what", options=FEW, **fields)
    assert model.generate(Request("what", **fields), options=FEW).token_ids == by_keywords.token_ids


def test_keywords_beside_a_request_replace_its_fields(model: Model):
    request = Request("what", images=[IMAGE, IMAGE])
    assert as_request(request) is request
    assert as_request(request, images=[IMAGE]).images == (IMAGE,)
    alone = model.generate("what", images=[IMAGE], options=FEW)
    assert model.generate(request, images=[IMAGE], options=FEW).timing.prompt_tokens == alone.timing.prompt_tokens


def test_logits_of_a_request_are_those_of_its_ids(model: Model):
    request = Request("what", images=[IMAGE])
    prompt = model._prefill._prompts.build(request.turns)
    np.testing.assert_array_equal(model.logits(request), model.logits(prompt.token_ids, images=[IMAGE]))
    fewer = Request("what", images=[IMAGE], max_crops=1)
    np.testing.assert_array_equal(model.logits(request, max_crops=1), model.logits(fewer))
    low = model.logits(prompt.token_ids, images=[IMAGE], detail="low", max_crops=4)
    np.testing.assert_array_equal(low, model.logits(fewer))


def test_a_prefix_of_a_request_serves_it(model: Model, tmp_path: Path):
    request = Request([{"role": "system", "content": "short"}, {"role": "user", "content": "what"}])
    saved = model.save_prefix(request, tmp_path / "prefix")
    model.clear_cache()
    assert model.cache_prompt(request, tmp_path / "prefix") == saved
    assert model.generate(request, options=FEW).timing.cached_tokens == saved - 1


@pytest.mark.parametrize(
    ("messages", "fields", "words"),
    [
        ([], {}, "non-empty list"),
        ([{"role": "boss", "content": "x"}], {}, "role is 'boss'"),
        ("what", {"images": IMAGE}, "images must be a list"),
        ("what", {"audio": AUDIO}, "audio must be a list"),
        ("<|image_1|> and <|image_2|>", {"images": [IMAGE]}, "image"),
        ("what", {"adapter": "fast"}, "adapter is 'fast'; use auto, none, vision, speech"),
        ("what", {"max_crops": 0}, "max_crops is 0; use a whole number, 1 or more"),
        ("what", {"max_crops": 1.5}, "max_crops is 1.5"),
        ("what", {"detail": "fine"}, "detail is 'fine'; use auto, low, high"),
        ("what", {"tools": "no json"}, "JSON"),
        ("what", {"tool_choice": "required"}, "no tools are given"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_request_is_made(messages: Any, fields: dict[str, Any], words: str):
    """And not after it waited for its turn."""
    with pytest.raises(ConfigError, match=words):
        Request(messages, **fields)


def test_a_stream_refuses_a_wrong_request_before_it_is_iterated(model: Model):
    with pytest.raises(ConfigError, match="role is 'boss'"):
        model.stream([{"role": "boss", "content": "x"}])
    for wrong in ({"image": [IMAGE]}, {"temperature": 1.0}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            model.stream("what", **wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=next(iter(wrong))):
            model.stream(Request("what"), **wrong)  # type: ignore[arg-type]


def test_loading_refuses_an_unknown_option():
    for options in (None, ModelOptions()):
        with pytest.raises(TypeError, match="thread"):
            Model.load(small_bundle(), options, thread=1)  # type: ignore[call-arg]


def test_a_request_cannot_be_changed_by_its_lists():
    messages, images = [{"role": "user", "content": "what"}], [IMAGE]
    request = Request(messages, images=images)
    turns = request.turns
    messages.append({"role": "boss", "content": "x"})
    images.append(IMAGE)
    assert (request.turns, request.images) == (turns, (IMAGE,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.adapter = "none"  # type: ignore[misc]


def test_reading_the_messages_counts_as_preprocessing(model: Model, monkeypatch: pytest.MonkeyPatch):
    """A megabyte of base64 is part of the time to the first token."""
    import edgephi.preparation as module  # noqa: PLC0415 - patched here

    monkeypatch.setattr(module, "as_request", lambda *given, **fields: (_sleep(0.2), as_request(*given, **fields))[1])
    timing = model.generate("what", options=FEW).timing
    assert timing.preprocess_s >= 0.2
    assert timing.ttft_s >= timing.preprocess_s
    assert timing.queue_s < 0.15


def _sleep(seconds: float) -> None:
    import time  # noqa: PLC0415 - used once

    time.sleep(seconds)
