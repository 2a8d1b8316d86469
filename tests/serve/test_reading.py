"""What a chat's body becomes: its limits, its images, its replies."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from edgephi import Event, Request, SamplingOptions
from edgephi_serve.errors import ApiError
from edgephi_serve.reading.chat import ChatWork, read_chat
from edgephi_serve.reading.messages import runtime_messages
from edgephi_serve.settings import Limits, Settings
from edgephi_serve.turns.jobs import Job

PIXEL = "data:image/png;base64,aGVsbG8="


def _work(content: object = "abcd", settings: Settings | None = None, **fields: Any) -> ChatWork:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    return read_chat(json.dumps(body).encode(), settings or Settings(max_new_tokens=7), ("a",))


def _image(**more: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": PIXEL, **more}}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_as_many_images_and_messages_as_allowed_are_taken():
    settings = Settings(limits=Limits(images=2, messages=3))
    _work([_image(), _image()], settings)
    with pytest.raises(ApiError) as refused:
        _work([_image(), _image(), _image()], settings)
    assert refused.value.message == "The request has 3 images; send 2 or fewer."
    turn = {"role": "user", "content": "a"}
    _work(settings=settings, messages=[turn] * 3)
    with pytest.raises(ApiError) as refused:
        _work(settings=settings, messages=[turn] * 4)
    assert refused.value.message == "messages has 4 entries; use 1 to 3."


@pytest.mark.parametrize(("detail", "crops"), [("low", 1), ("high", 4), ("auto", 4)])
def test_an_image_in_low_detail_is_one_crop(detail: str, crops: int):
    parts = [_image(detail=detail), _image()]
    assert _work(parts, edgephi={"max_crops": 4}).max_crops == crops


def test_all_replies_count_for_how_long_a_request_will_take():
    size = _work([_text("abcd"), _image()], n=3, max_tokens=5).size
    assert (size.letters, size.media, size.max_new_tokens) == (4, 1, 15)


class _Model:
    """Notes the options of each reply."""

    def __init__(self) -> None:
        self.options: list[SamplingOptions] = []

    def stream(self, _: Request, *, options: SamplingOptions, **__: Any) -> Generator[Event, None, None]:
        self.options.append(options)
        yield from ()


class _Job:
    """A job that has its turn at once."""

    is_pausing = False
    reply = 0

    def __init__(self) -> None:
        self.model = _Model()

    @contextmanager
    def prepared_turn(self, request: Request, _: SamplingOptions) -> Iterator[Request]:
        yield request

    def should_stop(self) -> bool:
        return False

    def on_stage(self, stage: object) -> None: ...


@pytest.mark.parametrize(("seed", "seeds"), [(5, [5, 6, 7]), (2**64 - 1, [2**64 - 1, 0, 1]), (None, [None] * 3)])
def test_each_reply_has_a_seed_of_its_own(seed: int | None, seeds: list[int | None]):
    """Three times the same reply would be no choice."""
    job = _Job()
    _work(n=3, seed=seed).run(cast("Job[tuple[int, Event]]", job))
    assert [options.seed for options in job.model.options] == seeds


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a <|image_1|> b", ["text", "image", "text"]),
        ("a <|image_2|> b", ["text", "image"]),
        ("a <|image_1|> <|image_1|>", ["text", "image"]),
        ("a <|audio_1|> b", ["text", "image"]),
        ("a b", ["text", "image"]),
    ],
)
def test_a_tag_is_a_place_only_where_each_medium_has_one(text: str, kinds: list[str]):
    """Any other is letters that a user wrote, and the media stay where they came."""
    (message,) = runtime_messages(_work([_text(text), _image()]).messages)
    assert [part["type"] for part in message["content"]] == kinds
