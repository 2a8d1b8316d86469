"""Rows of a quantized table must be what the exporter stored: every prompt starts with them."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.decoder.dequantize import dequantize, unpack_codes, unpack_zero_points
from edgephi_quantize.formats import BITS, BlockFormat
from edgephi_quantize.methods import get_method
from edgephi_quantize.packing import pack_codes, pack_zero_points
from support.random_values import uniform


@pytest.mark.parametrize("shape", [(32,), (3, 7, 16), (0, 5, 32)])
@pytest.mark.parametrize("bits", BITS)
def test_codes_survive_packing_in_any_layout(bits: int, shape: tuple[int, ...]):
    codes = ((uniform("codes", bits, shape) + 1) / 2 * (1 << bits)).astype(np.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (*shape[:-1], shape[-1] * bits // 8)
    np.testing.assert_array_equal(unpack_codes(packed, bits), codes)
    np.testing.assert_array_equal(unpack_codes(np.asfortranarray(packed), bits), codes)
    np.testing.assert_array_equal(pack_codes(np.asfortranarray(codes), bits), packed)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4, 5, 96])
@pytest.mark.parametrize("bits", BITS)
def test_zero_points_survive_packing_when_they_do_not_fill_the_last_byte(bits: int, num_blocks: int):
    zero_points = ((uniform("zero points", bits, (6, num_blocks)) + 1) / 2 * (1 << bits)).astype(np.uint8)
    packed = pack_zero_points(zero_points, bits)
    assert packed.shape == (6, -(-num_blocks * bits // 8))
    np.testing.assert_array_equal(unpack_zero_points(packed, bits, num_blocks), zero_points)


def test_the_first_code_lies_in_the_lowest_bits():
    assert unpack_codes(np.array([0x21, 0x43], np.uint8), 4).tolist() == [1, 2, 3, 4]
    assert unpack_codes(np.array([0b11100100], np.uint8), 2).tolist() == [0, 1, 2, 3]


def test_values_are_code_minus_zero_point_times_scale():
    packed = np.array([[[0x10, 0xF8], [0x07, 0x00]]], np.uint8)  # codes 0 1 8 15 | 7 0 0 0
    scales = np.array([[0.5, -2.0]], np.float32)
    with_points = dequantize(packed, scales, np.array([[0x71]], np.uint8), bits=4, size=5)  # zero points 1 and 7
    assert with_points.tolist() == [[-0.5, 0.0, 3.5, 7.0, 0.0]]
    assert dequantize(packed, scales, None, bits=4, size=5).tolist() == [[-4.0, -3.5, 0.0, 3.5, 2.0]]


@pytest.mark.parametrize("scale_type", [np.float32, np.float16])
@pytest.mark.parametrize("size", [320, 304])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_gathered_rows_equal_rows_of_the_whole_table(bits: int, symmetric: bool, size: int, scale_type: type):
    table = uniform("table", bits, (100, size))
    codes = get_method("rtn").quantize(table, BlockFormat(bits=bits, block_size=32, symmetric=symmetric))
    packed, scales = pack_codes(codes.codes, bits), codes.scales.astype(scale_type)
    points = None if symmetric else pack_zero_points(codes.zero_points, bits)
    whole = dequantize(packed, scales, points, bits=bits, size=size)
    assert (whole.dtype, whole.shape) == (np.float32, (100, size))
    ids = np.array([[7, 99, 7], [0, 1, 50]])
    rows = dequantize(packed[ids], scales[ids], None if points is None else points[ids], bits=bits, size=size)
    np.testing.assert_array_equal(rows, whole[ids])
    one = dequantize(packed[7], scales[7], None if points is None else points[7], bits=bits, size=size)
    np.testing.assert_array_equal(one, whole[7])
    # Half a step; a whole one at the end where symmetric codes stop one short. And the rounding of float16 scales.
    steps = np.abs(scales).max() * (1.01 if symmetric else 0.51)
    assert np.abs(whole - table).max() <= steps + 1e-3


@pytest.mark.parametrize("bits", [0, 1, 3, 16])
def test_other_widths_are_refused(bits: int):
    with pytest.raises(ValueError, match=f"cannot unpack codes of {bits} bits"):
        unpack_codes(np.zeros(4, np.uint8), bits)
    with pytest.raises(ValueError, match=f"cannot pack codes of {bits} bits"):
        pack_codes(np.zeros(4, np.uint8), bits)
    with pytest.raises(ValueError, match="3 codes of 4 bits do not fill whole bytes"):
        pack_codes(np.zeros(3, np.uint8), 4)
