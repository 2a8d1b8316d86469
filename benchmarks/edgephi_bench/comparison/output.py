"""Comparisons as tables and as JSON, and the words for what makes them fail."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Any

from edgephi_bench.comparison.paired import PairedComparison
from edgephi_bench.comparison.reports import Comparison
from edgephi_bench.engines.fixed_logits import Difference
from edgephi_bench.measure.units import quantity

_PIPE_WIDTH = 140
_WIDE = 10.0  # an interval up to ten times as long says nothing more by its digits
_ENDED = {
    "decided": "every figure is decided",
    "pairs": "the most pairs that --runs allows",
    "time": "no more time by --max-time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """Two model folders compared.

    Attributes:
        before: The first's name.
        after: The second's.
        compared: Their times.
        outputs: How far their logits lie apart.
        tolerance: What they may; None where they are different models, whose logits differ rightly.
        note: Why there are no outputs; may be empty.
    """

    before: str
    after: str
    compared: PairedComparison
    outputs: tuple[Difference, ...]
    tolerance: float | None
    note: str

    @property
    def problems(self) -> list[str]:
        """The reasons why the comparison fails, a few words each."""
        slower = [
            f"{figure.name}, {figure.condition} became slower by {figure.loss:.1%}"
            for figure in self.compared.regressions
        ]
        return slower + _output_problems(self.outputs, self.tolerance)


def paired_json(result: PairedResult) -> dict[str, Any]:
    """As JSON values."""
    content = dataclasses.asdict(result)
    for figure, written in zip(result.compared.figures, content["compared"]["figures"], strict=True):
        written |= {"condition": str(figure.condition), "setting": figure.condition.values}
    return content | {"outputs": _outputs_json(result.outputs), "failed": result.problems}


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """As JSON values."""
    content = dataclasses.asdict(comparison)
    return content | {"outputs": _outputs_json(comparison.outputs), "failed": file_problems(comparison)}


def _outputs_json(outputs: tuple[Difference, ...]) -> list[dict[str, Any]]:
    """JSON has no infinity."""
    return [
        dataclasses.asdict(item) | {"distance": item.distance if math.isfinite(item.distance) else None}
        for item in outputs
    ]


def file_problems(comparison: Comparison) -> list[str]:
    """The reasons why a comparison of reports fails, a few words each."""
    problems = [f"{change.label} became worse by {change.loss:.1%}" for change in comparison.regressions]
    problems += _output_problems(comparison.outputs, comparison.tolerance)
    if comparison.output_differs and not comparison.outputs:  # older reports have nothing finer
        problems.append("the greedy output is not the same")
    return problems


def _output_problems(outputs: tuple[Difference, ...], tolerance: float | None) -> list[str]:
    if tolerance is None:
        return []
    return [
        f"logits of the {item.mode} request differ by {item.distance:.3g} deviations, more than {tolerance:g}"
        for item in outputs
        if item.distance > tolerance
    ]


def print_paired(result: PairedResult) -> None:
    """The table and what lies behind it, on stdout."""
    compared = result.compared
    rows: list[tuple[str, ...]] = [
        (
            f"{figure.name}, {figure.condition}",
            quantity(figure.before, "s"),
            quantity(figure.after, "s"),
            f"{figure.loss:+.1%}",
            _interval(figure.low, figure.high),
            figure.verdict,
        )
        for figure in compared.figures
    ]
    _print_table(rows)
    print(
        f"{compared.num_pairs} pairs of new processes in {compared.seconds:.0f} s ({_ENDED[compared.ended]}); a change "
        f"counts from {compared.threshold:.3g} on"
    )
    for line in _output_lines(result.outputs):
        print(line)
    if result.note:
        print(result.note)
    if any(figure.verdict == "noise" for figure in compared.figures):
        print("noise: these pairs decide nothing; allow more with --runs and --max-time, or quiet the machine")


def print_comparison(comparison: Comparison) -> None:
    """The table and what lies behind it, on stdout."""
    rows: list[tuple[str, ...]] = []
    for change in comparison.changes:
        difference = (change.after - change.before) / change.before if change.before else 0.0
        ruling = "" if change.verdict == "fact" else change.verdict
        cells = (quantity(change.before, change.unit), quantity(change.after, change.unit), f"{difference:+.1%}")
        rows.append((change.label, *cells, _interval(change.low, change.high) if ruling else "", ruling))
    _print_table(rows)
    for label in comparison.only_before:
        print(f"only before: {label}")
    for label in comparison.only_after:
        print(f"only after: {label}")
    for line in (*_output_lines(comparison.outputs), *_noise_lines(comparison)):
        print(line)


def _noise_lines(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.aa_level is None:
        lines.append(
            "no A/A level: neither report has repetitions by new processes (made by versions before 3, or without "
            "`repeat` in --only), so no time can be distinguished from noise"
        )
    else:
        lines.append(f"A/A level: processes of the same program differed by a deviation of {comparison.aa_level:.1%}")
    if comparison.machine_change:
        change = f"{comparison.machine_change:.1%}"
        lines.append(f"memory was read {change} faster or slower in one of them; intervals allow for it")
    if any(change.verdict == "noise" for change in comparison.changes):
        lines.append(
            "noise: these reports cannot decide; two model folders can: edgephi bench compare MODEL MODEL "
            "[--against-python PROGRAM]"
        )
    return lines


def _output_lines(outputs: tuple[Difference, ...]) -> list[str]:
    if not outputs:
        return []
    words = ", ".join(f"{item.mode} {item.distance:.2g}" for item in outputs)
    return [f"logits of fixed requests, largest difference in deviations: {words}"]


def _interval(low: float | None, high: float | None) -> str:
    """Of the loss, below 0 where the second may be better."""
    if low is None or high is None:
        return "unknown"
    return "unknown (very wide)" if high > _WIDE else f"{low:+.1%} to {high:+.1%}"


def _print_table(rows: list[tuple[str, ...]]) -> None:
    from rich import box  # noqa: PLC0415 - keeps --help fast
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    for name in ("before", "after", "change", "worse by", ""):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
