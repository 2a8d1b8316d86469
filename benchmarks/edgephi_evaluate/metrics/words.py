"""Word and character error rates over a corpus: jiwer's, and kaldialign's with compounds free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.extras import need
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.metric import Score, ratio

#: Makes of a text, and the language that it is in, words with spaces between.
Normalize = Callable[[str, str], str]


def unchanged(text: str, language: str = "") -> str:  # noqa: ARG001 - as every normalizer
    """The text as it is."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class WordErrors:
    """Insertions, deletions and substitutions over the words of the references, of a corpus as a whole.

    Args:
        normalize: Applied to both sides.
        name: `wer`, or `cer` where the normalizer gives characters.
        is_marked: Whether control tokens of the reply count as text.
        merge_compounds: Whether "white paper" and "whitepaper" are the same, as in OpenASR since 2026.
    """

    normalize: Normalize = unchanged
    name: str = "wer"
    is_marked: bool = False
    merge_compounds: bool = False

    @property
    def words(self) -> str:
        """See Metric."""
        return f"{'character' if self.name == 'cer' else 'word'} error rate, %"

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
        reference = self.normalize(item.answers[0], item.language)
        text = answer.marked_text if self.is_marked else answer.text
        return self.compare(reference, self.normalize(text, item.language))

    def compare(self, reference: str, reply: str) -> Score:
        """Count the errors between texts that are normalized already.

        Raises:
            ConfigError: A package of the extra is missing.
        """
        return Score(counts=self._counts(reference, reply), reference=reference, reply=reply)

    def cost(self, counts: tuple[float, ...]) -> float:
        """See Metric."""
        return counts[0]

    def value(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Metric."""
        return ratio(sums)

    def _counts(self, reference: str, reply: str) -> tuple[float, float]:
        wanted, given = reference.split(), reply.split()
        if not wanted:  # jiwer refuses it
            return float(len(given)), 0.0
        if self.merge_compounds:
            kaldialign = need("kaldialign", "to count word errors with compounds free")
            found = kaldialign.batch_error_rate([tuple(wanted)], [tuple(given)], merge_compounds=True)
            return float(found["total"]), float(found["ref_len"])
        found = need("jiwer", "to count word errors").process_words([" ".join(wanted)], [" ".join(given)])
        return float(found.substitutions + found.deletions + found.insertions), float(len(wanted))
