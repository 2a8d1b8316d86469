"""Exported models against PyTorch transformers, live, and the recorded answers against what would be recorded now.

`make reference` runs these. They are the proof behind tests/runtime/decoder/test_golden_logits.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgephi import SamplingOptions
from edgephi.audio.log_mel import Waveform, log_mel
from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.decoding import load_image
from reference import mel_features, record
from reference.images import prepare_image
from reference.oracle import mini_logits
from support import golden
from support.bundles import small_checkpoint
from support.cases import CASES, CASES_BY_NAME, LONG_REPLY_TOKENS, long_prompt, long_prompt_ids
from support.signals import random_audio, random_image

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("default")]

#: How far BLAS libraries may move a recorded logit, in standard deviations of its row.
BLAS_TOLERANCE = 2e-4
IMAGE_SIZES = ((56, 56), (20, 13), (130, 90), (70, 161), (500, 310), (57, 56), (11, 300), (640, 480), (1000, 61))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_logits_of_every_position_equal_transformers(models, oracle, case):
    wanted = oracle.logits(case)
    for layout in ("native", "original"):
        found = models(layout).logits(list(case.token_ids), **case.media(), rows="all")
        assert golden.distance(found, wanted) <= golden.TOLERANCE, layout


@pytest.mark.parametrize("name", ["text", "speech_16khz", "image_wide_padded", "image_and_audio"])
@pytest.mark.parametrize("adapter", ["none", "speech", "vision"])
def test_a_forced_adapter_equals_the_same_adapter_in_transformers(models, oracle, name, adapter):
    case = CASES_BY_NAME[name]
    found = models("native").logits(list(case.token_ids), **case.media(), adapter=adapter)
    assert golden.distance(found, oracle.logits(case, adapter)[-1]) <= golden.TOLERANCE


def test_the_text_model_equals_phi3_in_transformers(models):
    case = CASES_BY_NAME["text_4097_long_factors"]
    wanted = mini_logits(small_checkpoint("phi3"), list(case.token_ids))
    found = models("phi3").logits(list(case.token_ids), rows="all")
    assert golden.distance(found, wanted) <= golden.TOLERANCE


def test_generation_across_the_boundary_equals_fresh_reads(models, oracle):
    reply, _ = oracle.greedy(long_prompt_ids(), LONG_REPLY_TOKENS)
    options = SamplingOptions(temperature=0.0, max_new_tokens=LONG_REPLY_TOKENS)
    assert list(models("native").generate(long_prompt(), options=options).token_ids) == reply


@pytest.mark.parametrize("rate", golden.MEL_RATES_HZ)
@pytest.mark.parametrize("seconds", [0.025, 0.5, 7.3])
def test_log_mel_equals_transformers(rate, seconds):
    samples = random_audio(f"mel {seconds}", seconds, rate)
    difference = np.abs(log_mel(Waveform(samples, rate)) - mel_features.log_mel(samples, rate)[0].numpy())
    assert difference.max() <= 0.05
    assert difference.mean() <= 1e-3


@pytest.mark.parametrize(("width", "height"), IMAGE_SIZES)
@pytest.mark.parametrize("crop", [56, 168, 448])
def test_views_equal_torch(crop, width, height):
    pixels = random_image(f"views {width}x{height}", width, height)
    wanted = prepare_image(pixels, crop=crop, patch=14, max_crops=36)
    found = split_views(load_image(pixels), crop_size=crop, patch_size=14, max_crops=36)
    np.testing.assert_array_equal(found.patch_mask, wanted.mask.numpy().astype(np.bool_))
    np.testing.assert_allclose(found.pixels, wanted.pixels.numpy(), atol=2e-5)
    assert num_image_rows(found) == wanted.num_rows


@pytest.mark.parametrize("name", record.RECORDS)
def test_recorded_values_have_not_moved(oracle, name):
    """A changed case, weight or library must be seen, looked at, and recorded anew."""
    committed, fresh = golden.load(name), record.RECORDS[name](oracle)
    assert committed.keys() == fresh.keys()
    for key, value in fresh.items():
        wanted = committed[key]
        if wanted.dtype != np.float32:
            np.testing.assert_array_equal(value, wanted, err_msg=key)
        elif name == "mel":
            np.testing.assert_allclose(value, wanted, atol=1e-3, err_msg=key)
        else:
            assert golden.distance(value, wanted) <= BLAS_TOLERANCE, key
