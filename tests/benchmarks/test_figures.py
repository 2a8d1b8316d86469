"""Figures: the statistics that people decide by."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi_bench.figures import Figure, percentile, ratios

SAMPLES = tuple(np.random.default_rng(0).exponential(1.0, 37).tolist())


@pytest.mark.parametrize("percent", [0, 1, 50, 90, 99, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 37])
def test_percentiles_are_numpys(percent: int, count: int) -> None:
    assert percentile(SAMPLES[:count], percent) == pytest.approx(np.percentile(SAMPLES[:count], percent), abs=1e-12)


def test_a_figures_statistics_are_numpys() -> None:
    figure = Figure(name="x", samples=SAMPLES)
    expected = (min(SAMPLES), np.median(SAMPLES), np.percentile(SAMPLES, 90), np.percentile(SAMPLES, 99))
    assert (figure.min, figure.median, figure.p90, figure.p99) == pytest.approx(expected)


@pytest.mark.parametrize("samples", [(), (float("nan"),), (1.0, float("inf"))])
def test_a_figure_without_usable_samples_is_refused(samples: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"samples|not a number"):
        Figure(name="x", samples=samples)


def test_ratios_pair_the_rounds_and_not_the_medians() -> None:
    # In the second round the machine was twice as slow for both: the ratio must not see it.
    ours = Figure(name="decode step", condition="c", samples=(1.0, 2.0), rounds=(1.0, 2.0))
    theirs = Figure(runner="peer", name="decode step", condition="c", samples=(3.0, 6.0), rounds=(3.0, 6.0))
    alone = Figure(runner="peer", name="prefill", condition="c", samples=(1.0,), rounds=(1.0,))
    (ratio,) = ratios((ours, theirs, alone))
    assert (ratio.peer, ratio.samples, ratio.median) == ("peer", (3.0, 3.0), 3.0)
