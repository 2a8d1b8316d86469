"""A walk divides by covariances of thousands of inputs: in blocks and threads it must be what NumPy does at once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi_quantize.triangular import Divisor, factor_lower, invert_lower

SIZE, ROWS = 150, 37


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of each, the last one smaller."""
    for name, size in (("_LEAF", 32), ("_TILE", 48), ("_ROWS", 10)):
        monkeypatch.setattr(f"edgephi_quantize.triangular.{name}", size)


@pytest.fixture(scope="module")
def covariance() -> NDArray[np.float64]:
    rows = np.random.default_rng(0).standard_normal((400, SIZE))
    return rows.T @ rows / len(rows) + 0.01 * np.eye(SIZE)


@pytest.mark.parametrize("threads", [1, 3])
def test_factor_and_inverse_are_numpys(covariance: NDArray[np.float64], threads: int):
    found = covariance.copy()
    factor_lower(found, threads=threads)
    np.testing.assert_allclose(found, np.linalg.cholesky(covariance), atol=1e-12)
    invert_lower(found, threads=threads)
    np.testing.assert_allclose(found, np.linalg.inv(np.linalg.cholesky(covariance)), atol=1e-10)


@pytest.mark.parametrize("threads", [1, 3])
def test_quotients_are_products_with_the_inverses(covariance: NDArray[np.float64], threads: int):
    lower = np.linalg.cholesky(covariance)
    rows = np.random.default_rng(1).standard_normal((ROWS, SIZE), np.float32)
    given, divisor = rows.copy(), Divisor(lower, threads=threads)
    np.testing.assert_allclose(divisor.quotient(rows), rows @ np.linalg.inv(lower), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(divisor.square_quotient(rows), rows @ np.linalg.inv(covariance), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(rows, given)


def test_threads_change_no_bit(covariance: NDArray[np.float64]):
    factors = [covariance.copy() for _ in range(2)]
    rows = np.random.default_rng(2).standard_normal((ROWS, SIZE), np.float32)
    quotients = []
    for factor, threads in zip(factors, (1, 3), strict=True):
        factor_lower(factor, threads=threads)
        quotients.append(Divisor(factor, threads=threads).square_quotient(rows))
        invert_lower(factor, threads=threads)
    np.testing.assert_array_equal(*factors)
    np.testing.assert_array_equal(*quotients)
