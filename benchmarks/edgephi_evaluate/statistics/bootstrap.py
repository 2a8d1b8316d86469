"""Intervals of figures of a corpus: groups of items are drawn with replacement, a thousand times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_evaluate.metrics.metric import Metric
from edgephi_evaluate.runs.record import ItemRecord

DRAWS = 1000
_SEED = 0
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval; without ends where there are fewer than two groups."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """Figures of every part and overall, of the data and of every draw.

    Attributes:
        parts: Names, in the order of the axes below.
        values: float64 [parts]: of the data.
        drawn: float64 [DRAWS, parts].
        overall: Of the data.
        overall_drawn: float64 [DRAWS].
        groups: How many were drawn from.
    """

    parts: tuple[str, ...]
    values: NDArray[np.float64]
    drawn: NDArray[np.float64]
    overall: float
    overall_drawn: NDArray[np.float64]
    groups: int

    def part(self, name: str) -> Estimate:
        """Of one part."""
        place = self.parts.index(name)
        return _estimate(float(self.values[place]), self.drawn[:, place], self.groups)

    def whole(self) -> Estimate:
        """Of the suite."""
        return _estimate(self.overall, self.overall_drawn, self.groups)

    def less(self, before: Resamples) -> Estimate:
        """How much higher the suite's figure is than another's of the same items, the same groups being drawn."""
        return _estimate(self.overall - before.overall, self.overall_drawn - before.overall_drawn, self.groups)


def resample(records: Sequence[ItemRecord], metric: Metric, *, is_mean_of_parts: bool) -> Resamples:
    """Draw groups of items.

    Two lists of records with the same ids, in any order, are drawn alike.

    Args:
        records: One or more.
        metric: Makes figures of counts.
        is_mean_of_parts: Whether the suite's figure is the plain mean of its parts; else all items count alike.
    """
    ordered = sorted(records, key=lambda record: record.id)
    parts = tuple(sorted({record.part for record in ordered}))
    groups = {name: number for number, name in enumerate(sorted({record.group for record in ordered}))}
    sums = np.zeros((len(groups), len(parts), metric.size))
    for record in ordered:
        sums[groups[record.group], parts.index(record.part)] += record.counts
    weights = _weights(len(groups))
    drawn = np.tensordot(weights, sums, axes=1)  # [draws, parts, counts]
    whole, values = sums.sum(0), metric.value(sums.sum(0))
    overall = values.mean() if is_mean_of_parts else metric.value(whole.sum(0))
    part_values = metric.value(drawn)
    # A part of which a draw has nothing keeps its figure in that draw.
    part_values = np.where(np.isnan(part_values), values, part_values)
    overall_drawn = part_values.mean(1) if is_mean_of_parts else metric.value(drawn.sum(1))
    return Resamples(
        parts=parts,
        values=values,
        drawn=part_values,
        overall=float(overall),
        overall_drawn=overall_drawn,
        groups=len(groups),
    )


def _weights(groups: int) -> NDArray[np.float64]:
    """float64 [DRAWS, groups]: how often each group is in each draw."""
    random = np.random.default_rng(_SEED)
    return random.multinomial(groups, np.full(groups, 1 / groups), DRAWS).astype(np.float64)


def _estimate(value: float, drawn: NDArray[np.float64], groups: int) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    if groups < 2 or not len(known):
        return Estimate(value=value, low=None, high=None)
    low, high = np.percentile(known, _TAILS)
    return Estimate(value=value, low=float(low), high=float(high))
