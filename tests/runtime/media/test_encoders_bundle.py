"""The encoders on the real graphs of a small exported checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgephi.audio.log_mel import Waveform, log_mel
from edgephi.bundle.bundle import Bundle
from edgephi.images.crops import num_image_rows, position_ids, split_views
from edgephi.media.encoders import SpeechEncoder, VisionEncoder
from edgephi.ort.session import DeviceOptions, open_session
from support.bundles import small_bundle
from support.signals import random_audio, random_image


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(small_bundle())


def opened(path):
    return open_session(path, DeviceOptions(threads=1))


def views_of(width: int, height: int):
    image = Image.fromarray(random_image("encoders", width, height))
    return split_views(image, crop_size=56, patch_size=14, max_crops=36)


@pytest.mark.parametrize("projection", [0, 1])
def test_50_s_of_audio_in_windows_equal_its_windows_computed_with_more_context(bundle, projection):
    """Rows at the 40 s cut must come out as if all of it had passed the strided convolutions at once."""
    mel = log_mel(Waveform(random_audio("long", 50.0, 16000)))
    rows = SpeechEncoder(bundle, bundle.manifest.speech, opened).encode(mel, ("speech", "vision")[projection])
    session = opened(bundle.file(bundle.manifest.speech.graph))

    def window(first_frame: int, end_frame: int, drop_rows: int) -> np.ndarray:
        inputs = {"log_mel": mel[None, first_frame:end_frame]}
        scalars = {"drop_rows": drop_rows, "window_rows": 500, "projection": projection}
        inputs |= {name: np.array(value, np.int64) for name, value in scalars.items()}
        return session.run(["audio_features"], inputs)[0][0]

    assert rows.shape == (625, bundle.manifest.decoder.hidden_size)
    np.testing.assert_allclose(rows[:500], window(0, 4000, 0), atol=1e-6)
    np.testing.assert_allclose(rows[500:], window(4000 - 160, 4998, 20), atol=1e-6)
    assert np.abs(rows[500:] - window(4000, 4998, 0)).max() > 0.01  # without context the cut would show


def test_the_two_projections_differ(bundle):
    """Audio beside an image takes another way into the decoder."""
    mel = log_mel(Waveform(random_audio("short", 1.0, 16000)))
    encoder = SpeechEncoder(bundle, bundle.manifest.speech, opened)
    speech, vision = encoder.encode(mel), encoder.encode(mel, "vision")
    assert speech.shape == vision.shape == (13, bundle.manifest.decoder.hidden_size)
    assert np.abs(speech - vision).max() > 0.01


@pytest.mark.parametrize("size", [(56, 56), (100, 60), (170, 50)])
def test_rows_of_an_image_are_those_of_its_views(bundle, size):
    views = views_of(*size)
    rows = VisionEncoder(bundle, bundle.manifest.vision, opened).encode(views)
    assert (rows.shape, rows.dtype) == ((num_image_rows(views), bundle.manifest.decoder.hidden_size), np.float32)
    session, ids = opened(bundle.file(bundle.manifest.vision.graph)), position_ids(views.patch_mask)

    def features(view: int) -> np.ndarray:
        mask = views.patch_mask[view].reshape(1, -1)
        inputs = {"pixel_values": views.view(view)[None], "patch_mask": mask, "position_ids": ids[view : view + 1]}
        return session.run(["image_features"], inputs)[0][0]

    separator, overview = bundle.tensor(bundle.manifest.vision.row_separator), features(0)
    np.testing.assert_allclose(rows[-6:], [*overview[:2], separator, *overview[2:], separator], atol=1e-5)
    np.testing.assert_array_equal(rows[-7], bundle.tensor(bundle.manifest.vision.global_separator))
    np.testing.assert_allclose(rows[:2], features(1)[:2], atol=1e-5)


def test_masked_patches_are_never_seen(bundle):
    """An image must look the same whatever stands in the crops beyond it."""
    views = views_of(56, 28)
    assert views.patch_mask[1].sum() == 8
    scribbled = views.tiles.copy()
    scribbled[0, :, 28:] = 0
    encoder = VisionEncoder(bundle, bundle.manifest.vision, opened)
    np.testing.assert_allclose(encoder.encode(replace(views, tiles=scribbled)), encoder.encode(views), atol=1e-5)
