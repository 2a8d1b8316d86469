"""Two separately recorded reports: a slower machine must not pass for a slower program."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode
from edgephi_bench.comparison.reports import Comparison, compare_reports
from edgephi_bench.engines.fixed_logits import TOLERANCE, FixedLogits
from edgephi_bench.latency.report import BenchReport, GreedyOutput, Repeat
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.roofline import Roofline, RooflineRound
from support.reports import at_depth, report

CONDITION = at_depth(0)
NAMES = ("decode step", "prefill", "load, warm", "time to first token", "end to end")


def _recorded(
    random: np.random.Generator, *, slower: float = 0.0, machine: float = 1.0, noise: float = 0.01
) -> BenchReport:
    """A report as a machine gives it: processes favoured by `noise`, rounds that remember, now and then a stall."""

    def process() -> float:
        return float(machine * (1 + slower) * np.exp(noise * random.standard_normal()))

    def rounds(favour: float) -> tuple[float, ...]:
        steps = np.cumsum(0.003 * random.standard_normal(5)) + 0.005 * np.abs(random.standard_t(2, 5))
        return tuple((favour * np.exp(steps)).tolist())

    figures = []
    for name in NAMES:
        samples = rounds(process())
        figures.append(Figure(name=name, condition=CONDITION, samples=samples, rounds=samples))
    repeats = tuple(
        Repeat(mode="text", name=name, condition=CONDITION, processes=tuple(process() for _ in range(4)))
        for name in NAMES[:2]
    )
    speed = tuple(RooflineRound(bandwidth=1e10 / machine, mean_step_s=0.1) for _ in range(5))
    floor = Roofline(mode="text", condition=CONDITION, num_bytes=1e9, rounds=speed, best_bandwidth=2e10, median_s=0.1)
    return report(figures=tuple(figures), repeats=repeats, floors=(floor,))


def _compare(first: BenchReport, second: BenchReport) -> Comparison:
    return compare_reports(first, second, 0.03, TOLERANCE)


@pytest.mark.parametrize("noise", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("machine", [1.0, 1.3])
def test_the_same_program_recorded_twice_hardly_ever_fails(noise: float, machine: float) -> None:
    random = np.random.default_rng(7)
    failed = 0
    for _ in range(100):
        first, second = (_recorded(random, noise=noise, machine=speed) for speed in (1.0, machine))
        failed += bool(_compare(first, second).regressions)
    assert failed <= 5


def test_a_clear_slowdown_is_found_on_a_steady_machine() -> None:
    random = np.random.default_rng(3)
    found = sum(
        bool(_compare(_recorded(random, noise=0.005), _recorded(random, noise=0.005, slower=0.15)).regressions)
        for _ in range(50)
    )
    assert found >= 48


def test_a_machine_that_became_slower_is_noise_and_not_a_regression() -> None:
    random = np.random.default_rng(5)
    done = _compare(_recorded(random, noise=0.002), _recorded(random, noise=0.002, machine=1.4))
    assert {change.verdict for change in done.changes} == {"noise"}
    assert done.machine_change == pytest.approx(np.log(1.4), abs=1e-6)


def test_a_size_is_not_excused_by_a_slower_machine() -> None:
    random = np.random.default_rng(5)
    peak = Figure(name="peak resident size", condition=CONDITION, unit="bytes", samples=(1e9,))
    first, second = _recorded(random), _recorded(random, machine=1.4)
    first = dataclasses.replace(first, figures=(peak,))
    second = dataclasses.replace(second, figures=(dataclasses.replace(peak, samples=(1.1e9,)),))
    assert [change.verdict for change in _compare(first, second).changes] == ["larger"]


def test_a_rate_that_falls_is_shown_as_a_loss() -> None:
    rate = Figure(name="prefill", condition=CONDITION, unit="tokens/s", better="more", samples=(100.0, 100.0))
    slower = dataclasses.replace(rate, samples=(80.0, 80.0))
    (change,) = _compare(report(figures=(rate,)), report(figures=(slower,))).changes
    assert (change.before, change.after, change.loss) == (100.0, 80.0, pytest.approx(0.2))


def test_only_reports_of_one_model_can_answer_differently() -> None:
    first = report()
    other = GreedyOutput(sha256="ef" * 32, tokens=7)
    model = dataclasses.replace(first.model, manifest_sha256="12" * 32)
    assert _compare(first, report(output=other)).output_differs
    assert not _compare(first, report(output=other, model=model)).output_differs


def test_without_repetitions_no_time_can_be_compared_but_sizes_can() -> None:
    peak = Figure(name="peak resident size", condition=CONDITION, unit="bytes", samples=(1e9,))
    step = Figure(name="decode step", condition=CONDITION, samples=(0.1, 0.1, 0.1))
    first = report(figures=(peak, step), repeats=())
    larger = dataclasses.replace(peak, samples=(1.1e9,))
    done = _compare(first, report(figures=(larger, dataclasses.replace(step, samples=(0.2, 0.2, 0.2))), repeats=()))
    assert [change.verdict for change in done.changes] == ["larger", "noise"]
    assert done.aa_level is None
    nearly = dataclasses.replace(peak, samples=(1.004e9,))
    assert _compare(first, report(figures=(nearly, step), repeats=())).changes[0].verdict == "same"


def _logits(*values: float, mode: str = "vision", best: int = 3) -> FixedLogits:
    return FixedLogits(mode=mode, token_ids=tuple(range(len(values))), logits=values, deviation=2.0, best_id=best)


def test_rounding_is_no_difference_and_a_wrong_image_is() -> None:
    base, rounded = report(fixed=(_logits(1.0, 2.0),)), report(fixed=(_logits(1.01, 2.0),))
    wrong = report(fixed=(_logits(1.0, 4.0, best=1),))
    assert _compare(base, rounded).beyond_tolerance == ()
    assert [compare_reports(base, wrong, 0.03, most).beyond_tolerance == () for most in (1.0, 0.99)] == [True, False]
    (item,) = _compare(base, wrong).beyond_tolerance
    assert (item.mode, item.distance, item.same_token) == ("vision", 1.0, False)


def test_logits_of_other_ids_are_as_different_as_can_be() -> None:
    other = FixedLogits(mode="vision", token_ids=(0, 7), logits=(1.0, 2.0), deviation=2.0, best_id=0)
    (item,) = _compare(report(fixed=(_logits(1.0, 2.0),)), report(fixed=(other,))).outputs
    assert item.distance == float("inf")


@pytest.mark.parametrize(
    "content",
    [
        {"mode": "text", "token_ids": [1], "logits": [1.0, 2.0], "deviation": 1.0, "best_id": 0},
        {"mode": "text", "token_ids": [], "logits": [], "deviation": 1.0, "best_id": 0},
        {"mode": "text", "token_ids": [1], "logits": [1.0], "deviation": 0.0, "best_id": 0},
    ],
)
def test_logits_that_cannot_be_compared_are_refused_when_read(content: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="text"):
        decode(FixedLogits, content, "report")
