"""The plots of a latency report.

Owns what each plot shows and where on it. Knows nothing about markup or the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgephi_bench.figures import Figure, percentile
from edgephi_bench.latency_report import BenchReport
from edgephi_bench.rows import request_kinds
from edgephi_bench.stage_figures import STAGES
from edgephi_bench.svg import Drawing, Scale, ticks
from edgephi_bench.words import quantity

_WIDTH = 1000.0
_LEFT, _RIGHT = 235.0, 90.0
_ROW, _TALL_ROW, _BAR = 30.0, 40.0, 16.0
_TOP, _BOTTOM = 14.0, 40.0
_OURS = "edgephi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing with words around it."""

    title: str
    caption: str
    drawing: Drawing


def plots(report: BenchReport) -> tuple[Plot, ...]:
    """Every plot that the report has figures for."""
    found = [*(_waterfall(report, *kind) for kind in request_kinds(report)), _by_depth(report), _by_threads(report)]
    found.append(_distribution(report))
    return tuple(plot for plot in found if plot is not None)


def _waterfall(report: BenchReport, mode: str, condition: str) -> Plot | None:
    """Stages one after the other at their medians, from the request to the last token."""
    figures = {
        figure.name.removeprefix("stage: "): figure
        for figure in report.figures
        if (figure.runner, figure.mode, figure.condition) == (_OURS, mode, condition)
        and figure.name.startswith("stage: ")
    }
    rows = [(name, figures[name]) for name in STAGES.values() if name in figures]
    if not rows:
        return None
    total = sum(figure.median for _, figure in rows)
    drawing, across = _frame(f"{mode}: stages of a request", len(rows), (0.0, total), "s")
    order = list(STAGES.values())  # a stage has one colour in every mode
    start = 0.0
    for number, (name, figure) in enumerate(rows):
        y = _TOP + number * _ROW
        end = start + figure.median
        drawing.text(_LEFT - 12, y + 20, name, "label", anchor="end")
        tip = f"{name}: {quantity(figure.median, 's')}, {figure.median / total:.0%} of the request"
        drawing.bar((across(start), y + 7), (across(end) - across(start), _BAR), f"fill s{order.index(name)}", tip)
        if number + 1 < len(rows):
            drawing.line((across(end), y + 7 + _BAR), (across(end), y + 7 + _ROW), "guide")
        drawing.text(across(end) + 8, y + 20, quantity(figure.median, "s"), "value")
        start = end
    return Plot(
        title=f"Stages of a {mode} request",
        caption=f"{condition}; medians of {len(rows[0][1].samples)} runs, {quantity(total, 's')} in all",
        drawing=drawing,
    )


def _frame(label: str, num_rows: int, span: tuple[float, float], unit: str, row: float = _ROW) -> tuple[Drawing, Scale]:
    """A drawing with so many rows over an axis, and the axis' scale."""
    bottom = _TOP + num_rows * row + 6
    drawing = Drawing(_WIDTH, bottom + _BOTTOM - 10, label)
    across = Scale(*span, _LEFT, _WIDTH - _RIGHT)
    for tick in ticks(*span):
        drawing.line((across(tick), _TOP), (across(tick), bottom), "grid")
        words = quantity(tick, "s") if unit == "s" else f"{tick:,g}"
        drawing.text(across(tick), bottom + 18, "0" if tick == 0 else words, "tick", anchor="middle")
    drawing.line((_LEFT, bottom), (_WIDTH - _RIGHT, bottom), "axis")
    return drawing, across


def _steps(report: BenchReport) -> list[Figure]:
    return [figure for figure in report.figures if figure.name == "decode step"]


def _distribution(report: BenchReport) -> Plot | None:
    """Every decode step as a dot, with median, p90 and p99."""
    figures = [figure for figure in _steps(report) if len(figure.samples) > 1]
    if not figures:
        return None
    high = max(percentile(figure.samples, 99) for figure in figures) * 1.05
    low = min(figure.min for figure in figures)
    low = low * 0.95 if low > high / 3 else 0.0  # an axis that starts at 0 unless that would squeeze everything
    drawing, across = _frame("decode steps: distribution", len(figures), (low, high), "s", _TALL_ROW)
    runners = list(dict.fromkeys(figure.runner for figure in figures))
    for number, figure in enumerate(figures):
        y = _TOP + number * _TALL_ROW + _TALL_ROW / 2
        colour = f"s{runners.index(figure.runner)}"
        drawing.text(_LEFT - 12, y - 1, figure.runner, "label", anchor="end")
        drawing.text(_LEFT - 12, y + 13, _where(figure), "tick", anchor="end")
        for index, sample in enumerate(figure.samples):
            if sample <= high:
                drawing.dot(across(sample), y + ((index * 7) % 11 - 5) * 1.3, 2.4, f"fill {colour} faint")
        for value, kind in ((figure.median, "mark"), (figure.p90, "mark thin"), (figure.p99, "mark thin")):
            if value is None:
                continue
            place = across(value)
            drawing.line((place, y - 11), (place, y + 11), kind)
        drawing.text(_WIDTH - _RIGHT + 10, y + 5, quantity(figure.median, "s"), "value")
        if outside := sum(sample > high for sample in figure.samples):
            drawing.text(_WIDTH - _RIGHT - 2, y - 6, f"+{outside} slower", "tick", anchor="end")
    caption = "one dot per step; thick mark and number: median; thin marks: p90 from 10 steps on, p99 from 100"
    return Plot(title="Latency of decode steps", caption=caption, drawing=drawing)


def _where(figure: Figure) -> str:
    return figure.condition if figure.mode == "text" else f"{figure.condition}, {figure.mode} adapter"


