"""Cholesky factors and inverses of triangular matrices in place: LAPACK's calls would hold a matrix three times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAF = 256  # triangles up to this size are left to LAPACK
_TILE = 512  # columns that are changed at a time


def factor_lower(matrix: NDArray[np.floating]) -> None:
    """The Cholesky factor of a symmetric, positive definite matrix, in its place."""
    for start in range(0, len(matrix), _LEAF):
        stop = start + _LEAF
        corner = np.linalg.cholesky(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = corner
        matrix[start:stop, stop:] = 0
        below = matrix[stop:, start:stop]
        below[:] = below @ np.linalg.inv(corner).T
        for first in range(stop, len(matrix), _TILE):
            columns = slice(first, first + _TILE)
            matrix[first:, columns] -= matrix[first:, start:stop] @ matrix[columns, start:stop].T


def invert_lower(matrix: NDArray[np.floating]) -> None:
    """Invert a lower triangular matrix in place: both diagonal quarters, and then the one that joins them."""
    size = len(matrix)
    if size <= _LEAF:
        matrix[:] = np.tril(np.linalg.inv(matrix))
        return
    half = size // 2
    first, second = matrix[:half, :half], matrix[half:, half:]
    invert_lower(first)
    invert_lower(second)
    matrix[half:, :half] = -(second @ (matrix[half:, :half] @ first))
