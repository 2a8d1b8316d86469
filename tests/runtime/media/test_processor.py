"""Several images and recordings in one request, and images cut into fewer crops than the model could take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from edgephi.audio.features import AudioFeatures
from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.images.crops import num_image_rows, plan_crops, split_views
from edgephi.images.features import ImageFeatures
from edgephi.media.processor import MediaProcessor
from edgephi.ort.session import DeviceOptions
from support.bundles import small_bundle
from support.signals import random_audio, random_image

OWN = 36  # crops of the small checkpoint


@pytest.fixture(scope="module")
def processor() -> Iterator[MediaProcessor]:
    opened = MediaProcessor(Bundle(small_bundle()), DeviceOptions(threads=1))
    yield opened
    opened.close()


def _image(processor: MediaProcessor, source: object, max_crops: int | None = None) -> ImageFeatures:
    (item,) = processor.prepare([source], [], max_crops)
    assert isinstance(item, ImageFeatures)
    return item


def test_many_images_and_recordings_are_read_in_order_each_as_if_alone(processor: MediaProcessor):
    """The answer about the third page must not be about the first."""
    images = [random_image(str(i), 60 + 35 * i, 130 - 12 * i) for i in range(8)]
    recordings = [(random_audio(str(i), 0.2 + 0.31 * i, 16000), 16000) for i in range(5)]
    items = processor.prepare(images, recordings)
    alone = [processor.prepare([source], [])[0] for source in images] + [
        processor.prepare([], [c])[0] for c in recordings
    ]
    assert [item.num_rows for item in items] == [item.num_rows for item in alone]
    assert len({item.num_rows for item in items}) > 8
    for item, other in zip(items, alone, strict=True):
        rows = processor.encode(item, "speech")
        assert len(rows) == item.num_rows
        np.testing.assert_array_equal(rows, processor.encode(other, "speech"))


@pytest.mark.parametrize("max_crops", [1, 2, 3, 5, OWN])
@pytest.mark.parametrize("size", [(30, 20), (56, 56), (300, 200), (200, 300), (270, 60)])
def test_fewer_crops_follow_the_models_rule_with_that_number(
    processor: MediaProcessor, size: tuple[int, int], max_crops: int
):
    """Fewer rows to read, of the same image and in the shape the model was trained on."""
    pixels = random_image("crops", *size)
    views = _image(processor, pixels, max_crops).views
    wanted = split_views(Image.fromarray(pixels), crop_size=56, patch_size=14, max_crops=max_crops)
    assert len(views) - 1 == views.tile_rows * views.tile_columns <= max_crops
    plan = plan_crops(*size, crop_size=56, max_crops=max_crops)
    assert (views.tile_rows, views.tile_columns) == (plan.tile_rows, plan.tile_columns)
    np.testing.assert_array_equal(views.pixels, wanted.pixels)
    np.testing.assert_array_equal(views.patch_mask, wanted.patch_mask)


def test_fewer_crops_take_fewer_rows_and_none_is_the_models_own_number(processor: MediaProcessor):
    pixels = random_image("page", 400, 300)
    few, own, same = (_image(processor, pixels, crops) for crops in (4, None, OWN))
    assert few.num_rows < own.num_rows == same.num_rows
    assert len(processor.encode(few, None)) == few.num_rows == num_image_rows(few.views)
    np.testing.assert_array_equal(own.views.pixels, same.views.pixels)


@pytest.mark.parametrize("max_crops", [0, -1, OWN + 1, 1.5, True, "4", float("nan")])
def test_other_numbers_of_crops_are_refused_with_the_limit(processor: MediaProcessor, max_crops: object):
    """Grids that the model never saw would be answered as confidently as others."""
    with pytest.raises(ConfigError, match=rf"^max_crops is .*; use 1 to {OWN}, this model's own number$"):
        processor.prepare([random_image("refused", 60, 40)], [], max_crops)


def test_a_model_without_sight_needs_no_upper_limit():
    """A program that always passes its setting must work with a speech model too."""
    deaf_to_images = MediaProcessor(Bundle(small_bundle(modalities=("text", "speech"))), DeviceOptions(threads=1))
    assert len(deaf_to_images.prepare([], [(random_audio("speech", 0.5, 16000), 16000)], 99)) == 1
    with pytest.raises(ConfigError, match=r"max_crops is 0; use 1 or more"):
        deaf_to_images.prepare([], [], 0)


def test_a_image_too_thin_is_refused_by_name(processor: MediaProcessor, tmp_path):
    """With eight images in a request, the message must say which one."""
    path = tmp_path / "strip.png"
    Image.new("RGB", (3, 900)).save(path)
    with pytest.raises(ConfigError, match=r"strip\.png: image is 3x900 pixels; .*cut it into less extreme pieces"):
        processor.prepare([random_image("fine", 60, 40), path], [])


def test_prepared_images_are_kept_as_bytes(processor: MediaProcessor):
    """Eight large images wait for the encoder together: 0.7 GB in floating point on the real model."""
    views = _image(processor, random_image("large", 900, 900)).views
    assert (len(views), views.tiles.dtype) == (1 + OWN, np.uint8)
    kept = views.overview.nbytes + views.tiles.nbytes + views.patch_mask.nbytes
    assert kept < 0.4 * views.pixels.nbytes
    for index in range(len(views)):
        np.testing.assert_array_equal(views.view(index), views.pixels[index])


def test_audio_that_was_read_is_taken_as_it_is(processor: MediaProcessor):
    """Else audio encoded ahead would be read and measured twice."""
    audio = processor.audio((random_audio("once", 0.7, 16000), 16000))
    (item,) = processor.prepare([], [audio])
    assert isinstance(item, AudioFeatures)
    assert item is audio
