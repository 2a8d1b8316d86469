"""Cholesky factors, triangular inverses and quotients in blocks: LAPACK's calls would hold a matrix three times.

Results do not depend on the number of threads while BLAS takes one for each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.parallel import for_each, matrix_product

_LEAF = 256  # triangles up to this size are left to LAPACK
_TILE = 512  # columns that are changed at a time
_ROWS = 256  # that are divided at a time
Floats = NDArray[np.float32]


def factor_lower(matrix: NDArray[np.float64], *, threads: int = 1) -> None:
    """The Cholesky factor of a symmetric, positive definite matrix, in its place."""
    for start in range(0, len(matrix), _LEAF):
        stop = start + _LEAF
        corner = np.linalg.cholesky(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = corner
        matrix[start:stop, stop:] = 0
        below = matrix[stop:, start:stop]
        below[:] = below @ np.linalg.inv(corner).T
        _subtract_products(matrix, start, stop, threads)


def _subtract_products(matrix: NDArray[np.float64], start: int, stop: int, threads: int) -> None:
    """Take what columns `start` up to `stop` of the factor stand for out of the columns behind them."""

    def work(first: int) -> None:
        columns = slice(first, first + _TILE)
        matrix[first:, columns] -= matrix[first:, start:stop] @ matrix[columns, start:stop].T

    for_each(work, range(stop, len(matrix), _TILE), threads=threads)


def invert_lower(matrix: NDArray[np.float64], *, threads: int = 1) -> None:
    """Invert a lower triangular matrix in place: both diagonal quarters, and then the one that joins them."""
    size = len(matrix)
    if size <= _LEAF:
        matrix[:] = np.tril(np.linalg.inv(matrix))
        return
    half = size // 2
    first, second = matrix[:half, :half], matrix[half:, half:]
    invert_lower(first, threads=threads)
    invert_lower(second, threads=threads)
    inner = matrix_product(matrix[half:, :half], first, threads=threads)
    matrix[half:, :half] = -matrix_product(second, inner, threads=threads)


class Divisor:
    """A lower triangular matrix L that rows are divided by.

    Args:
        lower: [K, K]; kept in float32.
        threads: Workers.
    """

    def __init__(self, lower: NDArray[np.float64], *, threads: int = 1) -> None:
        self._lower, self._threads = lower.astype(np.float32), threads
        self._blocks = [slice(start, min(start + _LEAF, len(lower))) for start in range(0, len(lower), _LEAF)]
        self._inverses = [np.linalg.inv(lower[block, block]).astype(np.float32) for block in self._blocks]

    def quotient(self, rows: Floats) -> Floats:
        """`rows inverse(L)`, float32 [n, K]."""
        return self._divided(rows, self._divide)

    def square_quotient(self, rows: Floats) -> Floats:
        """`rows inverse(L L')`, float32 [n, K]."""

        def divide(part: Floats) -> None:
            self._divide_by_transposed(part)
            self._divide(part)

        return self._divided(rows, divide)

    def _divided(self, rows: Floats, divide: Callable[[Floats], None]) -> Floats:
        result = rows.copy()

        def work(start: int) -> None:
            divide(result[start : start + _ROWS])

        for_each(work, range(0, len(rows), _ROWS), threads=self._threads)
        return result

    def _divide(self, rows: Floats) -> None:
        """From the last column to the first: Z of `Z L = rows`, in their place."""
        for block, inverse in zip(reversed(self._blocks), reversed(self._inverses), strict=True):
            rows[:, block] -= rows[:, block.stop :] @ self._lower[block.stop :, block]
            rows[:, block] = rows[:, block] @ inverse

    def _divide_by_transposed(self, rows: Floats) -> None:
        """From the first column to the last: Y of `Y L' = rows`, in their place."""
        for block, inverse in zip(self._blocks, self._inverses, strict=True):
            rows[:, block] -= rows[:, : block.start] @ self._lower[block, : block.start].T
            rows[:, block] = rows[:, block] @ inverse.T
