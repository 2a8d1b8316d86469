"""Rows may be used again for equal media only, and for as little memory as was granted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgephi.audio.features import AudioFeatures
from edgephi.base.cancellation import Stopped
from edgephi.images.crops import ImageViews, split_views
from edgephi.images.features import ImageFeatures
from edgephi.media.embedding_cache import EmbeddingCache, LazyEmbedding
from edgephi.media.encoders import Parts
from edgephi.sources.media_content import media_digest
from support.signals import random_image


def _rows(count: int) -> np.ndarray:
    return np.zeros((count, 4), np.float32)


def _seen(pixels: np.ndarray) -> ImageFeatures:
    return ImageFeatures(split_views(Image.fromarray(pixels), crop_size=56, patch_size=14, max_crops=4), 9)


def test_the_same_image_has_the_same_digest_and_any_other_another():
    one = random_image("one", 90, 60)
    darker = one.copy()
    darker[0, 0, 0] ^= 128
    mel = np.random.default_rng(0).standard_normal((20, 80), dtype=np.float32)
    louder = mel.copy()
    louder[-1, -1] += 1
    items = [
        (_seen(one), None),
        (_seen(darker), None),
        (_seen(random_image("two", 90, 60)), None),
        (AudioFeatures(mel, 3), "speech"),
        (AudioFeatures(mel, 3), "vision"),
        (AudioFeatures(louder, 3), "speech"),
        (AudioFeatures(mel[:19], 3), "speech"),
        (AudioFeatures(mel.reshape(10, 160), 3), "speech"),
    ]
    digests = {media_digest(item.content, projection) for item, projection in items}
    assert len(digests) == len(items)
    assert media_digest(_seen(one.copy()).content, None) in digests


def _views() -> ImageViews:
    return ImageViews(
        overview=np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 4, 4),
        tiles=np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4),
        patch_mask=np.arange(12).reshape(3, 2, 2) % 3 > 0,
        tile_rows=1,
        tile_columns=2,
        width=8,
        height=4,
    )


def test_saved_prefixes_find_their_media_again_whatever_the_classes_are_called():
    """The digests are those that the first release of saved prefixes wrote to disk."""
    mel = np.linspace(-3, 3, 5 * 80, dtype=np.float32).reshape(5, 80)
    assert (
        media_digest(ImageFeatures(_views(), 9).content, None).hex()
        == "830b654c58abf18c9cf17e37cf7e405bf5cd6e2d403a1336f45cfff003af3a0f"
    )
    assert (
        media_digest(AudioFeatures(mel, 3).content, "speech").hex()
        == "b5736be7871610c475a6bd2d15f2c54949ab47475f2cbbb8eddf221226cf5423"
    )


def test_every_field_counts():
    views = _views()
    others = [
        replace(views, tile_rows=2, tile_columns=1),
        replace(views, patch_mask=~views.patch_mask),
        replace(views, patch_mask=views.patch_mask.astype(np.uint8)),
        replace(views, overview=-views.overview),
        replace(views, tiles=views.tiles[::-1]),
    ]
    digests = {media_digest(ImageFeatures(one, 9).content, None) for one in [views, *others]}
    digests.add(media_digest(ImageFeatures(views, 10).content, None))
    assert len(digests) == 7


def test_the_least_recently_used_rows_are_evicted_first():
    cache = EmbeddingCache(3 * _rows(5).nbytes)
    for name in (b"a", b"b", b"c"):
        cache.put(name, _rows(5))
    assert cache.get(b"a") is not None
    cache.put(b"d", _rows(5))
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert cache.num_bytes == 3 * _rows(5).nbytes


def test_rows_as_large_as_the_budget_have_room():
    cache = EmbeddingCache(4 * 30)
    assert (cache.has_room(3, 10), cache.has_room(3, 11)) == (True, False)


def test_rows_larger_than_the_budget_are_not_kept():
    cache = EmbeddingCache(100)
    cache.put(b"a", _rows(50))
    assert (cache.get(b"a"), cache.num_bytes) == (None, 0)


def test_rows_are_encoded_once_when_asked_for():
    calls, cache = [], EmbeddingCache(10_000)

    def encode(parts: Parts) -> np.ndarray:
        calls.append(1)
        return _rows(7)

    first, second = (LazyEmbedding(7, b"x", encode, cache) for _ in range(2))
    assert (len(first), calls) == (7, [])
    assert first.rows() is first.rows() is second.rows()
    assert calls == [1]


def test_rows_that_could_not_be_encoded_are_tried_again():
    cache, answers = EmbeddingCache(10_000), [ValueError("no"), _rows(7)]

    def encode(parts: Parts) -> np.ndarray:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rows = LazyEmbedding(7, b"x", encode, cache)
    with pytest.raises(ValueError, match="no"):
        rows.rows()
    assert len(rows.rows()) == 7


class _Slow:
    """An encoder that waits until it is let go."""

    def __init__(self, *answers: np.ndarray | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, parts: Parts) -> np.ndarray:
        self.calls += 1
        answer = self.answers.pop(0)
        self.begun.set()
        assert self.go_on.wait(10)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_two_threads_that_want_the_same_rows_encode_them_once():
    """Audio that is encoded ahead must not be encoded again by the request that came for it meanwhile."""
    cache, encode = EmbeddingCache(10_000), _Slow(_rows(7))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get_or_encode, b"x", encode)
        assert encode.begun.wait(10)
        second = threads.submit(cache.get_or_encode, b"x", encode)
        assert len(cache.get_or_encode(b"y", lambda _: _rows(3))) == 3  # others need not wait
        encode.go_on.set()
        assert first.result(10) is second.result(10)
    assert encode.calls == 1


def test_who_waited_for_rows_that_failed_tries_itself():
    cache, encode = EmbeddingCache(10_000), _Slow(ValueError("no"), _rows(7))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get_or_encode, b"x", encode)
        assert encode.begun.wait(10)
        second = threads.submit(cache.get_or_encode, b"x", encode)
        encode.go_on.set()
        with pytest.raises(ValueError, match="no"):
            first.result(10)
        assert len(second.result(10)) == 7
    assert encode.calls == 2


def test_waiting_for_another_threads_rows_can_be_stopped():
    cache, encode = EmbeddingCache(10_000), _Slow(_rows(7))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(cache.get_or_encode, b"x", encode)
        assert encode.begun.wait(10)
        with pytest.raises(Stopped):
            cache.get_or_encode(b"x", encode, lambda: True)
        encode.go_on.set()
        assert len(first.result(10)) == 7
    assert len(cache.get_or_encode(b"x", encode)) == 7
    assert encode.calls == 1


def _stopped_after(cache: EmbeddingCache, digest: bytes, num_parts: int) -> int:
    """Encode parts of 16 bytes until so many are finished; how many there were before."""
    before: list[int] = []

    def encode(parts: Parts) -> np.ndarray:
        before.append(len(parts))
        for number in range(len(parts), num_parts):
            parts.append(np.full((1, 4), number, np.float32))
        raise Stopped

    with pytest.raises(Stopped):
        cache.get_or_encode(digest, encode)
    return before[0]


def test_an_encoding_that_was_stopped_goes_on_after_its_finished_parts():
    """A photo that makes room for a question must not be encoded from its first crop again."""
    cache = EmbeddingCache(100)
    assert _stopped_after(cache, b"x", 2) == 0
    assert (b"x" in cache, cache.get(b"x"), cache.num_parts(b"x"), cache.num_bytes) == (False, None, 2, 32)
    assert LazyEmbedding(4, b"x", lambda _: _rows(4), cache).num_parts == 2
    assert _stopped_after(cache, b"x", 3) == 2
    rows = cache.get_or_encode(b"x", lambda parts: np.concatenate([*parts, np.full((1, 4), 3, np.float32)]))
    np.testing.assert_array_equal(rows[:, 0], [0, 1, 2, 3])
    assert (b"x" in cache, cache.num_parts(b"x"), cache.num_bytes) == (True, 0, 64)


def test_parts_take_no_more_memory_than_was_granted():
    """The first ones are kept, as the next encoding goes on after them."""
    cache = EmbeddingCache(40)
    _stopped_after(cache, b"x", 5)
    assert (cache.num_parts(b"x"), cache.num_bytes) == (2, 32)
    cache.put(b"y", _rows(2))  # 32 bytes too
    assert (cache.num_parts(b"x"), cache.num_bytes) == (0, 32)
    small = EmbeddingCache(15)
    _stopped_after(small, b"x", 2)
    assert (small.num_parts(b"x"), small.num_bytes) == (0, 0)


def test_parts_just_within_the_budget_are_kept_and_cleared_with_the_rest():
    cache = EmbeddingCache(32)
    _stopped_after(cache, b"x", 2)
    assert cache.num_parts(b"x") == 2
    cache.clear()
    assert (cache.num_parts(b"x"), cache.num_bytes) == (0, 0)


def test_an_encoding_that_was_stopped_before_its_first_part_leaves_nothing():
    cache = EmbeddingCache(100)
    cache.put(b"y", _rows(1))
    _stopped_after(cache, b"x", 0)
    assert (cache.num_parts(b"x"), cache.num_bytes) == (0, 16)
