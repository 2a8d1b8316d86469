"""Walks a matrix in tiles that fit a core's cache, blocks side by side.

Owns the cutting, the turning and the padding. Knows nothing about how a block is quantized.

    tile  float32 [bs, n]   column j is one block; whatever is done per block runs along n in the widest registers,
                            and sums over a block are sums of rows
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.errors import ArtifactError
from edgephi_quantize.codes import BlockCodes
from edgephi_quantize.formats import BlockFormat

Floats = NDArray[np.float32]

#: Weights in a tile: three such arrays of float32 and one of bytes fit a core's level-2 cache of 1 MiB. No power of two:
#: the columns of the turned tile would all fall into the same few places of the level-1 cache.
TILE_VALUES = 48 * 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What was found for a tile, all integers held as float32.

    Attributes:
        codes: float32 [bs, n], at least 0 and below 2^bits; a fraction is cut off. May be one of the spare arrays.
        scales: float32 [n].
        zero_points: float32 [n].
    """

    codes: Floats
    scales: Floats
    zero_points: Floats


#: Quantizes a tile: (values, two spare arrays of the same shape, format). May overwrite the values too.
Solver = Callable[[Floats, tuple[Floats, Floats], BlockFormat], Solution]


def solve_in_tiles(weights: Floats, fmt: BlockFormat, solve: Solver) -> BlockCodes:
    """Quantize a matrix tile by tile; the result for a row depends on that row alone.

    Args:
        weights: float32 [N, K]. Not modified.
        fmt: Width and block size.
        solve: Quantizes one tile.

    Raises:
        ArtifactError: A weight is infinite or not a number, or a block spans more than float32 holds.
        ValueError: `weights` is not a matrix of float32.
    """
    if weights.ndim != 2 or weights.dtype != np.float32:
        raise ValueError(f"weights are {weights.dtype} {list(weights.shape)}; they must be float32 [N, K]")
    num_rows, size = weights.shape
    num_blocks, block_size = fmt.num_blocks(size), fmt.block_size
    blocks = _whole_blocks(weights, num_blocks * block_size).reshape(-1, block_size)
    codes = np.empty(blocks.shape, np.uint8)
    scales, zero_points = np.empty(len(blocks), np.float32), np.empty(len(blocks), np.uint8)
    width = TILE_VALUES // block_size
    memory, bytes_ = np.empty((3, TILE_VALUES), np.float32), np.empty(TILE_VALUES, np.uint8)
    # Blocks of the tiniest weights have scales whose inverse overflows, as in ONNX Runtime.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(blocks), width):
            part = slice(start, min(start + width, len(blocks)))
            count = part.stop - part.start
            values, *spare = memory[:, : block_size * count].reshape(3, block_size, count)
            np.copyto(values, blocks[part].T)
            solution = solve(values, (spare[0], spare[1]), fmt)
            scales[part], zero_points[part] = solution.scales, solution.zero_points
            turned = bytes_[: block_size * count].reshape(block_size, count)
            np.copyto(turned, solution.codes, casting="unsafe")
            np.copyto(codes[part], turned.T)
    if not np.isfinite(scales).all():
        raise ArtifactError(
            "a weight is infinite, not a number or above 1e38; the checkpoint is damaged: fetch it again"
        )
    codes = codes.reshape(num_rows, num_blocks, block_size)
    if size % block_size:
        codes[:, -1, size % block_size :] = 0
    shape = (num_rows, num_blocks)
    return BlockCodes(codes=codes, scales=scales.reshape(shape), zero_points=zero_points.reshape(shape))


def _whole_blocks(weights: Floats, padded_size: int) -> Floats:
    """The rows, filled up with zeros, which change no block's range, sums or error."""
    if weights.shape[1] == padded_size:
        return np.ascontiguousarray(weights)
    padded = np.zeros((len(weights), padded_size), np.float32)
    padded[:, : weights.shape[1]] = weights
    return padded
