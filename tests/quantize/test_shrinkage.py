"""What is solved on a few examples must serve requests that are not like them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi_quantize.input_statistics import InputStatistics, measure, mixed
from edgephi_quantize.low_rank import solve_low_rank

SIZE, OUTPUTS, RANK = 64, 48, 6
Rows = list[NDArray[np.float32]]


def _sequences(seed: int, count: int) -> Rows:
    """Requests of 20 to 60 rows, the rows of one alike, as tokens about one thing are."""
    shape = np.random.default_rng(99).standard_normal((SIZE, SIZE)) / np.sqrt(np.arange(1, SIZE + 1))[:, None]
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        rows = random.standard_normal((random.integers(20, 60), 4)) @ random.standard_normal((4, SIZE))
        made.append(((rows + 0.3 * random.standard_normal(rows.shape)) @ shape).astype(np.float32))
    return made


def _error(target: NDArray[np.float32], statistics: InputStatistics, held_out: Rows) -> float:
    found = solve_low_rank(target, statistics, RANK)
    return float(((np.concatenate(held_out) @ (target - found.b @ found.a).T) ** 2).sum())


def test_corrections_from_few_examples_are_closer_on_others_than_without_shrinkage():
    held_out, ratios = _sequences(7, 300), []
    for seed in range(10):
        statistics = measure(_sequences(seed, 3), threads=1)
        target = np.random.default_rng(seed).standard_normal((OUTPUTS, SIZE)).astype(np.float32)
        ratios.append(
            _error(target, statistics, held_out) / _error(target, replace(statistics, variance=0.0), held_out)
        )
    assert np.mean(ratios) < 0.98
    assert sum(ratio < 1 for ratio in ratios) >= 8


def test_it_is_ledoit_and_wolfs_with_sequences_as_samples():
    sequences = _sequences(1, 12)
    weights = [np.full(len(rows), 0.5 + 0.1 * place, np.float32) for place, rows in enumerate(sequences)]
    found = measure(sequences, threads=2, weights=weights)
    own = [(rows.T * weight) @ rows / len(rows) for rows, weight in zip(sequences, weights, strict=True)]
    shares = np.array([len(rows) for rows in sequences]) / sum(map(len, sequences))
    distances = [np.square(one - found.rows(), dtype=np.float64).sum() for one in own]
    variance = (shares**2 * distances).sum() * 12 / 11
    assert found.variance == pytest.approx(variance, rel=0.3)  # of 64 random directions
    away = found.rows() - np.eye(SIZE) * np.diagonal(found.rows()).mean()
    assert found.shrinkage == pytest.approx(found.variance / np.square(away).sum(), rel=1e-3)
    mean = np.diagonal(found.rows()).mean()
    wanted = (1 - found.shrinkage) * found.rows() + (found.shrinkage + 0.01) * mean * np.eye(SIZE)
    np.testing.assert_allclose(
        found.shrunk_product(np.eye(found.size, dtype=np.float32)), wanted, rtol=1e-4, atol=1e-5 * float(mean)
    )


def test_many_examples_are_taken_as_they_are_and_one_says_nothing_of_others():
    few, many = (measure(_sequences(3, count), threads=1) for count in (3, 300))
    assert few.shrinkage > 10 * many.shrinkage
    assert many.shrinkage < 0.05
    assert measure(_sequences(3, 1), threads=1).shrinkage == 0


def test_a_mixture_is_as_uncertain_as_its_parts():
    """Text with a thousand examples beside speech with three: what is known of either is not known of the other."""
    parts = [measure(_sequences(seed, count), threads=1) for seed, count in ((1, 3), (2, 300))]
    shares = [1 / (2 * np.diagonal(part.rows()).mean()) for part in parts]
    wanted = sum(part.variance * share**2 for part, share in zip(parts, shares, strict=True))
    assert mixed(parts).variance == pytest.approx(wanted, rel=1e-4)
