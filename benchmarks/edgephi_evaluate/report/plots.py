"""Intervals as lines with a dot, and what was published as a mark, for wide and narrow screens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgephi_bench.measure.units import quantity
from edgephi_bench.report.chart_frame import LAYOUTS, Axis, Layout, Rows
from edgephi_bench.report.charts import Plot
from edgephi_bench.report.svg import Drawing
from edgephi_evaluate.report.runs import RunReport
from edgephi_evaluate.statistics.summary import PartSummary

_LATENCY = ("latency_p50_s", "latency_p95_s")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    run: int
    figure: PartSummary


def plots(reports: Sequence[RunReport]) -> tuple[Plot, ...]:
    """One of each suite's figures, and one of latencies."""
    names = dict.fromkeys(one.suite for report in reports for one in report.summaries)
    return (*(_figures(reports, name) for name in names), *_latencies(reports))


def _figures(reports: Sequence[RunReport], suite: str) -> Plot:
    rows = list(_rows(reports, suite))
    metric = next(one.metric for report in reports for one in report.summaries if one.suite == suite)
    return Plot(
        title=suite,
        caption=f"{metric}; line: 95 % interval; dot and number: measured; mark: published",
        drawings=tuple(_intervals(layout, suite, rows) for layout in LAYOUTS),
    )


def _rows(reports: Sequence[RunReport], suite: str) -> Iterator[_Row]:
    for number, report in enumerate(reports):
        prefix = f"{report.name}: " if len(reports) > 1 else ""
        for one in report.summaries:
            if one.suite == suite:
                yield _Row(f"{prefix}all", number, one.whole)
                yield from (_Row(f"{prefix}{part.part or '-'}", number, part) for part in one.parts)


def _intervals(layout: Layout, label: str, rows: list[_Row]) -> Drawing:
    ends = [end for row in rows for end in _ends(row.figure)]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.08 or 1.0
    chart = Rows(layout, f"{label}: figures with intervals", len(rows), Axis(max(low - margin, 0.0), high + margin))
    for number, row in enumerate(rows):
        chart.name(number, row.name)
        _interval(chart, number, row)
    return chart.drawing


def _ends(figure: PartSummary) -> Iterator[float]:
    one = figure.estimate
    yield one.value
    yield from (end for end in (one.low, one.high) if end is not None)
    if figure.published is not None:
        yield figure.published.value


def _interval(chart: Rows, number: int, row: _Row) -> None:
    drawing, one = chart.drawing, row.figure.estimate
    y = chart.top(number) + 11
    colour = f"s{row.run % 5}"
    if one.low is not None and one.high is not None:
        drawing.line((chart.across(one.low), y), (chart.across(one.high), y), f"stroke {colour}")
    drawing.dot(chart.across(one.value), y, 4.5, f"fill {colour}")
    if row.figure.published is not None:
        place = chart.across(row.figure.published.value)
        drawing.line((place, y - 8), (place, y + 8), "mark")
    drawing.text(chart.layout.end + 8, y + 5, f"{one.value:.2f}", "value")


def _latencies(reports: Sequence[RunReport]) -> Iterator[Plot]:
    rows = [
        (f"{report.name}: {one.suite}", one.speed.latency_p50_s, one.speed.latency_p95_s, number)
        for number, report in enumerate(reports)
        for one in report.summaries
    ]
    known = [(name, half, most, number) for name, half, most, number in rows if half is not None and most is not None]
    if known:
        yield Plot(
            title="Latency of an item",
            caption="bar: the median; line: up to the 95th percentile; preprocessing included",
            drawings=tuple(_bars(layout, known) for layout in LAYOUTS),
        )


def _bars(layout: Layout, rows: list[tuple[str, float, float, int]]) -> Drawing:
    chart = Rows(layout, "latency of an item", len(rows), Axis(0.0, max(most for _, _, most, _ in rows), "s"))
    for number, (name, half, most, run) in enumerate(rows):
        chart.name(number, name)
        words = f"{quantity(half, 's')}, p95 {quantity(most, 's')}"
        chart.bar(number, (0.0, half), (f"fill s{run % 5}", f"{name}: {words}"), "")
        y = chart.top(number) + 15 - (4 if layout.above else 0)
        chart.drawing.line((chart.across(half), y), (chart.across(most), y), f"stroke s{run % 5}")
        chart.drawing.text(chart.layout.end + 8, y + 5, quantity(half, "s"), "value")
    return chart.drawing
