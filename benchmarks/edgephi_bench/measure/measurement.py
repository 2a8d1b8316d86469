"""Measured figures: samples of one thing under one condition, and what is derived from them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgephi_bench.measure.condition import Condition

Unit = Literal["s", "bytes", "tokens", "tokens/s", "x", "J"]
Better = Literal["less", "more"]
Of = Literal["medians", "means"]
FigureKey = tuple[str, str, str, Condition]
#: Names of the figures that others are derived from.
DECODE_STEP, PREFILL = "decode step", "prefill"
#: Below so many samples a percentile is only another name for the largest.
SAMPLES_FOR_P90, SAMPLES_FOR_P99 = 10, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """All samples of one figure.

    Attributes:
        runner: Whose it is: `edgephi` or a peer's name.
        mode: What was asked: `text`, `speech` or `vision`.
        name: Such as `decode step` or `load, warm`.
        condition: With the three above it says which figure it is.
        unit: Of the samples.
        better: Whether less or more of it is better; None where it is a fact, not a merit.
        samples: In the order of measuring.
        rounds: Mean of each round's samples, where there were rounds in which peers may have been asked as well.
    """

    runner: str = "edgephi"
    mode: str = "text"
    name: str
    condition: Condition
    unit: Unit = "s"
    better: Better | None = "less"
    samples: tuple[float, ...]
    rounds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.name} has no samples")
        if not all(math.isfinite(sample) for sample in self.samples):
            raise ValueError(f"{self.name} has a sample that is not a number")
        if self.rounds and len(self.samples) % len(self.rounds):
            raise ValueError(
                f"{self.name} has {len(self.samples)} samples of {len(self.rounds)} rounds: not equally many"
            )

    @property
    def key(self) -> FigureKey:
        """Equal for the same figure of two reports."""
        return self.runner, self.mode, self.name, self.condition

    @property
    def per_round(self) -> int:
        """Samples of one round; 1 where a runner only reports the mean of many steps. 0 without rounds."""
        return len(self.samples) // len(self.rounds) if self.rounds else 0

    @property
    def round_medians(self) -> tuple[float, ...]:
        """The middle of each round's samples."""
        count = self.per_round
        return tuple(statistics.median(self.samples[i * count : (i + 1) * count]) for i in range(len(self.rounds)))

    @property
    def min(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    @property
    def p90(self) -> float | None:
        """Nine of ten samples are at most this; None for fewer than ten, which have no such percentile."""
        return percentile(self.samples, 90) if len(self.samples) >= SAMPLES_FOR_P90 else None

    @property
    def p99(self) -> float | None:
        """All but one in a hundred samples are at most this; None for fewer than a hundred."""
        return percentile(self.samples, 99) if len(self.samples) >= SAMPLES_FOR_P99 else None

    @property
    def mean(self) -> float:
        """Of all samples."""
        return statistics.fmean(self.samples)

    @property
    def sd(self) -> float | None:
        """Standard deviation of the samples; None for a single one."""
        return statistics.stdev(self.samples) if len(self.samples) > 1 else None

    @property
    def max(self) -> float:
        """The largest sample."""
        return max(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster edgephi was than a peer, round by round.

    Attributes:
        peer: Its name.
        mode: Of the figure.
        name: Of the figure.
        condition: Of the figure.
        of: What of a round's samples is compared.
        samples: The peer's over ours in each round: above 1 where we were faster.
    """

    peer: str
    mode: str
    name: str
    condition: Condition
    of: Of
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.samples)


def percentile(samples: tuple[float, ...], percent: float) -> float:
    """The value below which so many percent lie, straight between the two nearest samples."""
    return float(np.percentile(samples, percent))


def ratios(figures: tuple[Figure, ...]) -> tuple[Ratio, ...]:
    """Ours against every peer that was measured in the same rounds, like against like.

    Medians of rounds come first: one step that something else stalled moves a mean of 31 by several percent and a
    median not at all. Means follow, as what a reader waits for is their sum. A peer that only gives the mean of a round
    is compared by means alone; a round of one sample has one ratio, its mean being its median.
    """
    ours = {figure.key[1:]: figure for figure in figures if figure.runner == "edgephi" and figure.rounds}
    found = []
    for figure in figures:
        own = ours.get(figure.key[1:])
        if figure.runner == "edgephi" or own is None or not figure.rounds:
            continue
        if figure.per_round == own.per_round:
            found.append(_ratio(figure, "medians", figure.round_medians, own.round_medians))
        if own.per_round > 1:
            found.append(_ratio(figure, "means", figure.rounds, own.rounds))
    return tuple(found)


def _ratio(figure: Figure, of: Of, theirs: tuple[float, ...], ours: tuple[float, ...]) -> Ratio:
    return Ratio(
        peer=figure.runner,
        mode=figure.mode,
        name=figure.name,
        condition=figure.condition,
        of=of,
        samples=tuple(their / own for their, own in zip(theirs, ours, strict=True)),
    )
