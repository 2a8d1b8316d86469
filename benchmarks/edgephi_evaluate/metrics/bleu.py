"""BLEU of a corpus by sacrebleu, with the tokenizer that the language needs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError
from edgephi_evaluate.answer import Answer
from edgephi_evaluate.extras import need
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.metric import Score

_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab"}
_ORDERS = 4


@dataclass(frozen=True, slots=True)
class Bleu:
    """Corpus BLEU of raw text: no lower-casing, exponential smoothing, one reference.

    Counts: length of the replies, length of the references, correct n-grams of 1 to 4, n-grams of 1 to 4.
    """

    @property
    def name(self) -> str:
        """See Metric."""
        return "bleu"

    @property
    def words(self) -> str:
        """See Metric."""
        return "BLEU"

    @property
    def is_error(self) -> bool:
        """See Metric."""
        return False

    @property
    def size(self) -> int:
        """See Metric."""
        return 2 + 2 * _ORDERS

    def score(self, item: Item, answer: Answer) -> Score:
        """See Metric."""
        found = _scorer(item.language).sentence_score(answer.text, [item.answers[0]])
        counts = (found.sys_len, found.ref_len, *found.counts, *found.totals)
        return Score(counts=tuple(map(float, counts)), reference=item.answers[0], reply=answer.text)

    def cost(self, counts: tuple[float, ...]) -> float:
        """See Metric."""
        return counts[1] - counts[2]

    def value(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Metric."""
        compute = need("sacrebleu", "for BLEU").BLEU.compute_bleu
        rows = sums.reshape(-1, self.size)
        figures = [
            compute(
                [int(n) for n in row[2 : 2 + _ORDERS]],
                [int(n) for n in row[2 + _ORDERS :]],
                int(row[0]),
                int(row[1]),
                smooth_method="exp",
            ).score
            if row[1] > 0
            else np.nan
            for row in rows
        ]
        return np.array(figures, np.float64).reshape(sums.shape[:-1])


def signature(language: str) -> str:
    """How sacrebleu names the way it counts, for papers."""
    bleu = need("sacrebleu", "for BLEU").BLEU(tokenize=_TOKENIZERS.get(language, "13a"))
    bleu.corpus_score(["a"], [["a"]])  # a signature needs the number of references
    return str(bleu.get_signature())


@functools.cache
def _scorer(language: str) -> Any:
    tokenizer = _TOKENIZERS.get(language, "13a")
    try:
        # The effective order changes a sentence's own score, which is not used, and not its counts.
        return need("sacrebleu", "for BLEU").BLEU(tokenize=tokenizer, effective_order=True)
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"sacrebleu cannot cut {language} by {tokenizer} ({' '.join(str(error).split())}); run pip install "
            "'edgephi[evaluate]'"
        ) from error
