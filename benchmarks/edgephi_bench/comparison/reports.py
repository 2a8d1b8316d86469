"""Two latency reports side by side: what changed, and what is undecided.

Two files were recorded at different times, so a slower machine looks like a slower program. What a report knows of
that widens every interval: how far repetitions of the same figure by new processes lay apart (its A/A level), and by
how much memory was read faster or slower in one report than in the other. `edgephi bench compare` of two model folders
takes turns instead and needs no such allowance.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from edgephi.base.errors import ConfigError
from edgephi_bench.comparison.signed_rank import Estimate
from edgephi_bench.comparison.student_t import quantile, two_sided
from edgephi_bench.comparison.verdicts import ALPHA, WORSE, Rule, Verdict, holm, loss, verdict
from edgephi_bench.engines.fixed_logits import Difference, differences
from edgephi_bench.latency.report import BenchReport
from edgephi_bench.measure.measurement import Figure, FigureKey, Unit

#: How far apart two processes' peak sizes may lie, as a deviation; nothing measures it.
_SIZE_DEVIATION = 0.005
_SIZE_FREEDOM = 30
_LEAST_SAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure that both reports have.

    Attributes:
        label: Runner, mode, name and condition.
        unit: Of both.
        before: Median of the first report.
        after: Median of the second.
        loss: By how much of `before` it became worse; negative where it became better.
        low: Lower end of the loss's interval; None where nothing bounds it.
        high: Upper end, alike.
        p: Probability of such a change where there is none, corrected for the number of figures; None for facts.
        verdict: See `verdicts.py`; `fact` where neither direction is better, or where it is a peer's.
    """

    label: str
    unit: Unit
    before: float
    after: float
    loss: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes.

    Attributes:
        changes: In the order of the first report.
        only_before: Labels of figures that the second report lacks.
        only_after: Labels of figures that the first report lacks.
        output_differs: Whether both have a greedy output of the same model, and not the same.
        outputs: How far the logits of the fixed requests lie apart, for reports of the same model.
        tolerance: What they may lie apart.
        aa_level: Deviation between processes of the same program that the reports recorded; None where they did not.
        machine_change: How much faster or slower memory was read in one of them; None where it is not known.
    """

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    output_differs: bool
    outputs: tuple[Difference, ...]
    tolerance: float
    aa_level: float | None
    machine_change: float | None

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes for the worse."""
        return tuple(change for change in self.changes if change.verdict in WORSE)

    @property
    def beyond_tolerance(self) -> tuple[Difference, ...]:
        """Modes whose logits are not the same any more."""
        return tuple(item for item in self.outputs if item.distance > self.tolerance)


def check_comparable(before: BenchReport, after: BenchReport) -> None:
    """Refuse reports whose difference would say nothing about the program.

    Raises:
        ConfigError: They are of different models or machines. The message has both.
    """
    pairs = (
        ("models", before.model.manifest_sha256[:12], after.model.manifest_sha256[:12]),
        ("processors", before.environment.cpu, after.environment.cpu),
        ("numbers of hardware threads", before.environment.cores, after.environment.cores),
        ("instruction sets", before.environment.instruction_sets, after.environment.instruction_sets),
        ("thread counts", before.threads, after.threads),
        ("kinds of cache", before.kv_cache, after.kv_cache),
        ("devices", before.device, after.device),
    )
    for what, first, second in pairs:
        if first != second:
            raise ConfigError(
                f"the reports are of different {what} ({first} and {second}); compare anyway with --force"
            )


def compare_reports(before: BenchReport, after: BenchReport, threshold: float, tolerance: float) -> Comparison:
    """Compare all figures that both have.

    Args:
        before: The first report.
        after: The second.
        threshold: The smallest change that matters, as a share.
        tolerance: How far the fixed requests' logits may lie apart, in deviations of a logit.
    """
    old = {figure.key: figure for figure in before.figures}
    new = {figure.key: figure for figure in after.figures}
    both = [(figure, new[key]) for key, figure in old.items() if key in new]
    judged = [(first, second) for first, second in both if _is_judged(first, second)]
    noise = _Noise(before, after)
    alpha = ALPHA / max(len(judged), 1)
    estimates = [noise.estimate(first, second, alpha) for first, second in judged]
    corrected = holm([estimate.p for estimate in estimates])
    found = {first.key: (estimate, p) for (first, _), estimate, p in zip(judged, estimates, corrected, strict=True)}
    same_model = before.model.manifest_sha256 == after.model.manifest_sha256
    outputs = (before.output, after.output)
    return Comparison(
        changes=tuple(
            _change(first, second, found.get(first.key), noise.rule(first, threshold)) for first, second in both
        ),
        only_before=tuple(_label(key) for key in old if key not in new),
        only_after=tuple(_label(key) for key in new if key not in old),
        output_differs=same_model and None not in outputs and outputs[0] != outputs[1],
        outputs=differences(before.fixed, after.fixed) if same_model else (),
        tolerance=tolerance,
        aa_level=noise.level,
        machine_change=noise.machine_change,
    )


