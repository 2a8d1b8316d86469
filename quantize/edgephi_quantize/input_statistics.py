"""What a linear's inputs were during calibration: their second moments, and the factor that error propagation needs.

C = mean of x x' over the rows x of a linear's inputs     K inputs, S rows

Few examples do not fill the space of the inputs, and what is fitted to them alone is worse on others. Shrinkage moves
their C towards the same mean square everywhere, by Ledoit and Wolf 2004 (doi 10.1016/S0047-259X(03)00096-4), with
sequences as the samples, because rows of one are alike:

    shrunk C = (1 - s) C + s mean(diagonal) I       s = variance of C / || C - mean(diagonal) I ||^2, at most 1
    variance of C = sum over sequences of share^2 || C of the sequence - C ||^2      norms are Frobenius's
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.parallel import for_each, matrix_product
from edgephi_quantize.triangular import Divisor, factor_lower, invert_lower

#: Added to the diagonal, as a share of its mean: keeps the factor stable where inputs are few or depend on each other.
_DAMPING = 0.01
#: Random directions that the variance is estimated from: one standard error is below 18 %.
_DIRECTIONS = 64
_TILE = 512  # columns of a covariance that are computed at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class InputStatistics:
    """Second moments of the inputs of one linear.

    Attributes:
        covariances: float32 [K, K] each, the mean of x x', perhaps weighted; not centred: a matrix multiplies the mean
            as well. C is their sum, each times its share; it is not held, since it takes 268 MB where K is 8,192.
        num_rows: How many rows were seen.
        shares: Of each covariance.
        variance: How far, squared, C may be from that of all requests; 0 where one sequence was seen.
        threads: Workers; nothing depends on it while BLAS takes one thread for each.
    """

    covariances: tuple[NDArray[np.float32], ...]
    num_rows: int
    shares: tuple[float, ...] = (1.0,)
    variance: float = 0.0
    threads: int = 1

    @property
    def size(self) -> int:
        """K."""
        return len(self.covariances[0])

    @property
    def mean_square(self) -> float:
        """Of all inputs: the mean of C's diagonal."""
        return float(self._diagonal.mean(dtype=np.float64))

    @cached_property
    def damping(self) -> np.float32:
        """What is added to the diagonal; 1 where all inputs are zero."""
        mean = np.float32(self.mean_square)
        return np.float32(_DAMPING) * mean if mean > 0 else np.float32(1)

    @cached_property
    def importance(self) -> NDArray[np.float32]:
        """float32 [K]: the damped mean square of each input, above 0."""
        return self._diagonal + self.damping

    def rows(self, which: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.float32]:
        """All or some rows of C, float32 [n, K]: a new array."""
        return self._sum(covariance[which] for covariance in self.covariances)

    @cached_property
    def _diagonal(self) -> NDArray[np.float32]:
        return self._sum(map(np.diagonal, self.covariances))

    def _sum(self, parts: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Of one part of each covariance, each times its share."""
        return reduce(np.add, (part * np.float32(share) for part, share in zip(parts, self.shares, strict=True)))

    def _tiles(self) -> Iterator[slice]:
        yield from (slice(start, start + _TILE) for start in range(0, self.size, _TILE))

    @cached_property
    def shrinkage(self) -> float:
        """s, 0 to 1: the share that the same mean square everywhere has in `shrunk_product`."""
        squares = sum(
            float(np.square(row, dtype=np.float64).sum()) for tile in self._tiles() for row in self.rows(tile)
        )
        distance = squares - self.size * self.mean_square**2
        return min(1.0, self.variance / distance) if distance > 0 else 0.0

    def shrunk_product(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """The shrunk C with the damping on its diagonal, which adapters are solved on, times float32 [K, n]: [K, n]."""
        product = columns * (np.float32(self.shrinkage * self.mean_square) + self.damping)
        products = (matrix_product(covariance, columns, threads=self.threads) for covariance in self.covariances)
        product += self._sum(products) * np.float32(1 - self.shrinkage)
        return product

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """int64 [K]: the inputs, the largest first, as error propagation takes them."""
        return np.argsort(-self.importance, kind="stable")

    @cached_property
    def factor(self) -> NDArray[np.float32]:
        """float32 [K, K], upper triangular U with `inverse of the damped covariance = U' U`, inputs in `order`.

        Row i over its diagonal is what an error at input i is spread over the later inputs with. Computed in float64
        from one Cholesky factor: with rows and columns reversed, C = L L', and U is the inverse of L reversed back.
        """
        matrix = self._cholesky(0.0, self.order[::-1])
        invert_lower(matrix, threads=self.threads)
        return matrix[::-1, ::-1].astype(np.float32)

    def root_quotient(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows divided by a root of the damped C: float32 [n, K] to [n, K], `rows inverse(L)` with `C = L L'`."""
        return Divisor(self._cholesky(0.0), threads=self.threads).quotient(rows)

    def shrunk_quotient(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows times the inverse of what `shrunk_product` multiplies by: float32 [n, K] to [n, K]."""
        lower = self._cholesky(self.shrinkage)
        divisor = Divisor(lower, threads=self.threads)
        del lower
        return divisor.square_quotient(rows)

    def _cholesky(self, shrinkage: float, order: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """float64 [K, K], lower triangular: the factor of the damped and shrunk C, inputs in `order`."""
        matrix = np.empty((self.size, self.size), np.float64)
        for tile in self._tiles():
            matrix[tile] = self.rows(tile) if order is None else self.rows(order[tile])[:, order]
        matrix *= 1 - shrinkage
        matrix[np.diag_indices(self.size)] += shrinkage * self.mean_square + float(self.damping)
        factor_lower(matrix, threads=self.threads)
        return matrix


def measure(
    sequences: Sequence[NDArray[np.float32]],
    *,
    threads: int,
    weights: Sequence[NDArray[np.float32]] | None = None,
) -> InputStatistics:
    """The statistics of inputs.

    Args:
        sequences: float32 [S, K] each, at least one; together at least one row.
        threads: Workers. The result does not depend on it while BLAS takes one thread for each.
        weights: float32 [S] each, their mean 1: how often each row counts; None for once.

    Raises:
        ValueError: There are no rows.
    """
    num_rows = sum(map(len, sequences))
    if not num_rows:
        raise ValueError("statistics of no rows")
    size = sequences[0].shape[1]
    covariance = np.empty((size, size), np.float32)

    def work(start: int) -> None:
        columns = slice(start, min(start + _TILE, size))
        part = np.zeros((size - start, columns.stop - start), np.float32)
        for index, rows in enumerate(sequences):
            counted = rows[:, columns] if weights is None else rows[:, columns] * weights[index][:, None]
            part += rows[:, start:].T @ counted
        part /= np.float32(num_rows)
        covariance[start:, columns] = part
        covariance[columns, start:] = part.T

    for_each(work, range(0, size, _TILE), threads=threads)
    variance = _variance(sequences, weights, covariance, threads)
    return InputStatistics(covariances=(covariance,), num_rows=num_rows, variance=variance, threads=threads)


def _variance(
    sequences: Sequence[NDArray[np.float32]],
    weights: Sequence[NDArray[np.float32]] | None,
    covariance: NDArray[np.float32],
    threads: int,
) -> float:
    """The variance of the covariance as the mean of sequences', estimated from its products with random signs."""
    if len(sequences) == 1:
        return 0.0
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (len(covariance), _DIRECTIONS))
    whole = matrix_product(covariance, signs, threads=threads)
    total, num_rows = 0.0, sum(map(len, sequences))
    for index, rows in enumerate(sequences):
        counted = rows @ signs
        if weights is not None:
            counted *= weights[index][:, None]
        away = rows.T @ counted - whole * np.float32(len(rows))  # times the length: its share is length / all
        total += float(np.square(away, dtype=np.float64).sum()) / _DIRECTIONS / num_rows**2
    return total * len(sequences) / (len(sequences) - 1)


def mixed(parts: Sequence[InputStatistics]) -> InputStatistics:
    """Statistics in which every part counts the same, however many rows it has: one part for each kind of request.

    Each is brought to the same mean square first, so that a kind with large inputs does not count for all.

    Raises:
        ValueError: There are no parts, or they differ in size.
    """
    if not parts or len({part.size for part in parts}) != 1:
        raise ValueError(f"parts have {[part.size for part in parts]} inputs; they must all have the same number")
    if len(parts) == 1:
        return replace(parts[0])  # without what is cached, so that this is freed with the result
    shares = [1 / (part.mean_square * len(parts)) if part.mean_square > 0 else 0.0 for part in parts]
    return InputStatistics(
        covariances=tuple(covariance for part in parts for covariance in part.covariances),
        shares=tuple(share * own for part, share in zip(parts, shares, strict=True) for own in part.shares),
        num_rows=sum(part.num_rows for part in parts),
        variance=sum(part.variance * share**2 for part, share in zip(parts, shares, strict=True)),
        threads=max(part.threads for part in parts),
    )


def required(inputs: InputStatistics | None, weights: NDArray[np.float32]) -> InputStatistics:
    """`inputs`, which are there and have the size of a row of `weights`.

    Raises:
        ValueError: They are not, or have not.
    """
    if inputs is None:
        raise ValueError("this method chooses by the inputs of calibration; there are none")
    if weights.ndim == 2 and inputs.size != weights.shape[1]:
        raise ValueError(
            f"inputs are {inputs.size}, the weights {list(weights.shape)}; they must be [N, {inputs.size}]"
        )
    return inputs
