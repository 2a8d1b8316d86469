"""How much each row of a linear's inputs counts: the more, the less the other rows say about it.

leverage of a row x = x' inverse(C) x      small where many rows lie in its direction, up to S for one of S rows alone

With every row counted once, the outputs' mean error is made small at the price of rare rows, to which the error of all
the others is shifted. A token such as the one that opens a tool call occurs once in a request, and a 2-bit model then
takes it for another, though the mean error is low. Weights of the square root of the leverage are the first step to
those of a mean fourth power of the errors (l4 Lewis weights, Cohen and Peng 2015, arXiv 1412.0588): the largest errors
decide, as they do in what a model says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.input_statistics import InputStatistics, measure

#: Random directions that a leverage is estimated from: one standard error is 18 %, of its root 9 %.
_DIRECTIONS = 64


def measure_with_rare_rows(
    sequences: Sequence[NDArray[np.float32]], *, threads: int
) -> tuple[InputStatistics, list[NDArray[np.float32]]]:
    """The statistics of inputs in which each row counts by the square root of its leverage.

    Args:
        sequences: float32 [S, K] each, at least one; together at least one row.
        threads: Workers. The result does not depend on it while BLAS takes one thread for each.

    Returns:
        The statistics, and how much each row counts: float32 [S] for each sequence, their mean over all rows 1.

    Raises:
        ValueError: There are no rows.
    """
    weights = _weights(sequences, measure(sequences, threads=threads))
    return measure(sequences, threads=threads, weights=weights), weights


def _weights(sequences: Sequence[NDArray[np.float32]], inputs: InputStatistics) -> list[NDArray[np.float32]]:
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (_DIRECTIONS, inputs.size))
    directions = np.ascontiguousarray(inputs.root_quotient(signs).T)
    roots = [np.linalg.norm(rows @ directions, axis=1) for rows in sequences]
    mean = np.float32(np.concatenate(roots).mean(dtype=np.float64))
    return [root / mean if mean > 0 else np.ones_like(root) for root in roots]
