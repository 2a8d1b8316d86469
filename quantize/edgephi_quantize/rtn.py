"""Round to nearest: the range of a block in equal steps.

The arithmetic equals ONNX Runtime's own quantizer (`MlasQuantizeBlockwise`) in every bit: float32
throughout, times the inverse of the scale, halves rounded away from zero.

    asymmetric  scale = (max - min) / (2^bits - 1), the range widened to hold 0;   zero point = round(-min / scale)
    symmetric   scale = -m / 2^(bits-1), m the value of the largest magnitude, so that m takes the lowest code
"""

from __future__ import annotations

import numpy as np

from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.search_tiles import Floats, Tile, solve_in_tiles

#: The float32 below a half: adding it and cutting off the fraction rounds halves up, and what lies under a half down.
_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))


class Rtn:
    """Fast, and what every other method is measured against."""

    name = "rtn"
    needs_inputs = False

    def quantize(
        self,
        weights: Floats,
        fmt: BlockFormat,
        inputs: InputStatistics | None = None,  # noqa: ARG002 - goes by the weights alone
    ) -> BlockCodes:
        """Quantize float32 [N, K]; see `Method.quantize`."""
        return solve_in_tiles(weights, fmt, _solve)


def ranges(values: Floats, fmt: BlockFormat) -> tuple[Floats, Floats]:
    """Scales and zero points of a tile's blocks: float32 [n] each, from their ranges."""
    low: Floats = np.minimum.reduce(values, axis=0)
    high: Floats = np.maximum.reduce(values, axis=0)
    if fmt.symmetric:
        middle = np.float32(1 << (fmt.bits - 1))
        np.copyto(low, high, where=np.abs(high) > np.abs(low))
        return -low / middle, np.full_like(low, middle)
    np.minimum(low, 0, out=low)
    np.maximum(high, 0, out=high)
    scales = (high - low) / np.float32(fmt.max_code)
    zero_points = np.zeros_like(scales)
    np.divide(low, scales, out=zero_points, where=scales != 0)
    zero_points = np.minimum(-zero_points, np.float32(fmt.max_code))
    return scales, np.trunc(zero_points + _BELOW_HALF)


def inverses(scales: Floats) -> Floats:
    """1 / scale, and 0 where the scale is 0."""
    result = np.zeros_like(scales)
    np.divide(np.float32(1), scales, out=result, where=scales != 0)
    return result


def _solve(tile: Tile, fmt: BlockFormat) -> tuple[Floats, Floats]:
    scales, zero_points = ranges(tile.values, fmt)
    codes = tile.codes
    np.multiply(tile.values, inverses(scales), out=codes)
    codes += zero_points
    np.minimum(codes, np.float32(fmt.max_code), out=codes)
    # Nothing lies under -0.5, so that no code is negative once its fraction is cut off.
    codes += _BELOW_HALF
    return scales, zero_points
