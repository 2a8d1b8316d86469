"""Word errors of other languages: a compound that one side writes in two words is joined on both."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.metric import Score, ratio
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.normalize.multilingual import BY_CHARACTER, multilingual


@dataclass(frozen=True, slots=True)
class MultilingualErrors:
    """Word errors; character errors in languages that put no space between words."""

    @property
    def name(self) -> str:
        """See Metric."""
        return "wer"

    @property
    def words(self) -> str:
        """See Metric."""
        return "word error rate, % (zh, ja: characters)"

    @property
    def is_error(self) -> bool:
        """See Metric."""
        return True

    @property
    def size(self) -> int:
        """See Metric."""
        return 2

    def score(self, item: Item, answer: Answer) -> Score:
        """See Metric."""
        reference, reply = (multilingual(text, item.language) for text in (item.answers[0], answer.text))
        if item.language not in BY_CHARACTER:
            reference, reply = join_compounds(reference, reply)
        return WordErrors().compare(reference, reply)

    def cost(self, counts: tuple[float, ...]) -> float:
        """See Metric."""
        return counts[0]

    def value(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Metric."""
        return ratio(sums)


def join_compounds(reference: str, reply: str) -> tuple[str, str]:
    """Both texts, with words joined that the other side writes as one."""
    left, right = reference.split(), reply.split()
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    joined_left: list[str] = []
    joined_right: list[str] = []
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        one, other = left[i:i_end], right[j:j_end]
        if kind == "replace" and "".join(one) == "".join(other):
            one, other = ["".join(one)], ["".join(other)]
        joined_left += one
        joined_right += other
    return " ".join(joined_left), " ".join(joined_right)
