"""Looks, block by block, for the scale and the integer zero point with the least squared error.

    u = weight / scale of round-to-nearest       everything is done in these units, so that squares neither over- nor
    c = clip(round(u / s), -z, max_code - z)     underflow; s is the new scale in the same units, z the zero point
    squared error for the best s = sum u^2 - sum(u c)^2 / sum c^2        at s = sum(u c) / sum c^2

2 and 4 bits: narrower steps are tried first (the ends of the range are rare, and coarse steps for everything else are
their price), then the neighbouring zero points, then codes and scale once more in turn; each takes the scale that fits
its codes best. 8 bits: the error is the luck of the rounding, so slightly wider steps are tried, and the luckiest is
fitted. Whatever does not clearly beat round-to-nearest leaves the block with that scale and zero point.

`weighted` counts each squared error by the mean square of the input that the weight is multiplied by, so that all these
sums have one more factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.input_statistics import InputStatistics, required
from edgephi_quantize.rtn import inverses, ranges
from edgephi_quantize.search_tiles import Floats, Tile, solve_in_tiles

#: Scales tried, relative to that of round-to-nearest. Those above 1 cut nothing off.
_FACTORS = {
    2: (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.05),
    4: (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05),
    8: (1.006, 1.012, 1.018, 1.024, 1.03),
}

# Gains smaller than these may be rounding of the float32 sums: shares of the signal (2 and 4 bits), of the error
# (8 bits), and squared steps.
_CERTAIN_OF_SIGNAL = np.float32(4e-6)
_CERTAIN_OF_ERROR = np.float32(1e-3)
_CERTAIN_STEPS = np.float32(1e-5)


class Search:
    """Smaller error for the same bytes; slower."""

    name = "search"
    needs_inputs = False

    def quantize(
        self,
        weights: Floats,
        fmt: BlockFormat,
        inputs: InputStatistics | None = None,  # noqa: ARG002 - goes by the weights alone
    ) -> BlockCodes:
        """Quantize float32 [N, K]; see `Method.quantize`."""
        return solve_in_tiles(weights, fmt, _solve_fine if fmt.bits == 8 else _solve_coarse)


class WeightedSearch:
    """The search, with the squared error of each weight counted by the mean square of its input."""

    name = "weighted"
    needs_inputs = True

    def quantize(self, weights: Floats, fmt: BlockFormat, inputs: InputStatistics | None = None) -> BlockCodes:
        """Quantize float32 [N, K]; see `Method.quantize`."""
        importance = required(inputs, weights).importance
        return solve_in_tiles(weights, fmt, _solve_fine if fmt.bits == 8 else _solve_coarse, importance)


@dataclass(slots=True, kw_only=True, eq=False)
class _Best:
    """The best scale and zero point of each block so far: float32 [n] each, overwritten in place.

    Attributes:
        gains: What the block's squared error is smaller by than that of all zeros.
        steps: Scale, in units of round-to-nearest's.
        zero_points: Integers.
    """

    gains: Floats
    steps: Floats
    zero_points: Floats

    def offer(self, dots: Floats, squares: Floats, zero_points: Floats) -> None:
        """Take codes with these sums u c and c^2 wherever they are better."""
        gains, steps = _fit(dots, squares)
        better = gains > self.gains
        np.copyto(self.gains, gains, where=better)
        np.copyto(self.steps, steps, where=better)
        np.copyto(self.zero_points, zero_points, where=better)


def _solve_coarse(tile: Tile, fmt: BlockFormat) -> tuple[Floats, Floats]:
    values, codes = tile.values, tile.codes
    scales, zero_points = ranges(values, fmt)
    values *= inverses(scales)

    def sums(inverse: Floats | np.float32, zero_points: Floats) -> tuple[Floats, Floats]:
        _round(values, inverse, zero_points, fmt, codes)
        counted = _counted(codes, tile)
        return _dots(values, counted), _dots(codes, counted)

    dots, squares = sums(np.float32(1), zero_points)
    unfitted_gains = 2 * dots - squares
    gains, steps = _fit(dots, squares)
    best = _Best(gains=gains, steps=steps, zero_points=zero_points.copy())
    for factor in _FACTORS[fmt.bits]:
        best.offer(*sums(np.float32(1 / factor), zero_points), zero_points)
    if not fmt.symmetric:
        inverse, found = inverses(best.steps), best.zero_points.copy()
        for moved in (np.maximum(found - 1, 0), np.minimum(found + 1, np.float32(fmt.max_code))):
            best.offer(*sums(inverse, moved), moved)
    best.offer(*sums(inverses(best.steps), best.zero_points), best.zero_points)
    pays = best.gains - unfitted_gains > _CERTAIN_OF_SIGNAL * squares
    steps = np.where(pays, best.steps, np.float32(1))
    zero_points = np.where(pays, best.zero_points, zero_points)
    _round(values, inverses(steps), zero_points, fmt, codes)
    codes += zero_points
    return scales * steps, zero_points


def _solve_fine(tile: Tile, fmt: BlockFormat) -> tuple[Floats, Floats]:
    values, codes, errors, counts = tile.values, tile.codes, tile.spare, tile.importance
    scales, zero_points = ranges(values, fmt)
    values *= inverses(scales)
    best, steps = np.empty(0, np.float32), np.ones_like(scales)
    for factor in (1.0, *_FACTORS[8]):
        # No codes are cut off here: at 1 an end may round one too far, but is then as far off as when cut.
        np.multiply(values, np.float32(1 / factor), out=errors)
        np.subtract(errors, np.rint(errors, out=codes), out=errors)
        squares = _dots(errors, errors if counts is None else errors * counts) * np.float32(factor * factor)
        if factor == 1.0:
            best = squares * (1 - _CERTAIN_OF_ERROR)
        np.copyto(steps, np.float32(factor), where=squares < best)
        np.minimum(best, squares, out=best)
    values *= inverses(steps)
    _round(values, np.float32(1), zero_points, fmt, codes)
    np.subtract(values, codes, out=errors)
    counted = codes if counts is None else codes * counts
    gains, shifts = _fit(_dots(errors, counted), _dots(codes, counted))
    # Infinite where the weights are so tiny that the inverse of their scale overflowed.
    fits = (gains > _CERTAIN_STEPS) & (np.abs(shifts) < 1)
    np.multiply(steps, 1 + shifts, out=steps, where=fits)
    codes += zero_points
    return scales * steps, zero_points


def _round(values: Floats, inverse: Floats | np.float32, zero_points: Floats, fmt: BlockFormat, codes: Floats) -> None:
    """Write c, the code without its zero point, into `codes`."""
    np.multiply(values, inverse, out=codes)
    np.rint(codes, out=codes)
    np.maximum(codes, -zero_points, out=codes)
    np.minimum(codes, np.float32(fmt.max_code) - zero_points, out=codes)


def _counted(codes: Floats, tile: Tile) -> Floats:
    """The codes, each times its importance."""
    return codes if tile.importance is None else np.multiply(codes, tile.importance, out=tile.spare)


def _dots(left: Floats, right: Floats) -> Floats:
    result: Floats = np.einsum("ij,ij->j", left, right)
    return result


def _fit(dots: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """The gain of the least-squares scale for codes with these sums, and that scale; 0 where all codes are 0."""
    steps = np.divide(dots, squares, out=np.zeros_like(dots), where=squares > 0)
    return dots * steps, steps