def _is_judged(first: Figure, second: Figure) -> bool:
    return bool(first.better) and first.runner == "edgephi" and min(*first.samples, *second.samples) > 0


def _change(first: Figure, second: Figure, found: tuple[Estimate, float] | None, rule: Rule) -> Change:
    before, after = first.median, second.median
    share = (after - before) / before if before else 0.0
    low = high = p = None
    ruling: Verdict = "fact"
    if found:
        estimate, p = found
        low, high = (None if end is None else math.expm1(end) for end in (estimate.low, estimate.high))
        ruling = verdict(estimate, p, rule, first.unit)
    return Change(
        label=_label(first.key),
        unit=first.unit,
        before=before,
        after=after,
        loss=-share if first.better == "more" else share,
        low=low,
        high=high,
        p=p,
        verdict=ruling,
    )


class _Noise:
    """The changes that two reports show and that are not the program's."""

    def __init__(self, before: BenchReport, after: BenchReport) -> None:
        values = [group for report in (before, after) for group in _repeated(report)]
        self._freedom = sum(len(group) - 1 for group in values)
        self.level = (
            math.sqrt(sum(statistics.variance(group) * (len(group) - 1) for group in values) / self._freedom)
            if self._freedom
            else None
        )
        speeds = [_memory_speed(report) for report in (before, after)]
        first, second = speeds
        self.machine_change = abs(math.log(second / first)) if first and second else None

    def rule(self, figure: Figure, threshold: float) -> Rule:
        """The rule for what counts as a change of a figure."""
        return Rule(threshold=threshold, allowance=self._allowance(figure))

    def _allowance(self, figure: Figure) -> float:
        """Sizes do not depend on the machine's speed."""
        return 0.0 if figure.unit == "bytes" else self.machine_change or 0.0

    def estimate(self, first: Figure, second: Figure, alpha: float) -> Estimate:
        """Of the logarithm of the ratio, above 0 where the second is worse."""
        value, allowance = loss(first.median, second.median, first.better), self._allowance(first)
        if first.unit == "bytes":
            error, freedom = _SIZE_DEVIATION * math.sqrt(2), _SIZE_FREEDOM
        elif self.level is None:
            return Estimate(value=value, low=None, high=None, p=1.0)
        else:
            error, freedom = _error([(2 * self.level**2, self._freedom), _spread(first), _spread(second)])
        if not error:
            return Estimate(value=value, low=value - allowance, high=value + allowance, p=0.0 if value else 1.0)
        reach = quantile(alpha, freedom) * error + allowance
        p = two_sided(max(abs(value) - allowance, 0.0) / error, freedom)
        return Estimate(value=value, low=value - reach, high=value + reach, p=p)


def _repeated(report: BenchReport) -> list[list[float]]:
    """Logarithms of what each process found, for every figure that several have measured."""
    groups = [[math.log(value) for value in item.processes] for item in report.repeats]
    return [group for group in groups if len(group) > 1]


def _memory_speed(report: BenchReport) -> float | None:
    speeds = [item.bandwidth for floor in report.floors for item in floor.rounds]
    return statistics.median(speeds) if speeds else None


def _spread(figure: Figure) -> tuple[float, int]:
    """Squared error of the figure's median by its own rounds' spread, and degrees of freedom; nothing for too few."""
    values = [math.log(value) for value in (figure.round_medians or figure.samples)]
    if len(values) < _LEAST_SAMPLES:
        return 0.0, 1
    # A median of a few values errs by a quarter more than their mean.
    return statistics.variance(values) / len(values) * math.pi / 2, len(values) - 1


def _error(parts: list[tuple[float, int]]) -> tuple[float, int]:
    """The whole error, and degrees of freedom after Welch and Satterthwaite."""
    total = sum(square for square, _ in parts)
    below = sum(square**2 / freedom for square, freedom in parts)
    return math.sqrt(total), max(1, math.floor(total**2 / below)) if below else 1


def _label(key: FigureKey) -> str:
    return ", ".join(part for part in map(str, key) if part)
