"""Means with their standard errors and intervals, of values that come in examples.

Positions of one example are no independent samples, so every error is computed from the examples: the sums of each are
the samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Enough for the second digit of an interval's end.
_RESAMPLES = 2000
_SEED = 14
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over examples; its standard error is None where there are fewer than two."""

    value: float
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A rate over all examples, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def mean_of_sums(sums: Sequence[float], counts: Sequence[int]) -> Estimate:
    """The mean of all positions, where example i has `counts[i]` of them that sum up to `sums[i]`; 0 of none."""
    total, number = max(sum(counts), 1), len(sums)
    value = math.fsum(sums) / total
    if number < 2:
        return Estimate(value=value, error=None)
    squares = math.fsum((one - value * count) ** 2 for one, count in zip(sums, counts, strict=True))
    return Estimate(value=value, error=math.sqrt(squares * number / (number - 1)) / total)


def rate(errors: Sequence[float], units: Sequence[float]) -> Interval:
    """Errors over units, such as words."""
    return _interval(np.array(errors, float), np.array(units, float))


def rate_increase(errors: Sequence[float], before: Sequence[float], units: Sequence[float]) -> Interval:
    """How much higher the rate of `errors` is than that of `before`, the same examples being drawn for both."""
    return _interval(np.array(errors, float) - np.array(before, float), np.array(units, float))


def _interval(sums: NDArray[np.float64], units: NDArray[np.float64]) -> Interval:
    draws = np.random.default_rng(_SEED).integers(0, len(sums), (_RESAMPLES, len(sums)))
    drawn = sums[draws].sum(1) / np.maximum(units[draws].sum(1), 1)
    low, high = np.percentile(drawn, _TAILS)
    return Interval(value=float(sums.sum() / max(units.sum(), 1)), low=float(low), high=float(high))
