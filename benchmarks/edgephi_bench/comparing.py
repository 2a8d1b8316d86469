"""Two latency reports side by side: what became worse.

Owns the comparison of figures and when two reports may be compared. Knows nothing about files or exit codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgephi.errors import ConfigError
from edgephi_bench.figures import Unit
from edgephi_bench.latency_report import BenchReport

Verdict = Literal["worse", "better", "same", "fact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure that both reports have.

    Attributes:
        label: Runner, mode, name and condition.
        unit: Of both.
        before: Median of the first report.
        after: Median of the second.
        loss: By how much of `before` it became worse; negative where it became better.
        verdict: `same` within the limit; `fact` where neither direction is better, or where it is a peer's.
    """

    label: str
    unit: Unit
    before: float
    after: float
    loss: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes.

    Attributes:
        changes: In the order of the first report.
        only_before: Labels of figures that the second report lacks.
        only_after: Labels of figures that the first report lacks.
        output_differs: Whether both have a greedy output of the same model, and not the same.
    """

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    output_differs: bool

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What became worse than the limit allows."""
        return tuple(change for change in self.changes if change.verdict == "worse")


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
    )
    for what, first, second in pairs:
        if first != second:
            raise ConfigError(
                f"the reports are of different {what} ({first} and {second}); compare anyway with --force"
            )


def compare_reports(before: BenchReport, after: BenchReport, limit: float) -> Comparison:
    """Compare the medians of all figures that both have.

    Args:
        before: The first report.
        after: The second.
        limit: Share of `before` by which a figure may become worse.
    """
    old = {figure.key: figure for figure in before.figures}
    new = {figure.key: figure for figure in after.figures}
    changes = []
    for key, figure in old.items():
        if key not in new:
            continue
        first, second = figure.median, new[key].median
        loss = (second - first) / first if first else 0.0
        if figure.better == "more":
            loss = -loss
        changes.append(
            Change(
                label=_label(key),
                unit=figure.unit,
                before=first,
                after=second,
                loss=loss,
                verdict=_verdict(loss, limit) if figure.better and figure.runner == "edgephi" else "fact",
            )
        )
    outputs = (before.output, after.output)
    same_model = before.model.manifest_sha256 == after.model.manifest_sha256
    return Comparison(
        changes=tuple(changes),
        only_before=tuple(_label(key) for key in old if key not in new),
        only_after=tuple(_label(key) for key in new if key not in old),
        output_differs=same_model and None not in outputs and outputs[0] != outputs[1],
    )


def _verdict(loss: float, limit: float) -> Verdict:
    if loss > limit:
        return "worse"
    return "better" if loss < -limit else "same"


def _label(key: tuple[str, str, str, str]) -> str:
    return ", ".join(part for part in key if part)
