"""A matrix behind quantized layers must be told what they changed, or an adapter mends its own base alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi_quantize.compensation import ChangedInputs, compensation
from edgephi_quantize.input_statistics import InputStatistics, measure

SIZE, OUTPUTS = 96, 40
Floats = NDArray[np.float32]


class _Requests:
    """Requests whose inputs are 0.9 of what they were in the float model, and turned a little."""

    def __init__(self, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        mixing = np.random.default_rng(99).standard_normal((SIZE, SIZE)) / np.sqrt(np.arange(1, SIZE + 1))[:, None]
        turn = 0.05 * np.random.default_rng(98).standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
        lengths = random.integers(20, 60, count)
        self.exact = [(random.standard_normal((length, SIZE)) @ mixing).astype(np.float32) for length in lengths]
        self.rows = [(0.9 * rows + rows @ turn).astype(np.float32) for rows in self.exact]
        raw = [random.uniform(0.2, 1.8, length).astype(np.float32) for length in lengths]
        mean = np.concatenate(raw).mean()
        self.weights = [weights / mean for weights in raw]

    @property
    def changed(self) -> ChangedInputs:
        return ChangedInputs(rows=self.rows, exact=lambda: self.exact, weights=self.weights)

    @property
    def statistics(self) -> InputStatistics:
        return measure(self.rows, threads=1, weights=self.weights)

    def lost(self, matrix: Floats, added: Floats) -> float:
        """The squared error of the outputs, each row counted by its weight."""
        error = np.concatenate(self.exact) @ matrix.T - np.concatenate(self.rows) @ (matrix + added).T
        return float((np.concatenate(self.weights)[:, None] * np.square(error, dtype=np.float64)).sum())


@pytest.fixture(scope="module")
def matrix() -> Floats:
    return np.random.default_rng(1).standard_normal((OUTPUTS, SIZE), np.float32)


def test_outputs_come_back_to_those_of_the_float_model_on_held_out_requests_too(matrix: Floats):
    seen, others = _Requests(2, 200), _Requests(3, 50)
    added = compensation(matrix, seen.changed, seen.statistics)
    nothing = np.zeros_like(matrix)
    assert seen.lost(matrix, added) < 0.02 * seen.lost(matrix, nothing)
    assert others.lost(matrix, added) < 0.02 * others.lost(matrix, nothing)


def test_it_is_the_ridge_regression_of_the_formula(matrix: Floats):
    seen = _Requests(4, 12)
    statistics = seen.statistics
    assert statistics.shrinkage > 0.01  # so that it has a part in the result
    rows, exact, weights = (np.concatenate(one).astype(np.float64) for one in (seen.rows, seen.exact, seen.weights))
    share, shrinkage = 1 / len(rows), statistics.shrinkage
    moments = (exact - rows).T @ (rows * weights[:, None]) * share
    covariance = rows.T @ (rows * weights[:, None]) * share
    mean = np.diagonal(covariance).mean()
    ridge = (1 - shrinkage) * covariance + (shrinkage + 0.01) * mean * np.eye(SIZE)
    wanted = (1 - shrinkage) * matrix @ moments @ np.linalg.inv(ridge)
    found = compensation(matrix, seen.changed, statistics)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * float(np.abs(wanted).max()))


def test_few_requests_do_no_harm_to_others(matrix: Floats):
    few, others = _Requests(5, 2), _Requests(6, 50)
    added = compensation(matrix, few.changed, few.statistics)
    assert others.lost(matrix, added) < others.lost(matrix, np.zeros_like(matrix))


def test_threads_change_nothing_and_what_did_not_change_needs_nothing(matrix: Floats, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi_quantize.compensation._TILE", 32)
    seen = _Requests(7, 20)
    one, three = (compensation(matrix, seen.changed, replace(seen.statistics, threads=threads)) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    still = ChangedInputs(rows=seen.rows, exact=lambda: seen.rows, weights=seen.weights)
    assert not compensation(matrix, still, seen.statistics).any()
