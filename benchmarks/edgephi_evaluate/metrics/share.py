"""The mean of marks from 0 to 1, which most benchmarks use, each with its own rule for one reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.metric import Score, ratio

#: The mark of a reply, 0 to 1.
Mark = Callable[[Item, Answer], float]


@dataclass(frozen=True, slots=True)
class Share:
    """The mean mark over all items, in percent.

    Args:
        name: Short.
        words: What the figure is.
        mark: Judges one reply.
    """

    name: str
    words: str
    mark: Mark

    @property
    def is_error(self) -> bool:
        """See Metric."""
        return False

    @property
    def size(self) -> int:
        """See Metric."""
        return 2

    def score(self, item: Item, answer: Answer) -> Score:
        """See Metric."""
        reference = item.answers[0] if len(item.answers) == 1 else ""
        return Score(counts=(self.mark(item, answer), 1.0), reference=reference, reply=answer.text)

    def cost(self, counts: tuple[float, ...]) -> float:
        """See Metric."""
        return counts[1] - counts[0]

    def value(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Metric."""
        return ratio(sums)
