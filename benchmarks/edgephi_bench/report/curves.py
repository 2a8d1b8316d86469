"""Speed over cached positions as curves, named at their ends or, on a narrow screen, above them."""

from __future__ import annotations

from edgephi_bench.measure.units import quantity
from edgephi_bench.report.chart_frame import Layout
from edgephi_bench.report.svg import Drawing, Scale, ticks

_HEIGHT, _LINE = 340.0, 18.0

Points = list[tuple[int, float]]


def curves(layout: Layout, lines: dict[str, Points], ceiling: Points) -> Drawing:
    """Tokens per second of every runner, and what the memory's speed allows.

    Args:
        layout: Where things are.
        lines: Cached tokens and rates of each runner.
        ceiling: The same of the floor; may be empty.
    """
    names_above = _LINE * (len(lines) + bool(ceiling)) if layout.above else 0.0
    height, left, end = _HEIGHT + names_above, (52.0 if layout.above else 70.0), (layout.width - _room(layout))
    drawing = Drawing(layout.width, height, "decode speed against cached tokens", layout.kind)
    everything = [point for points in (*lines.values(), ceiling) for point in points]
    across = Scale(0, max(depth for depth, _ in everything), left, end)
    up = Scale(0, 1.08 * max(rate for _, rate in everything), height - 44, 12 + names_above)
    _axes(drawing, across, up, layout)
    names = []
    for number, (runner, unsorted) in enumerate(lines.items()):
        points = sorted(unsorted)
        places = [(across(depth), up(rate)) for depth, rate in points]
        drawing.path(places, f"stroke s{number}")
        for (x, y), (depth, rate) in zip(places, points, strict=True):
            tip = f"{runner}: {quantity(rate, 'tokens/s')} after {depth:,} tokens"
            drawing.dot(x, y, 4, f"fill s{number}", tip)
        names.append((places[-1][1], f"{runner} {_rate(points[-1][1])}", f"ink s{number}"))
    if ceiling:
        places = [(across(depth), up(rate)) for depth, rate in ceiling]
        drawing.path(places, "stroke dashed")
        names.append((places[-1][1], f"memory allows {_rate(ceiling[-1][1])}", "tick"))
    _write_names(drawing, layout, sorted(names), (end, up.start))
    return drawing


def _room(layout: Layout) -> float:
    """Beyond the axis: for names, or for half of its last number."""
    return 20.0 if layout.above else 190.0


def _axes(drawing: Drawing, across: Scale, up: Scale, layout: Layout) -> None:
    for tick in ticks(0, up.high, 5):
        drawing.line((across.start, up(tick)), (across.end, up(tick)), "grid")
        drawing.text(across.start - 8, up(tick) + 4, f"{tick:,g}", "tick", anchor="end")
    for tick in ticks(0, across.high, layout.ticks):
        drawing.text(across(tick), drawing.height - 24, f"{tick:,g}", "tick", anchor="middle")
    drawing.line((across.start, up(0)), (across.end, up(0)), "axis")
    middle = (across.start + across.end) / 2
    drawing.text(middle, drawing.height - 4, "cached tokens", "tick", anchor="middle")


def _write_names(
    drawing: Drawing, layout: Layout, names: list[tuple[float, str, str]], corner: tuple[float, float]
) -> None:
    if layout.above:
        for number, (_, words, kind) in enumerate(names):
            drawing.text(4, 14 + number * _LINE, words, kind)
        return
    end, lowest = corner
    for y, (_, words, kind) in zip(_apart([name[0] for name in names], lowest), names, strict=True):
        drawing.text(end + 12, y + 4, words, kind)


def _rate(value: float) -> str:
    return quantity(value, "tokens/s").removesuffix(" tokens/s")


def _apart(places: list[float], lowest: float) -> list[float]:
    """Ascending places, moved so that words at them do not lie on each other and none is below `lowest`."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + _LINE) if moved else place)
    limit = lowest
    for number in reversed(range(len(moved))):
        moved[number] = min(moved[number], limit)
        limit = moved[number] - _LINE
    return moved
