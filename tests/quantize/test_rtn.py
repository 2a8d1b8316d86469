"""Round-to-nearest must be ONNX Runtime's own, bit for bit: users compare bundles with what its tools make."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edgephi.base.errors import ArtifactError
from edgephi_quantize.formats import BITS, BLOCK_SIZES, BlockFormat
from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.methods import METHODS, get_method
from edgephi_quantize.packing import pack_codes, pack_zero_points
from edgephi_quantize.rtn import ranges
from support.random_values import uniform

#: For the methods that go by the inputs.
EQUAL_INPUTS = InputStatistics(covariances=(np.eye(64, dtype=np.float32),), num_rows=64)


def _hostile_weights(size: int) -> NDArray[np.float32]:
    """Rows that meet every branch of a quantizer; float32 [31, size]."""
    weights = uniform("weights", size, (31, size)) * np.float32(2)
    weights[1], weights[2], weights[3], weights[4] = 0.0, -0.0, 0.37, -0.37
    weights[5], weights[6] = np.abs(weights[5]), -np.abs(weights[6])
    weights[7], weights[8], weights[9] = weights[7] * 1e37, weights[8] * 1e-38, weights[9] * 1e-44
    weights[10], weights[10, 0] = 0.0, -1.0
    weights[11, 0] = 100.0
    # Steps of exactly 1 or 1/2, and weights on half steps: ties go away from zero, before the zero point moves them.
    for row, top, low in (
        (12, 15, 0),
        (13, 255, 0),
        (14, 3, 0),
        (15, 15, -7.5),
        (16, 7, -8),
        (17, 127, -128),
        (18, 1, -2),
    ):
        weights[row] = np.clip(np.round(weights[row] * top) / 2, low, low + top)
        weights[row, :2] = low, low + top
    for row in range(19, 25):  # few mantissa bits, as in a bfloat16 checkpoint, so that ties abound
        weights[row] = (weights[row].view(np.uint32) & 0xFFF00000).view(np.float32)
    # The float32 below a half, as a code and as a zero point, in steps of 1.
    below_half = np.nextafter(np.float32(0.5), np.float32(0))
    for row, top in enumerate((3, 15, 255)):
        weights[25 + row], weights[25 + row, ::4] = below_half, top
        weights[28 + row], weights[28 + row, ::4], weights[28 + row, 1::4] = 0, top - 0.5, -below_half
    return weights


@pytest.mark.parametrize("size", [256, 304, 40, 4])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("bits", BITS)
def test_codes_scales_zero_points_and_bytes_equal_those_of_onnx_runtime(
    bits: int, block_size: int, symmetric: bool, size: int
):
    weights = _hostile_weights(size)
    num_rows, num_blocks = len(weights), -(-size // block_size)
    packed = np.zeros((num_rows, num_blocks, block_size * bits // 8), np.uint8)
    scales = np.zeros((num_rows, num_blocks), np.float32)
    zero_points = np.zeros((num_rows, -(-num_blocks * bits // 8)), np.uint8)
    oracle = getattr(native, f"quantize_matmul_{bits}bits")
    transposed = np.ascontiguousarray(weights.T)
    oracle(packed, transposed, scales, zero_points, block_size, num_rows, size, symmetric)

    got = get_method("rtn").quantize(weights, BlockFormat(bits=bits, block_size=block_size, symmetric=symmetric))
    np.testing.assert_array_equal(got.scales, scales)
    np.testing.assert_array_equal(pack_codes(got.codes, bits), packed)
    if symmetric:
        assert (got.zero_points == 1 << (bits - 1)).all()
    else:
        np.testing.assert_array_equal(pack_zero_points(got.zero_points, bits), zero_points)


@pytest.mark.parametrize(("bits", "steps"), [(2, 4), (4, 22), (8, 382)])
def test_a_subnormal_scale_that_is_rounded_down_leaves_no_zero_point_beyond_its_bits(bits: int, steps: int):
    ulp = np.finfo(np.float32).smallest_subnormal
    scales, zero_points = ranges(np.full((32, 1), -steps * ulp, np.float32), BlockFormat(bits=bits, block_size=32))
    assert scales[0] == ulp
    assert zero_points[0] == (1 << bits) - 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_weights_that_have_no_step_are_refused_instead_of_stored(name: str, bad: float):
    weights = uniform("weights", 1, (4, 64))
    weights[2, 33] = bad
    weights[2, 34] = -3e38
    with pytest.raises(ArtifactError, match="infinite, not a number or above 1e38; the checkpoint is damaged"):
        get_method(name).quantize(weights, BlockFormat(bits=4, block_size=32), EQUAL_INPUTS)


@pytest.mark.parametrize("name", METHODS)
def test_the_weights_are_not_touched_and_need_not_lie_in_one_piece(name: str):
    whole = uniform("weights", 2, (8, 128))
    before = whole.copy()
    part = whole[::2, 32:96]
    fmt = BlockFormat(bits=4, block_size=32)
    first, second = (get_method(name).quantize(rows, fmt, EQUAL_INPUTS) for rows in (part, part.copy()))
    np.testing.assert_array_equal(whole, before)
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.scales, second.scales)
    with pytest.raises(ValueError, match=r"float64 \[4, 64\]; they must be float32 \[N, K\]"):
        get_method(name).quantize(part.astype(np.float64), fmt, EQUAL_INPUTS)
    with pytest.raises(ValueError, match=r"float32 \[64\]; they must be"):
        get_method(name).quantize(part[0], fmt, EQUAL_INPUTS)
