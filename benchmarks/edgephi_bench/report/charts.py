"""The plots of a latency report, each drawn for wide and for narrow screens."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi_bench.latency.report import BenchReport
from edgephi_bench.latency.stage_figures import STAGES, stage_name
from edgephi_bench.measure.condition import Condition, count_of_threads
from edgephi_bench.measure.measurement import DECODE_STEP, Figure, percentile
from edgephi_bench.measure.units import quantity
from edgephi_bench.report.chart_frame import LAYOUTS, Axis, Layout, Rows, bars
from edgephi_bench.report.curves import curves
from edgephi_bench.report.svg import Drawing
from edgephi_bench.report.tables import request_kinds

_OURS = "edgephi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The same drawing for every layout, with words around it."""

    title: str
    caption: str
    drawings: tuple[Drawing, ...]


def plots(report: BenchReport) -> tuple[Plot, ...]:
    """Every plot that the report has figures for."""
    found = [*(_waterfall(report, *kind) for kind in request_kinds(report)), _by_depth(report), _by_threads(report)]
    found.append(_distribution(report))
    return tuple(plot for plot in found if plot is not None)


def _waterfall(report: BenchReport, mode: str, condition: Condition) -> Plot | None:
    """Stages one after the other at their medians, from the request to the last token."""
    figures = {
        figure.name: figure
        for figure in report.figures
        if (figure.runner, figure.mode, figure.condition) == (_OURS, mode, condition)
    }
    rows = [(name, figures[stage_name(name)]) for name in STAGES.values() if stage_name(name) in figures]
    if not rows:
        return None
    total = sum(figure.median for _, figure in rows)
    return Plot(
        title=f"Stages of a {mode} request",
        caption=f"{condition}; medians of {len(rows[0][1].samples)} runs, {quantity(total, 's')} in all",
        drawings=tuple(_stages(layout, mode, rows, total) for layout in LAYOUTS),
    )


def _stages(layout: Layout, mode: str, rows: list[tuple[str, Figure]], total: float) -> Drawing:
    chart = Rows(layout, f"{mode}: stages of a request", len(rows), Axis(0.0, total, "s"))
    order = list(STAGES.values())  # a stage has one colour in every mode
    start = 0.0
    for number, (name, figure) in enumerate(rows):
        end, words = start + figure.median, quantity(figure.median, "s")
        tip = f"{name}: {words}, {figure.median / total:.0%} of the request"
        chart.name(number, name)
        chart.bar(number, (start, end), (f"fill s{order.index(name)}", tip), words)
        if number + 1 < len(rows) and not layout.above:  # a name above the next row would be crossed
            place = chart.across(end)
            chart.drawing.line((place, chart.top(number) + 23), (place, chart.top(number + 1) + 7), "guide")
        start = end
    return chart.drawing


def _steps(report: BenchReport) -> list[Figure]:
    return [figure for figure in report.figures if figure.name == DECODE_STEP]


def _distribution(report: BenchReport) -> Plot | None:
    """Every decode step as a dot, with median, p90 and p99."""
    figures = [figure for figure in _steps(report) if len(figure.samples) > 1]
    if not figures:
        return None
    return Plot(
        title="Latency of decode steps",
        caption="one dot per step; thick mark and number: median; thin marks: p90 from 10 steps on, p99 from 100",
        drawings=tuple(_dots(layout, figures) for layout in LAYOUTS),
    )


def _dots(layout: Layout, figures: list[Figure]) -> Drawing:
    high = max(percentile(figure.samples, 99) for figure in figures) * 1.05
    low = min(figure.min for figure in figures)
    low = low * 0.95 if low > high / 3 else 0.0  # an axis that starts at 0 unless that would squeeze everything
    chart = Rows(layout, "decode steps: distribution", len(figures), Axis(low, high, "s"), tall=True)
    runners = list(dict.fromkeys(figure.runner for figure in figures))
    for number, figure in enumerate(figures):
        chart.name(number, figure.runner, _where(figure))
        _row_of_dots(chart, number, figure, f"s{runners.index(figure.runner)}")
    return chart.drawing


def _row_of_dots(chart: Rows, number: int, figure: Figure, colour: str) -> None:
    drawing, end, y = chart.drawing, chart.layout.end, chart.top(number) + 20
    for index, sample in enumerate(figure.samples):
        if sample <= chart.across.high:
            drawing.dot(chart.across(sample), y + ((index * 7) % 11 - 5) * 1.3, 2.4, f"fill {colour} faint")
    for value, kind in ((figure.median, "mark"), (figure.p90, "mark thin"), (figure.p99, "mark thin")):
        if value is not None:
            drawing.line((chart.across(value), y - 11), (chart.across(value), y + 11), kind)
    drawing.text(end + 8, y + 5, quantity(figure.median, "s"), "value")
    if outside := sum(sample > chart.across.high for sample in figure.samples):
        drawing.text(end - 2, y - 6, f"+{outside} slower", "tick", anchor="end")


def _where(figure: Figure) -> str:
    return str(figure.condition) if figure.mode == "text" else f"{figure.condition}, {figure.mode} adapter"


def _by_threads(report: BenchReport) -> Plot | None:
    """Decode speed for each number of threads."""
    found: dict[int, Figure] = {}
    for figure in _steps(report):
        threads = figure.condition.threads
        if figure.runner == _OURS and figure.mode == "text" and threads:
            found.setdefault(threads, figure)  # the smallest depth comes first
    if len(found) < 2:
        return None
    rows = [(count_of_threads(count), 1 / found[count].median, "s0") for count in sorted(found)]
    depth = next(iter(found.values())).condition.depth
    return Plot(
        title="Decode against threads",
        caption=f"tokens per second at the median step, depth {depth}",
        drawings=tuple(bars(layout, "decode against threads", rows) for layout in LAYOUTS),
    )


def _by_depth(report: BenchReport) -> Plot | None:
    """Decode speed against cached positions: every runner, and the floor's ceiling."""
    found: dict[str, dict[int, float]] = {}  # where several numbers of new tokens were measured, of the first
    for figure in _steps(report):
        if figure.mode == "text" and figure.condition.threads == report.threads:
            found.setdefault(figure.runner, {}).setdefault(figure.condition.depth or 0, 1 / figure.median)
    lines = {runner: list(points.items()) for runner, points in found.items()}
    floors: dict[int, float] = {}
    for floor in report.floors:
        if floor.mode == "text" and floor.condition.threads == report.threads:
            floors.setdefault(floor.condition.depth or 0, 1 / floor.floor_s)
    ceiling = sorted(floors.items())
    if not lines:
        return None
    caption = "tokens per second at the median step"
    if len({depth for points in lines.values() for depth, _ in points}) == 1:
        rows = [(runner, points[0][1], f"s{number}") for number, (runner, points) in enumerate(lines.items())]
        rows += [("memory allows", ceiling[0][1], "none")] * bool(ceiling)
        depth = next(iter(lines.values()))[0][0]
        drawings = tuple(bars(layout, "decode speed", rows) for layout in LAYOUTS)
        return Plot(title="Decode", caption=f"{caption}, {depth} tokens cached", drawings=drawings)
    if ceiling:
        caption += "; dashed: what the memory's speed allows"
    drawings = tuple(curves(layout, lines, ceiling) for layout in LAYOUTS)
    return Plot(title="Decode against context", caption=caption, drawings=drawings)
