"""Requests with many images and clips, and images in fewer crops, through the whole model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgephi import CapacityError, ConfigError, Model, SamplingOptions
from support.bundles import small_bundle
from support.signals import random_audio, random_image
from support.vocabulary import special_id

USER, END, ASSISTANT = special_id("<|user|>"), special_id("<|end|>"), special_id("<|assistant|>")
IMAGE, AUDIO = special_id("<|endoftext10|>"), special_id("<|endoftext11|>")
IMAGES = [random_image(str(i), 60 + 20 * i, 110 - 7 * i) for i in range(8)]
RECORDINGS = [(random_audio(str(i), 0.2 + 0.17 * i, 16000), 16000) for i in range(5)]
PAGE = random_image("page", 300, 200)
FEW = SamplingOptions(max_new_tokens=4)
DAMAGED = b"no image at all"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1) as opened:
        yield opened


def _logits(model: Model, slots: list[int], **media: Any) -> np.ndarray:
    return model.logits([USER, *slots, 40, 41, END, ASSISTANT], **media)


def test_eight_images_and_five_recordings_follow_their_tags(model: Model):
    """`<|image_3|>` is the third file whatever the order of the tags; the wrong page answers another question."""
    order = [5, 0, 7, 2, 1, 6, 3, 4]
    tags = "".join(f"<|image_{i + 1}|>" for i in order) + "".join(f"<|audio_{i + 1}|>" for i in (4, 2, 0, 1, 3))
    reply = model.generate(tags + "what", images=IMAGES, audio=RECORDINGS, options=FEW)
    model.clear_cache()
    plain = "".join(f"<|image_{i + 1}|>" for i in range(8)) + "".join(f"<|audio_{i + 1}|>" for i in range(5))
    sorted_media = {"images": [IMAGES[i] for i in order], "audio": [RECORDINGS[i] for i in (4, 2, 0, 1, 3)]}
    same = model.generate(plain + "what", **sorted_media, options=FEW)
    assert (reply.token_ids, reply.timing.prompt_tokens) == (same.token_ids, same.timing.prompt_tokens)


def test_every_one_of_many_media_is_read(model: Model):
    """Dropping the last of eight files would go ignore_step in the reply."""
    slots = [IMAGE] * 8 + [AUDIO] * 5
    whole = _logits(model, slots, images=IMAGES, audio=RECORDINGS)
    for last in (0, 4, 7):
        others = [*IMAGES[:last], 255 - IMAGES[last], *IMAGES[last + 1 :]]
        assert np.abs(_logits(model, slots, images=others, audio=RECORDINGS) - whole).max() > 1e-4
    quiet = [*RECORDINGS[:4], (RECORDINGS[4][0][::-1].copy(), 16000)]
    assert np.abs(_logits(model, slots, images=IMAGES, audio=quiet) - whole).max() > 1e-4


def test_the_limit_of_crops_never_shares_what_was_read_with_another(model: Model):
    """A page asked about again in full detail must not be answered from its thumbnail."""
    wanted = {}
    for crops in (None, 1, 4):
        model.clear_cache()
        reply = model.generate("what", images=[PAGE], max_crops=crops, options=FEW)
        wanted[crops] = reply.token_ids, reply.timing.prompt_tokens
    assert wanted[1][1] < wanted[4][1] < wanted[None][1]
    for crops in (1, None, 4, 1):
        reply = model.generate("what", images=[PAGE], max_crops=crops, options=FEW)
        assert (reply.token_ids, reply.timing.prompt_tokens) == wanted[crops]
    assert (
        np.abs(_logits(model, [IMAGE], images=[PAGE], max_crops=1) - _logits(model, [IMAGE], images=[PAGE])).max() > 0
    )


def test_a_saved_prefix_keeps_its_limit_of_crops(model: Model, tmp_path):
    """`--cache-prompt` with `--max-crops` saves what the request will ask for."""
    saved = {
        crops: model.save_prefix("what", tmp_path / f"{crops}", images=[PAGE], max_crops=crops) for crops in (1, None)
    }
    assert saved[1] < saved[None]
    assert model.cache_prompt("what", tmp_path / "new", images=[PAGE], max_crops=1) == saved[1]


@pytest.mark.parametrize(("max_crops", "use"), [(0, "a whole number, 1 or more"), (37, "1 to 36")])
def test_limits_out_of_range_are_refused_and_change_nothing(model: Model, max_crops: int, use: str):
    before = model.generate("what", images=[PAGE], options=FEW)
    with pytest.raises(ConfigError, match=rf"max_crops is {max_crops}; use {use}"):
        model.generate("what", images=[PAGE], max_crops=max_crops)
    assert model.generate("what", images=[PAGE], options=FEW).token_ids == before.token_ids


def test_more_media_than_the_context_holds_say_how_much_too_long():
    """Fewer crops are a way out, so the request must be told apart from a broken one."""
    with Model.load(small_bundle(), threads=1, max_context=200) as narrow:
        with pytest.raises(CapacityError, match=r"200"):
            narrow.generate("what", images=IMAGES, options=FEW)
        reply = narrow.generate("what", images=IMAGES[:2], max_crops=1, options=FEW)
        assert reply.timing.prompt_tokens < 200


def test_media_may_fill_the_context_to_its_last_position(model: Model):
    """An image takes the place of its one token, so a request is as long as its rows and its other tokens."""
    ids, media = [USER, IMAGE, AUDIO, IMAGE, 40, END, ASSISTANT], {"images": IMAGES[:2], "audio": RECORDINGS[:1]}
    whole = model.logits(ids, **media, rows="all")
    with Model.load(small_bundle(), threads=1, max_context=len(whole)) as filled:
        np.testing.assert_array_equal(filled.logits(ids, **media, rows="all"), whole)
    with (
        Model.load(small_bundle(), threads=1, max_context=len(whole) - 1) as small,
        pytest.raises(CapacityError, match=rf"needs {len(whole)} tokens"),
    ):
        small.logits(ids, **media)


def test_media_are_read_only_while_there_is_room_for_them():
    """A hundred large scans must not be decoded before the second is found to be too much."""
    with Model.load(small_bundle(), threads=1, max_context=100) as small:
        with pytest.raises(CapacityError, match=r"needs at least [0-9,]+ tokens .*set max_context to at least"):
            small.generate("what", images=[PAGE, DAMAGED])
        with pytest.raises(CapacityError, match=r"needs at least 10[0-9] tokens"):
            small.generate("", images=[DAMAGED] * 100)  # a row each is too much already
        with pytest.raises(CapacityError, match=r"needs [0-9,]+ tokens"):
            small.generate("what", images=[PAGE])
        assert small.generate("what", images=[IMAGES[0]], options=FEW).token_ids


def test_a_image_that_stays_in_its_turn_is_not_read_again(model: Model):
    """As a part of its message; the second question then reads only what is new."""
    model.clear_cache()
    turn = {"role": "user", "content": [{"type": "image", "image": PAGE}, {"type": "text", "text": "what"}]}
    first = model.generate([turn], options=FEW)
    more = [turn, {"role": "assistant", "content": first.text}, {"role": "user", "content": "and why"}]
    second = model.generate(more, options=FEW)
    assert second.timing.cached_tokens >= first.timing.prompt_tokens - 1
