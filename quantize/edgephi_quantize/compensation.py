"""What a matrix should be where the layers before it are quantized and its inputs have changed with them.

    minimize  E || W x - (W + T) y ||^2     x inputs in the float model, y inputs behind the quantized layers
    T = W D inverse(C)                      D = E (x - y) y'     C = E y y'

D and C are shrunk alike, so that few examples change little. An adapter that takes in T as well mends what the layers
before it lose. Prior art, for codes in place of adapters: QEP (arXiv 2504.09629), GPTAQ (arXiv 2504.02692).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.parallel import for_each, matrix_product

_TILE = 512  # columns of D that are computed at a time
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangedInputs:
    """The inputs of one linear behind quantized layers, and how far they are from those of the float model.

    Attributes:
        rows: y, float32 [S, K] of each sequence.
        exact: Gives x, likewise; one sequence is held at a time.
        weights: float32 [S] of each sequence: how much each row counts, as in the statistics of y.
    """

    rows: Sequence[Floats]
    exact: Callable[[], Iterable[Floats]]
    weights: Sequence[Floats]

    def moments(self, *, threads: int) -> Floats:
        """D, float32 [K, K]; the result does not depend on `threads` while BLAS takes one for each."""
        size, num_rows = self.rows[0].shape[1], sum(map(len, self.rows))
        moments = np.zeros((size, size), np.float32)

        for exact, rows, weights in zip(self.exact(), self.rows, self.weights, strict=True):
            _add_products(moments, exact - rows, rows * weights[:, None], threads)
        moments /= np.float32(num_rows)
        return moments


def _add_products(moments: Floats, changes: Floats, rows: Floats, threads: int) -> None:
    def work(start: int) -> None:
        columns = slice(start, start + _TILE)
        moments[:, columns] += changes.T @ rows[:, columns]

    for_each(work, range(0, len(moments), _TILE), threads=threads)


def compensation(matrix: Floats, inputs: ChangedInputs, statistics: InputStatistics) -> Floats:
    """T, float32 [N, K], which is to be added to a matrix.

    Args:
        matrix: W, float32 [N, K], adapters included.
        inputs: Of the linear.
        statistics: Of y, with the same weights.
    """
    moments = inputs.moments(threads=statistics.threads)
    product = matrix_product(matrix, moments, threads=statistics.threads)
    del moments
    product *= np.float32(1 - statistics.shrinkage)
    return statistics.shrunk_quotient(product.astype(np.float32, copy=False))
