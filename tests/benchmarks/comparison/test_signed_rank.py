"""The statistics behind verdicts: published tables, and error rates that are what they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgephi_bench.comparison.signed_rank import Estimate, signed_rank
from edgephi_bench.comparison.student_t import quantile, two_sided
from edgephi_bench.comparison.verdicts import ALPHA, Rule, holm, loss, verdict


@pytest.mark.parametrize(
    ("alpha", "freedom", "value"),
    [
        (0.05, 1, 12.706), (0.05, 2, 4.303), (0.01, 3, 5.841), (0.001, 5, 6.869), (0.05, 8, 2.306), (0.01, 30, 2.750),
        (0.05, 10_000, 1.960),
    ],
)  # fmt: skip
def test_students_distances_are_those_of_the_tables(alpha: float, freedom: int, value: float) -> None:
    assert quantile(alpha, freedom) == pytest.approx(value, abs=6e-4)
    assert two_sided(-value, freedom) == pytest.approx(alpha, rel=1e-3)


def test_no_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="0"):
        two_sided(1.0, 0)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_probability_of_signed_ranks_is_that_of_all_signs(count: int) -> None:
    given = np.random.default_rng(count).normal(0.3, 1, count)
    ranks = np.argsort(np.argsort(np.abs(given))) + 1
    seen = ranks[given > 0].sum()
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=count)
    ]
    middle = ranks.sum() / 2
    far = sum(abs(total - middle) >= abs(seen - middle) for total in sums)
    assert signed_rank(given.tolist(), 0.05).p == pytest.approx(min(1.0, far / len(sums)))


@pytest.mark.parametrize(("count", "outside"), [(6, 0), (8, 3), (10, 8), (20, 52)])
def test_intervals_leave_out_as_many_means_as_wilcoxons_table_says(count: int, outside: int) -> None:
    given = np.random.default_rng(count).normal(0, 1, count).tolist()
    means = sorted((a + b) / 2 for i, a in enumerate(given) for b in given[i:])
    found = signed_rank(given, 0.05)
    assert (found.low, found.high) == (means[outside], means[-1 - outside])


def test_five_pairs_bound_nothing_at_five_percent() -> None:
    found = signed_rank([1.0, 2.0, 3.0, 4.0, 5.0], 0.05)
    assert (found.low, found.high) == (None, None)
    assert found.p == pytest.approx(2 / 32)
    assert signed_rank([0.0, 0.0], 0.05).p == 1.0


def test_holm_corrects_as_in_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def _estimate(value: float, reach: float, p: float = 0.001) -> Estimate:
    return Estimate(value=value, low=value - reach, high=value + reach, p=p)


@pytest.mark.parametrize(
    ("value", "reach", "p", "unit", "expected"),
    [
        (0.05, 0.01, 0.001, "s", "slower"), (-0.05, 0.01, 0.001, "s", "faster"), (0.05, 0.01, 0.001, "bytes", "larger"),
        (-0.2, 0.01, 0.001, "J", "smaller"), (0.01, 0.01, 0.001, "s", "same"), (0.0, 0.02, 0.9, "s", "same"),
        (0.05, 0.06, 0.2, "s", "noise"), (0.05, 0.01, ALPHA, "s", "slower"), (-0.02, 0.02, 0.2, "s", "noise"),
        (0.02, 0.02, 0.2, "s", "noise"), (0.0, 0.06, 0.9, "s", "noise"), (0.02, 0.02, 0.01, "s", "noise"),
    ],
)  # fmt: skip
def test_a_change_must_be_certain_and_large_and_sameness_must_be_shown(
    value: float, reach: float, p: float, unit: str, expected: str
) -> None:
    assert verdict(_estimate(value, reach), p, Rule(), unit) == expected  # type: ignore[arg-type]


def test_what_the_machine_explains_is_no_change_of_the_program() -> None:
    estimate = Estimate(value=0.25, low=0.01, high=0.49, p=0.001)
    assert verdict(estimate, 0.001, Rule(allowance=0.24), "s") == "noise"
    assert verdict(estimate, 0.001, Rule(allowance=0.2), "s") == "slower"


def test_nothing_is_the_same_without_bounds() -> None:
    assert verdict(Estimate(value=0.0, low=None, high=None, p=1.0), 1.0, Rule(), "s") == "noise"


def test_a_rate_that_falls_is_a_loss() -> None:
    assert loss(10.0, 5.0, "more") == pytest.approx(math.log(2)) == loss(5.0, 10.0, "less")
