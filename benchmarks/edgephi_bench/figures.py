"""Measured figures: samples of one thing under one condition, and what is derived from them.

Owns the statistics and the names of conditions. Knows nothing about how anything is measured or shown.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "bytes", "tokens", "tokens/s", "x"]
Better = Literal["less", "more"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """All samples of one figure.

    Attributes:
        runner: Whose it is: `edgephi` or a peer's name.
        mode: What was asked: `text`, `speech` or `vision`.
        name: Such as `decode step` or `load, warm`.
        condition: Such as `depth 1024, 2 threads`; with the three above it says which figure it is.
        unit: Of the samples.
        better: Whether less or more of it is better; None where it is a fact, not a merit.
        samples: In the order of measuring.
        rounds: Mean of each round's samples, where rounds were interleaved with those of peers.
    """

    runner: str = "edgephi"
    mode: str = "text"
    name: str
    condition: str = ""
    unit: Unit = "s"
    better: Better | None = "less"
    samples: tuple[float, ...]
    rounds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.name} has no samples")
        if not all(math.isfinite(sample) for sample in self.samples):
            raise ValueError(f"{self.name} has a sample that is not a number")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Equal for the same figure of two reports."""
        return self.runner, self.mode, self.name, self.condition

    @property
    def min(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    @property
    def p90(self) -> float:
        """Nine of ten samples are at most this."""
        return percentile(self.samples, 90)

    @property
    def p99(self) -> float:
        """All but one in a hundred samples are at most this."""
        return percentile(self.samples, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster edgephi was than a peer, round by round.

    Attributes:
        peer: Its name.
        name: Of the figure.
        condition: Of the figure.
        samples: The peer's mean over ours in each round: above 1 where we were faster.
    """

    peer: str
    name: str
    condition: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.samples)


def percentile(samples: tuple[float, ...], percent: float) -> float:
    """The value below which so many percent lie, straight between the two nearest samples as numpy has it."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def ratios(figures: tuple[Figure, ...]) -> tuple[Ratio, ...]:
    """Ours against every peer that was measured in the same rounds."""
    ours = {figure.key[1:]: figure for figure in figures if figure.runner == "edgephi" and figure.rounds}
    found = []
    for figure in figures:
        own = ours.get(figure.key[1:])
        if figure.runner == "edgephi" or own is None or not figure.rounds:
            continue
        pairs = zip(figure.rounds, own.rounds, strict=True)
        found.append(
            Ratio(
                peer=figure.runner,
                name=figure.name,
                condition=figure.condition,
                samples=tuple(theirs / mine for theirs, mine in pairs),
            )
        )
    return tuple(found)
