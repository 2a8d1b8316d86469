"""Figures: the statistics that people decide by."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure, percentile, ratios

ANY = Condition(kind="decode")
SAMPLES = tuple(np.random.default_rng(0).exponential(1.0, 37).tolist())


@pytest.mark.parametrize("percent", [0, 1, 50, 90, 99, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 37])
def test_percentiles_are_numpys(percent: int, count: int) -> None:
    assert percentile(SAMPLES[:count], percent) == pytest.approx(np.percentile(SAMPLES[:count], percent), abs=1e-12)


def test_a_figures_statistics_are_numpys() -> None:
    figure = Figure(name="x", condition=ANY, samples=SAMPLES)
    expected = (min(SAMPLES), np.median(SAMPLES), np.percentile(SAMPLES, 90), np.mean(SAMPLES), np.std(SAMPLES, ddof=1))
    assert (figure.min, figure.median, figure.p90, figure.mean, figure.sd) == pytest.approx(expected)
    many = Figure(name="x", condition=ANY, samples=SAMPLES * 3)
    assert many.p99 == pytest.approx(np.percentile(SAMPLES * 3, 99))


@pytest.mark.parametrize(
    ("count", "p90", "p99"),
    [(1, False, False), (9, False, False), (10, True, False), (99, True, False), (100, True, True)],
)
def test_few_samples_have_no_high_percentiles(count: int, p90: bool, p99: bool) -> None:
    figure = Figure(name="x", condition=ANY, samples=tuple(float(i) for i in range(count)))
    assert ((figure.p90 is not None), (figure.p99 is not None), (figure.sd is not None)) == (p90, p99, count > 1)


@pytest.mark.parametrize("samples", [(), (float("nan"),), (1.0, float("inf"))])
def test_a_figure_without_usable_samples_is_refused(samples: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"samples|not a number"):
        Figure(name="x", condition=ANY, samples=samples)


def _measured(runner: str, rounds: list[list[float]], name: str = "decode step") -> Figure:
    return Figure(
        runner=runner,
        name=name,
        condition=ANY,
        samples=tuple(sample for samples in rounds for sample in samples),
        rounds=tuple(float(np.mean(samples)) for samples in rounds),
    )


def test_ratios_pair_the_rounds_and_not_the_medians() -> None:
    # In the second round the machine was twice as slow for both: the ratio must not see it.
    ours, theirs = _measured("edgephi", [[1.0], [2.0]]), _measured("peer", [[3.0], [6.0]])
    (ratio,) = ratios((ours, theirs, _measured("peer", [[1.0]], "prefill")))
    assert (ratio.peer, ratio.of, ratio.samples, ratio.median) == ("peer", "medians", (3.0, 3.0), 3.0)


def test_one_stalled_step_moves_the_ratio_of_means_and_not_that_of_medians() -> None:
    ours = _measured("edgephi", [[1.0, 1.0, 1.0, 1.0, 6.0]])
    medians, means = ratios((ours, _measured("peer", [[2.0] * 5])))
    assert (medians.of, medians.samples) == ("medians", (2.0,))
    assert (means.of, means.samples) == ("means", (1.0,))


def test_a_peer_that_reports_only_means_is_compared_by_means_alone() -> None:
    # Our median against its mean would forgive our stalls and not its own.
    ours = _measured("edgephi", [[1.0, 1.0, 4.0], [1.0, 1.0, 1.0]])
    (ratio,) = ratios((ours, _measured("llama.cpp", [[2.0], [2.0]])))
    assert (ratio.of, ratio.samples) == ("means", (1.0, 2.0))


def test_rounds_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many"):
        Figure(name="x", condition=ANY, samples=(1.0, 2.0, 3.0), rounds=(1.0, 2.0))
