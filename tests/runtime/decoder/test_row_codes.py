"""Row-scaled weights: a wrong scale or a code of -128 makes an encoder's output useless."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi.decoder.row_codes import quantize_rows
from support.random_values import uniform


def test_every_weight_is_within_half_a_step_of_its_row():
    weights = uniform("weights", 1, (50, 333)) * np.logspace(-30, 30, 50, dtype=np.float32)[:, None]
    before = weights.copy()
    codes, scales = quantize_rows(weights)
    np.testing.assert_array_equal(weights, before)
    assert (codes.dtype, codes.shape, scales.dtype, scales.shape) == (np.int8, (50, 333), np.float32, (50,))
    np.testing.assert_allclose(scales, np.abs(weights).max(axis=1) / 64, rtol=1e-6)
    stored = codes.astype(np.float64) * scales[:, None]
    assert (np.abs(stored - weights) <= scales[:, None] * 0.50001).all()
    assert (np.abs(codes.astype(int)).max(axis=1) == 64).all()


def test_rows_of_zeros_and_of_the_tiniest_weights_stay_finite():
    weights = np.zeros((3, 8), np.float32)
    weights[1] = 1e-45
    weights[2, 3] = -2e-43  # its scale has one bit left
    codes, scales = quantize_rows(weights)
    assert scales[0] == 0
    assert not codes[0].any()
    assert codes.min() >= -64
    assert np.abs(codes.astype(np.float32) * scales[:, None] - weights).max() <= 2e-43


@pytest.mark.parametrize("sign", [1, -1])
def test_a_subnormal_scale_that_is_rounded_down_leaves_no_code_beyond_64(sign: int):
    weights = np.full((1, 8), sign * 95 * np.finfo(np.float32).smallest_subnormal, np.float32)
    codes, scales = quantize_rows(weights)
    assert scales[0] == np.finfo(np.float32).smallest_subnormal  # of 95 / 64
    assert (codes == sign * 64).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_without_a_scale_are_refused(bad: float):
    weights = np.ones((4, 8), np.float32)
    weights[2, 5] = bad
    with pytest.raises(ArtifactError, match="infinite or not a number; the checkpoint is damaged"):
        quantize_rows(weights)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match=r"float64 \[2, 3\]; they must be float32"):
        quantize_rows(np.ones((2, 3)))
