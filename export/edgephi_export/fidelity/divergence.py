"""How far the next-token distributions of a model are from those of its reference, position by position.

kl = sum over the vocabulary of p_reference * (log p_reference - log p), in nats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One teacher-forced answer of A tokens under two models.

    Attributes:
        kl: A + 1 values: of every answer token, and of the end after them.
        agrees: Whether both models have the same likeliest token there.
        surprisal: A values: -log of the probability of each answer token.
        reference_surprisal: The same of the reference.
    """

    kl: tuple[float, ...]
    agrees: tuple[bool, ...]
    surprisal: tuple[float, ...]
    reference_surprisal: tuple[float, ...]


def divergence(reference: NDArray[np.float32], logits: NDArray[np.float32], answer_ids: Sequence[int]) -> Divergence:
    """Compare the logits of two models.

    Args:
        reference: [A + 1, V].
        logits: [A + 1, V] of the model that is judged.
        answer_ids: The A tokens that were forced.

    Raises:
        ValueError: A logit of the model is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    kl, agrees = [], []
    surprisal: tuple[list[float], list[float]] = ([], [])
    # Row by row in float64: a row of the real vocabulary takes 1.6 MB, all of a long answer would take gigabytes.
    for place, pair in enumerate(zip(reference, logits, strict=True)):
        wanted, found = (_log_softmax(row) for row in pair)
        kl.append(max(0.0, float(np.exp(wanted) @ (wanted - found))))
        agrees.append(int(wanted.argmax()) == int(found.argmax()))
        if place < len(answer_ids):
            for listed, row in zip(surprisal, (wanted, found), strict=True):
                listed.append(-float(row[answer_ids[place]]))
    return Divergence(
        kl=tuple(kl), agrees=tuple(agrees), surprisal=tuple(surprisal[1]), reference_surprisal=tuple(surprisal[0])
    )


def _log_softmax(row: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = row.astype(np.float64)
    shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted
