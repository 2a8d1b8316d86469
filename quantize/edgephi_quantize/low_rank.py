"""The best low-rank correction of a matrix for given inputs: an adapter that takes in the error of its base.

    minimize  || (M - B A) C^(1/2) ||      M [N, K] what the correction should be, C the covariance of the inputs

The solution: B is an orthonormal basis of the r largest left singular vectors of M C^(1/2), the eigenvectors of
M C M', and A = B' M. No root or inverse of C is needed. Prior art: LoftQ (arXiv 2310.08659), EoRA (arXiv 2410.21271),
QERA (arXiv 2410.06040).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.parallel import matrix_product

#: Up to this many rows all eigenvectors are computed; over it the subspace is iterated.
_EXACT_ROWS = 1536
_ITERATIONS = 6
_OVERSAMPLING = 32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowRank:
    """`B A`: a float32 [r, K], b float32 [N, r]."""

    a: Floats
    b: Floats


def solve_low_rank(target: Floats, inputs: InputStatistics, rank: int, *, threads: int = 1) -> LowRank:
    """The correction of a rank that is closest to `target` for these inputs.

    Args:
        target: M, float32 [N, K]. Not modified.
        inputs: Of the linear.
        rank: r, at least 1; above N or K it is cut to the smaller of them.
        threads: Workers. The result does not depend on it while BLAS takes one thread for each.

    Raises:
        ValueError: The rank is below 1, or the sizes do not fit.
    """
    if rank < 1 or inputs.size != target.shape[1]:
        raise ValueError(f"rank {rank} for {list(target.shape)} with {inputs.size} inputs")
    rank = min(rank, *target.shape)
    basis = _basis(target, inputs, rank, threads)
    return LowRank(a=matrix_product(basis.T, target, threads=threads).astype(np.float32), b=basis)


def fit_outputs(target: Floats, a: Floats, inputs: InputStatistics, *, threads: int = 1) -> Floats:
    """The B, float32 [N, r], that is best with a given A [r, K], such as one that was rounded to be stored."""
    weighted = inputs.shrunk_product(np.ascontiguousarray(a.T))
    gram = a.astype(np.float64) @ weighted.astype(np.float64)
    gram[np.diag_indices(len(a))] += 1e-9 * max(float(np.trace(gram)) / len(a), 1e-30)
    dots = matrix_product(target, weighted, threads=threads)
    return np.linalg.solve(gram, dots.T.astype(np.float64)).T.astype(np.float32)


def _basis(target: Floats, inputs: InputStatistics, rank: int, threads: int) -> Floats:
    """The eigenvectors of M C M' with the largest eigenvalues: float32 [N, rank]."""
    turned = np.ascontiguousarray(target.T)

    def applied(vectors: Floats) -> Floats:
        inner = inputs.shrunk_product(matrix_product(turned, vectors, threads=threads))
        return matrix_product(target, inner, threads=threads).astype(np.float32)

    num_rows = len(target)
    if num_rows <= _EXACT_ROWS:
        weighted = inputs.shrunk_product(turned).astype(np.float64)
        vectors = np.linalg.eigh(target @ weighted)[1]
        return np.ascontiguousarray(vectors[:, : -rank - 1 : -1], np.float32)
    width = min(rank + _OVERSAMPLING, *target.shape)
    vectors = np.random.default_rng(0).standard_normal((num_rows, width), np.float32)
    for _ in range(_ITERATIONS):
        vectors = np.linalg.qr(applied(vectors))[0]
    found = np.linalg.eigh((vectors.T @ applied(vectors)).astype(np.float64))[1][:, ::-1]
    return np.ascontiguousarray(vectors @ found[:, :rank].astype(np.float32))
