"""Drawing in SVG: shapes, text and scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

Anchor = Literal["start", "middle", "end"]


class Drawing:
    """A drawing of `width` by `height` units, scaled to the page.

    Args:
        width: Units across.
        height: Units down.
        label: What it shows, for those who do not see it.
        kind: Class, by which a page's style may hide it.

    Attributes:
        width: Units across.
        height: Units down.
    """

    def __init__(self, width: float, height: float, label: str, kind: str = "") -> None:
        self.width, self.height = width, height
        box = f"0 0 {width:g} {height:g}"
        self._root = ElementTree.Element("svg", {"class": kind, "viewBox": box, "role": "img", "aria-label": label})

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: Anchor = "start") -> None:
        """Words with their base line at `y`."""
        self._add("text", kind, {"x": x, "y": y}, {"text-anchor": anchor}).text = words

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self._add("line", kind, {"x1": x1, "y1": y1, "x2": x2, "y2": y2})

    def bar(self, corner: tuple[float, float], size: tuple[float, float], kind: str, tip: str = "") -> None:
        """A rectangle with round corners, at least one unit wide; `tip` shows under the pointer."""
        (x, y), (width, height) = corner, size
        place = {"x": x, "y": y, "width": max(width, 1.0), "height": height, "rx": 2.0}
        self._add("rect", kind, place, tip=tip)

    def dot(self, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
        """A circle; `tip` shows under the pointer."""
        self._add("circle", kind, {"cx": x, "cy": y, "r": radius}, tip=tip)

    def path(self, points: list[tuple[float, float]], kind: str) -> None:
        """Straight lines from point to point."""
        self._add("polyline", kind, {}, {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points)})

    def __html__(self) -> str:
        """The element, as jinja2 asks for it."""
        return ElementTree.tostring(self._root, encoding="unicode")

    def _add(
        self, shape: str, kind: str, places: dict[str, float], more: dict[str, str] | None = None, tip: str = ""
    ) -> ElementTree.Element:
        rounded = {name: f"{round(place, 1):g}" for name, place in places.items()}
        added = ElementTree.SubElement(self._root, shape, {**rounded, **(more or {}), "class": kind})
        if tip:
            ElementTree.SubElement(added, "title").text = tip
        return added


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
