"""The search must pay for its time: never a worse block than round-to-nearest, and a clearly better whole."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi_quantize import search_tiles as tiles
from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BITS, BLOCK_SIZES, BlockFormat, parse_format
from edgephi_quantize.methods import METHODS, get_method
from edgephi_quantize.sqnr import SqnrMeter
from support.random_values import uniform

SIZE = 560  # no multiple of 32 ... 256
#: Those that go by the weights alone.
PLAIN = tuple(name for name, method in METHODS.items() if not method.needs_inputs)


def _normal(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 `shape`, close to a normal distribution with deviation 1: the sum of twelve uniform numbers."""
    return np.sum([uniform(f"normal {i}", seed, shape) for i in range(12)], axis=0, dtype=np.float32) / np.float32(2)


def _weights() -> NDArray[np.float32]:
    weights = _normal(1, (96, SIZE))
    weights[16:32] **= 3  # heavy tails
    weights[32:40, ::50] *= 30  # outliers
    weights[40], weights[41], weights[42] = 0.0, 0.37, -0.37
    weights[43:46] *= 1e35
    weights[46:48] *= 1e-36
    weights[48:56] = np.round(weights[48:56])  # small integers, many exact
    weights[56], weights[57] = np.abs(weights[56]), -np.abs(weights[57])
    weights[58], weights[59] = weights[58] * 1e-40, weights[59] * 1e-44
    return weights


def _block_errors(weights: NDArray[np.float32], codes: BlockCodes, block_size: int) -> NDArray[np.float64]:
    stored = (codes.codes.astype(np.float64) - codes.zero_points[..., None]) * codes.scales[..., None].astype(
        np.float64
    )
    errors = stored.reshape(len(weights), -1)[:, : weights.shape[1]] - weights
    starts = range(0, weights.shape[1], block_size)
    # Relative to the block's size, since squares of the smallest and largest weights leave even float64's range.
    sizes = [np.abs(weights[:, start : start + block_size]).max(axis=1).astype(np.float64) for start in starts]
    return np.stack(
        [
            ((errors[:, start : start + block_size] / np.where(size > 0, size, 1)[:, None]) ** 2).sum(axis=1)
            for start, size in zip(starts, sizes, strict=True)
        ],
        axis=1,
    )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("bits", BITS)
def test_no_block_is_worse_than_rounded_to_nearest(bits: int, block_size: int, symmetric: bool):
    weights = _weights()
    fmt = BlockFormat(bits=bits, block_size=block_size, symmetric=symmetric)
    found = get_method("search").quantize(weights, fmt)
    rounded = get_method("rtn").quantize(weights, fmt)
    ours, theirs = (_block_errors(weights, codes, block_size) for codes in (found, rounded))
    # Round-to-nearest itself rounds in float32: weights next to a half step may fall on either side.
    assert (ours <= theirs * (1 + 1e-6)).all()
    assert found.codes.max() < 1 << bits
    assert found.zero_points.max() < 1 << bits
    assert not found.codes[:, -1, SIZE % block_size or block_size :].any()
    if symmetric:
        assert (found.zero_points == 1 << (bits - 1)).all()


@pytest.mark.parametrize(
    ("text", "least_gain"),
    [
        ("int4:16", 0.5),
        ("int4:32", 0.38),
        ("int4:32:symmetric", 0.38),
        ("int4:128", 0.42),
        ("int4:256", 0.6),
        ("int2:32", 1.5),
        ("int2:64:symmetric", 0.8),
        ("int8:32", 0.8),
        ("int8:32:symmetric", 0.6),
        ("int8:128", 0.25),
    ],
)
def test_the_whole_is_better_by_decibels(text: str, least_gain: float):
    weights = _normal(2, (128, 1024))
    fmt = parse_format(text)
    assert isinstance(fmt, BlockFormat)
    decibels = {}
    for name in PLAIN:
        meter = SqnrMeter()
        meter.add(weights, get_method(name).quantize(weights, fmt).values(1024))
        decibels[name] = meter.decibels
    assert decibels["search"] - decibels["rtn"] > least_gain


@pytest.mark.parametrize("size", [SIZE, 32])
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("text", ["int4:32", "int8:32", "int4:128:symmetric", "int2:64"])
def test_a_row_is_the_same_alone_in_chunks_and_in_any_tile(
    name: str, text: str, size: int, monkeypatch: pytest.MonkeyPatch
):
    weights = _weights()[:, :size]
    fmt = parse_format(text)
    assert isinstance(fmt, BlockFormat)
    whole = get_method(name).quantize(weights, fmt)
    for chunk, tile_values in ((1, tiles.TILE_VALUES), (7, tiles.TILE_VALUES), (96, 4096), (95, 1024)):
        monkeypatch.setattr(tiles, "TILE_VALUES", tile_values)
        parts = [get_method(name).quantize(weights[start : start + chunk], fmt) for start in range(0, 96, chunk)]
        for field in ("codes", "scales", "zero_points"):
            together = np.concatenate([getattr(part, field) for part in parts])
            np.testing.assert_array_equal(together, getattr(whole, field))


@pytest.mark.parametrize("text", ["int4:16", "int4:64", "int2:32"])
def test_a_matrix_and_its_negative_lose_the_same(text: str):
    """Neither of the two directions in which a zero point can move is left out."""
    weights = _normal(3, (64, 512))
    fmt = parse_format(text)
    assert isinstance(fmt, BlockFormat)
    errors = [_block_errors(w, get_method("search").quantize(w, fmt), fmt.block_size) for w in (weights, -weights)]
    np.testing.assert_allclose(*errors, rtol=1e-4)


def test_a_matrix_without_rows_is_an_empty_matrix():
    codes = get_method("search").quantize(np.empty((0, 64), np.float32), BlockFormat(bits=4, block_size=32))
    assert (codes.codes.shape, codes.scales.shape) == ((0, 2, 32), (0, 2))
