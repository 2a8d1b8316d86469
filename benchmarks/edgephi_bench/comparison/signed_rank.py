"""Signed ranks: whether paired differences have a middle other than 0, and how far from it, without assuming a shape.

Exact for differences that are symmetric about their middle, as those of two builds are whose order is drawn anew in
every pair: with no change between the builds, each difference is as likely as its negative.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A middle, where it may lie, and how surprising it is.

    Attributes:
        value: Of the differences.
        low: Lower end of its interval; None where so few differences bound nothing.
        high: Upper end, alike.
        p: Probability of such differences, or of ones farther from 0, where there is no change.
    """

    value: float
    low: float | None
    high: float | None
    p: float


def signed_rank(differences: Sequence[float], alpha: float) -> Estimate:
    """Wilcoxon's test and the interval of Hodges and Lehmann.

    Args:
        differences: One for each pair; at least one.
        alpha: Of an interval that misses the true middle in at most this share of all cases.
    """
    count = len(differences)
    means = sorted((differences[i] + differences[j]) / 2 for i in range(count) for j in range(i, count))
    cut = _largest_sum(count, alpha / 2)
    low, high = (means[cut], means[-1 - cut]) if cut is not None else (None, None)
    return Estimate(value=statistics.median(means), low=low, high=high, p=_probability(differences))


def _probability(differences: Sequence[float]) -> float:
    """Two-sided, of the sum of ranks of the positive differences; zeros say nothing and are left out."""
    kept = sorted((difference for difference in differences if difference), key=abs)
    if not kept:
        return 1.0
    positive = sum(rank for rank, difference in enumerate(kept, 1) if difference > 0)
    smaller = min(positive, len(kept) * (len(kept) + 1) // 2 - positive)
    ways = sum(_counts(len(kept))[: smaller + 1])
    return min(1.0, 2.0 * ways / float(2 ** len(kept)))


def _largest_sum(count: int, share: float) -> int | None:
    """The largest sum of ranks that is reached or passed below with at most this probability; None: there is none."""
    total, limit = 0, share * 2**count
    for number, ways in enumerate(_counts(count)):
        total += ways
        if total > limit:
            return number - 1 if number else None
    return None


@lru_cache
def _counts(count: int) -> tuple[int, ...]:
    """For each sum, in how many of all 2 ** count choices of signs the positive ranks have it."""
    ways = [1]
    for rank in range(1, count + 1):
        ways = [
            (ways[total] if total < len(ways) else 0) + (ways[total - rank] if 0 <= total - rank < len(ways) else 0)
            for total in range(len(ways) + rank)
        ]
    return tuple(ways)
