"""Student's t for whole degrees of freedom: the few values that comparing reports needs."""

from __future__ import annotations

import math

_LARGEST = 200  # beyond it the normal distribution is as good


def two_sided(t: float, freedom: int) -> float:
    """Probability of a value at least as far from 0, by the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.

    Raises:
        ValueError: `freedom` is below 1.
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom are {freedom}; use 1 or more")
    if freedom > _LARGEST:
        return math.erfc(abs(t) / math.sqrt(2))
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return max(0.0, 1.0 - inside)


def quantile(alpha: float, freedom: int) -> float:
    """The distance from 0 that is passed, on either side, with probability `alpha`."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > alpha:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > alpha else (low, middle)
    return high
