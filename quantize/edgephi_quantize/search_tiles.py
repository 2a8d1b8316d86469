"""Walks a matrix in tiles that fit a core's cache, blocks side by side.

tile  float32 [bs, n]   column j is one block; whatever is done per block runs along n in the widest registers,
                        and sums over a block are sums of rows
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError
from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat

Floats = NDArray[np.float32]

#: Weights in a tile: three such arrays of float32 and one of bytes fit a core's level-2 cache of 1 MiB. Not a power of
#: two: the rows of the turned tile would all fall into the same few places of the level-1 cache.
TILE_VALUES = 48 * 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tile:
    """Blocks to quantize, and where their codes go: float32 [bs, n] each, valid during one call.

    Attributes:
        values: The weights. May be overwritten.
        codes: For the codes, at least 0 and below 2^bits; a fraction is cut off.
        spare: Scratch.
        importance: How much the squared error of each weight counts, above 0, its mean over each block 1; None where
            all count the same.
    """

    values: Floats
    codes: Floats
    spare: Floats
    importance: Floats | None = None


#: Quantizes a tile: fills its codes, returns scales and zero points (integers), float32 [n] each.
Solver = Callable[[Tile, BlockFormat], tuple[Floats, Floats]]


def solve_in_tiles(weights: Floats, fmt: BlockFormat, solve: Solver, importance: Floats | None = None) -> BlockCodes:
    """Quantize a matrix tile by tile; the result for a row depends on that row alone.

    Args:
        weights: float32 [N, K]. Not modified.
        fmt: Width and block size.
        solve: Quantizes one tile.
        importance: float32 [K], above 0: how much the squared error of a weight with this input counts; None where all
            count the same.

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
    memory, turned = np.empty((3, TILE_VALUES), np.float32), np.empty(TILE_VALUES, np.uint8)
    shares = None if importance is None else _block_shares(importance, num_blocks, block_size)
    # Blocks of the tiniest weights have scales whose inverse overflows, as in ONNX Runtime.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(blocks), TILE_VALUES // block_size):
            part = blocks[start : start + TILE_VALUES // block_size]
            done = slice(start, start + len(part))
            # A lone column would be summed in another order, and the block would depend on its neighbours.
            shape = (block_size, max(len(part), 2))
            values, found, spare = memory[:, : math.prod(shape)].reshape(3, *shape)
            np.copyto(values[:, : len(part)], part.T)
            values[:, len(part) :] = 0
            counts = None if shares is None else shares[:, np.arange(start, start + shape[1]) % num_blocks]
            tile_scales, tile_points = solve(Tile(values=values, codes=found, spare=spare, importance=counts), fmt)
            scales[done], zero_points[done] = tile_scales[: len(part)], tile_points[: len(part)]
            narrow = turned[: math.prod(shape)].reshape(shape)
            np.copyto(narrow, found, casting="unsafe")
            np.copyto(codes[done], narrow[:, : len(part)].T)
    if not np.isfinite(scales).all():
        raise ArtifactError(
            "a weight is infinite, not a number or above 1e38; the checkpoint is damaged: fetch it again"
        )
    in_rows = codes.reshape(num_rows, num_blocks, block_size)
    if size % block_size:
        in_rows[:, -1, size % block_size :] = 0
    return BlockCodes(
        codes=in_rows,
        scales=scales.reshape(num_rows, num_blocks),
        zero_points=zero_points.reshape(num_rows, num_blocks),
    )


def _whole_blocks(weights: Floats, padded_size: int) -> Floats:
    """The rows, filled up with zeros, which change no block's range, sums or error."""
    if weights.shape[1] == padded_size:
        return np.ascontiguousarray(weights)
    padded = np.zeros((len(weights), padded_size), np.float32)
    padded[:, : weights.shape[1]] = weights
    return padded


def _block_shares(importance: Floats, num_blocks: int, block_size: int) -> Floats:
    """The importance of each weight beside that of its block: float32 [bs, kb], as the blocks of a row in a tile."""
    padded = np.zeros(num_blocks * block_size, np.float32)
    padded[: len(importance)] = importance
    blocks = padded.reshape(num_blocks, block_size)
    return np.ascontiguousarray((blocks / blocks.mean(axis=1, keepdims=True)).T)
