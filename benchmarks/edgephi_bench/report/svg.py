"""Drawing in SVG: shapes, text and scales."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import Literal

Anchor = Literal["start", "middle", "end"]


@dataclass(slots=True)
class Drawing:
    """A drawing of `width` by `height` units, scaled to the page.

    Attributes:
        width: Units across.
        height: Units down; may grow while drawing.
        label: What it shows, for those who do not see it.
        kind: Class, by which a page's style may hide it.
    """

    width: float
    height: float
    label: str
    kind: str = ""
    _parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: Anchor = "start") -> None:
        """Words with their base line at `y`."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, corner: tuple[float, float], size: tuple[float, float], kind: str, tip: str = "") -> None:
        """A rectangle with round corners, at least one unit wide; `tip` shows under the pointer."""
        (x, y), (width, height) = corner, size
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.0):.1f}" height="{height:.1f}" rx="2" '
            f'class="{kind}"><title>{escape(tip)}</title></rect>'
        )

    def dot(self, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
        """A circle."""
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"><title>{escape(tip)}</title></circle>'
        )

    def path(self, points: list[tuple[float, float]], kind: str) -> None:
        """Straight lines from point to point."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{places}" class="{kind}"/>')

    def markup(self) -> str:
        """The element."""
        return (
            f'<svg class="{self.kind}" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.label)}">'
            f"{''.join(self._parts)}</svg>"
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to places along an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; outside the axis, its nearer end."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` or so."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
