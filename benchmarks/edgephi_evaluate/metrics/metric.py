"""`Metric`: judges one reply by counts, and makes a figure of counts that were added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one reply adds to a figure.

    Attributes:
        counts: As many numbers as the metric has, such as errors and words.
        reference: The right answer as it was compared; empty where there are several.
        reply: The reply as it was compared.
    """

    counts: tuple[float, ...]
    reference: str = ""
    reply: str = ""


class Metric(Protocol):
    """How replies are judged. Figures are in percent, so that they can be laid beside published ones."""

    @property
    def name(self) -> str:
        """Short, such as `wer`."""

    @property
    def words(self) -> str:
        """What the figure is, such as `word error rate, %`."""

    @property
    def is_error(self) -> bool:
        """Whether lower is better."""

    @property
    def size(self) -> int:
        """How many counts a score has."""

    def score(self, item: Item, answer: Answer) -> Score:
        """Judge one reply.

        Raises:
            ConfigError: A package of the extra `evaluate` is missing.
        """

    def cost(self, counts: tuple[float, ...]) -> float:
        """How much one reply costs the figure; 0 for a reply that is right."""

    def value(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Figures of sums of counts.

        Args:
            sums: float64 [..., size].

        Returns:
            float64 [...], NaN where nothing was counted.
        """


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first count over the second, in percent; NaN where the second is 0."""
    out = np.full(sums.shape[:-1], np.nan)
    np.divide(100.0 * sums[..., 0], sums[..., 1], out=out, where=sums[..., 1] > 0)
    return out