def _by_threads(report: BenchReport) -> Plot | None:
    """Decode speed for each number of threads."""
    found: dict[int, Figure] = {}
    for figure in _steps(report):
        threads = re.search(r"(\d+) thread", figure.condition)
        if figure.runner == _OURS and figure.mode == "text" and threads:
            found.setdefault(int(threads[1]), figure)  # the smallest depth comes first
    if len(found) < 2:
        return None
    rows = [(f"{count} thread{'s' * (count != 1)}", 1 / found[count].median, "s0") for count in sorted(found)]
    depth = next(iter(found.values())).condition.partition(",")[0]
    return Plot(title="Decode against threads", caption=f"tokens per second at the median step, {depth}",
                drawing=_bars("decode against threads", rows))  # fmt: skip


def _bars(label: str, rows: list[tuple[str, float, str]]) -> Drawing:
    """Rates as bars from 0."""
    drawing, across = _frame(label, len(rows), (0.0, max(rate for _, rate, _ in rows)), "")
    for number, (name, rate, colour) in enumerate(rows):
        y = _TOP + number * _ROW
        drawing.text(_LEFT - 12, y + 20, name, "label", anchor="end")
        drawing.bar((_LEFT, y + 7), (across(rate) - _LEFT, _BAR), f"fill {colour}", f"{name}: {rate:,.1f} tokens/s")
        drawing.text(across(rate) + 8, y + 20, f"{rate:,.1f}", "value")
    return drawing


def _by_depth(report: BenchReport) -> Plot | None:
    """Decode speed against cached positions: every runner, and the floor's ceiling."""
    curves: dict[str, dict[int, float]] = {}  # where several numbers of new tokens were measured, of the first
    for figure in _steps(report):
        if figure.mode == "text" and figure.condition.endswith(_threads_words(report)):
            curves.setdefault(figure.runner, {}).setdefault(_depth(figure.condition), 1 / figure.median)
    lines = {runner: list(points.items()) for runner, points in curves.items()}
    floors: dict[int, float] = {}
    for floor in report.floors:
        if floor.mode == "text" and floor.condition.endswith(_threads_words(report)):
            floors.setdefault(_depth(floor.condition), 1 / floor.floor_s)
    ceiling = list(floors.items())
    if not lines:
        return None
    title, caption = "Decode against context", "tokens per second at the median step"
    if len({depth for points in lines.values() for depth, _ in points}) == 1:
        rows = [(runner, points[0][1], f"s{number}") for number, (runner, points) in enumerate(lines.items())]
        rows += [("memory allows", ceiling[0][1], "none")] * bool(ceiling)
        depth = next(iter(lines.values()))[0][0]
        return Plot(title="Decode", caption=f"{caption}, {depth} positions cached",
                    drawing=_bars("decode speed", rows))  # fmt: skip
    if ceiling:
        caption += "; dashed: what the memory's speed allows"
    return Plot(title=title, caption=caption, drawing=_curves(lines, sorted(ceiling)))


def _curves(lines: dict[str, list[tuple[int, float]]], ceiling: list[tuple[int, float]]) -> Drawing:
    """Curves over cached positions, named at their ends."""
    height, left, right = 340.0, 70.0, 190.0
    drawing = Drawing(_WIDTH, height, "decode speed against cached positions")
    everything = [point for points in (*lines.values(), ceiling) for point in points]
    across = Scale(0, max(depth for depth, _ in everything), left, _WIDTH - right)
    up = Scale(0, 1.08 * max(rate for _, rate in everything), height - 44, 12)
    for tick in ticks(0, up.high, 5):
        drawing.line((left, up(tick)), (_WIDTH - right, up(tick)), "grid")
        drawing.text(left - 10, up(tick) + 4, f"{tick:,g}", "tick", anchor="end")
    for tick in ticks(0, across.high):
        drawing.text(across(tick), height - 24, f"{tick:,g}", "tick", anchor="middle")
    drawing.line((left, up(0)), (_WIDTH - right, up(0)), "axis")
    drawing.text((left + _WIDTH - right) / 2, height - 4, "cached positions", "tick", anchor="middle")
    names = []
    for number, (runner, points) in enumerate(lines.items()):
        places = [(across(depth), up(rate)) for depth, rate in sorted(points)]
        drawing.path(places, f"stroke s{number}")
        for (x, y), (depth, rate) in zip(places, sorted(points), strict=True):
            drawing.dot(x, y, 4, f"fill s{number}", f"{runner}: {rate:,.1f} tokens/s after {depth:,} positions")
        names.append((places[-1][1], f"{runner} {sorted(points)[-1][1]:,.1f}", f"ink s{number}"))
    if ceiling:
        places = [(across(depth), up(rate)) for depth, rate in ceiling]
        drawing.path(places, "stroke dashed")
        names.append((places[-1][1], f"memory allows {ceiling[-1][1]:,.1f}", "tick"))
    for y, (_, words, kind) in zip(_apart([name[0] for name in sorted(names)], up.start), sorted(names), strict=True):
        drawing.text(_WIDTH - right + 12, y + 4, words, kind)
    return drawing


def _apart(places: list[float], lowest: float) -> list[float]:
    """Ascending places, moved so that words at them do not lie on each other and none is below `lowest`."""
    line = 18.0
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + line) if moved else place)
    limit = lowest
    for number in reversed(range(len(moved))):
        moved[number] = min(moved[number], limit)
        limit = moved[number] - line
    return moved


def _threads_words(report: BenchReport) -> str:
    return f", {report.threads} thread{'s' * (report.threads != 1)}"


def _depth(condition: str) -> int:
    return int(condition.split()[1].rstrip(","))
