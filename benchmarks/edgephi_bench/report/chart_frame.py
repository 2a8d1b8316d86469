"""Rows over an axis, for wide screens and for narrow ones, where a row's name stands above it."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi_bench.measure.units import quantity
from edgephi_bench.report.svg import Drawing, Scale, ticks

BAR = 16.0
_TOP, _BOTTOM = 14.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are on a drawing.

    Attributes:
        kind: Class of the drawing, by which the page's style shows the one that fits.
        width: Units across; about the pixels that it is shown with.
        left: Where the axis begins.
        right: Space beyond the axis' end, for values.
        row: Units down for a bar, without a name above it.
        tall_row: Units down for a row of dots.
        above: Units down for a name above its row; 0 where names stand on the left.
        ticks: Round numbers on the axis, or so.
    """

    kind: str
    width: float
    left: float
    right: float
    row: float
    tall_row: float
    above: float
    ticks: int

    @property
    def end(self) -> float:
        """Where the axis ends."""
        return self.width - self.right


WIDE = Layout(kind="wide", width=1000, left=235, right=90, row=30, tall_row=40, above=0, ticks=6)
NARROW = Layout(kind="narrow", width=340, left=4, right=80, row=26, tall_row=34, above=20, ticks=3)
LAYOUTS = (WIDE, NARROW)


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where, and in what."""

    low: float
    high: float
    unit: str = ""

    def words(self, tick: float) -> str:
        """A number on it."""
        if tick == 0:
            return "0"
        return quantity(tick, "s") if self.unit == "s" else f"{tick:,g}"


class Rows:
    """A drawing with so many rows over an axis.

    Args:
        layout: Where things are.
        label: What it shows, for those who do not see it.
        count: Of rows.
        axis: Below them.
        tall: Whether rows are of dots.

    Attributes:
        drawing: What is drawn on.
        across: Places along the axis.
    """

    def __init__(self, layout: Layout, label: str, count: int, axis: Axis, *, tall: bool = False) -> None:
        self.layout = layout
        self._row = (layout.tall_row if tall else layout.row) + layout.above
        bottom = _TOP + count * self._row + 6
        self.drawing = Drawing(layout.width, bottom + _BOTTOM, label, layout.kind)
        self.across = Scale(axis.low, axis.high, layout.left, layout.end)
        for tick in ticks(axis.low, axis.high, layout.ticks):
            place = self.across(tick)
            self.drawing.line((place, _TOP), (place, bottom), "grid")
            anchor = "start" if place - layout.left < 12 and layout.above else "middle"
            self.drawing.text(place, bottom + 18, axis.words(tick), "tick", anchor=anchor)  # type: ignore[arg-type]
        self.drawing.line((layout.left, bottom), (layout.end, bottom), "axis")

    def top(self, number: int) -> float:
        """Where a row's own place begins, below the name if that stands above."""
        return _TOP + number * self._row + self.layout.above

    def name(self, number: int, name: str, detail: str = "") -> None:
        """A row's name, and in smaller letters a detail."""
        top = self.top(number)
        if self.layout.above:
            self.drawing.text(self.layout.left, top - 2, f"{name}, {detail}" if detail else name, "tick")
            return
        x, y = self.layout.left - 12, top + 20
        self.drawing.text(x, y - (1 if detail else 0), name, "label", anchor="end")
        if detail:
            self.drawing.text(x, y + 13, detail, "tick", anchor="end")

    def bar(self, number: int, span: tuple[float, float], look: tuple[str, str], words: str) -> None:
        """A bar between two values, with words behind its end; `look` is its class and its tip."""
        start, end = (self.across(value) for value in span)
        y = self.top(number) + 7 - (4 if self.layout.above else 0)
        self.drawing.bar((start, y), (end - start, BAR), look[0], look[1])
        self.drawing.text(end + 8, y + 13, words, "value")


def bars(layout: Layout, label: str, rows: list[tuple[str, float, str]]) -> Drawing:
    """Tokens per second as bars from 0: name, rate and colour of each."""
    chart = Rows(layout, label, len(rows), Axis(0.0, max(rate for _, rate, _ in rows)))
    for number, (name, rate, colour) in enumerate(rows):
        words = quantity(rate, "tokens/s")
        chart.name(number, name)
        chart.bar(number, (0.0, rate), (f"fill {colour}", f"{name}: {words}"), words.removesuffix(" tokens/s"))
    return chart.drawing
