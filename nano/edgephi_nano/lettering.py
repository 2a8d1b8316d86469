"""Texts on pictures: chooses font, size and places for the glyphs of a sign or number, and draws them.

Texts run across, on tall pictures at times downwards. "along" is the direction of the text,
"across" the other one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from edgephi_nano.pictures import (
    CAP_EM,
    CROP,
    FONTS,
    MIN_STEP,
    Box,
    Canvas,
    Colour,
    Mark,
    glyph_width_em,
    load_font,
    text_colours,
)  # fmt: skip

SMALLEST_CAP, LARGEST_CAP = 20, 64  # height of a capital in the global view, px


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A picture being drawn: where it is drawn, with whose dice, and with how many of the fonts."""

    rng: random.Random
    canvas: Canvas
    image: Image.Image
    draw: ImageDraw.ImageDraw
    fonts: int

    @property
    def whole(self) -> Box:
        """The page as a region."""
        return 0.0, 0.0, float(self.canvas.width), float(self.canvas.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A text's place to be: the span along and across, and what one picture pixel along becomes in the global view."""

    along: tuple[float, float]
    across: tuple[float, float]
    unit: float
    down: bool

    @classmethod
    def within(cls, page: Page, region: Box, text: str) -> Line:
        """Across the region, or downwards for half the texts on tall pages."""
        left, top, right, bottom = region
        tall = page.canvas.height > 1.5 * page.canvas.width
        if tall and len(text) > 1 and page.rng.random() < 0.5:
            return cls(along=(top, bottom), across=(left, right), unit=page.canvas.global_y, down=True)
        return cls(along=(left, right), across=(top, bottom), unit=page.canvas.global_x, down=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """How a text is written: style and size (pixels) of the font, and the (x, y) centre of each glyph."""

    font: str
    size: int
    centres: tuple[tuple[float, float], ...]


def plan_text(page: Page, region: Box, text: str) -> Lettering | None:
    """Choose font, size, direction and place of a text inside the region; None when it does not fit."""
    rng, line = page.rng, Line.within(page, region, text)
    font = rng.choice(FONTS[: page.fonts])
    widest = max(glyph_width_em(font, glyph) for glyph in text)
    along_em, across_em = (CAP_EM, widest) if line.down else (widest, CAP_EM)
    least_step = MIN_STEP / line.unit
    most_step = min((line.along[1] - line.along[0] - 4) / (len(text) - 0.1), 52 / line.unit)
    if most_step < least_step:
        return None
    step = rng.uniform(least_step, most_step)
    pixel = min(page.canvas.global_x, page.canvas.global_y) * CAP_EM
    biggest = min(step * 0.97 / along_em, (line.across[1] - line.across[0]) * 0.9 / across_em, LARGEST_CAP / pixel)
    if biggest < SMALLEST_CAP / pixel:
        return None
    size = int(rng.uniform(max(SMALLEST_CAP / pixel, 0.6 * biggest), biggest))
    extent = along_em * size / 2, across_em * size / 2
    along = place_along(page, line, [i * step for i in range(len(text))], extent[0])
    across = rng.uniform(line.across[0] + extent[1], max(line.across[0] + extent[1], line.across[1] - extent[1]))
    centres = tuple((across, a) if line.down else (a, across) for a in along)
    return Lettering(font=font, size=size, centres=centres)


def place_along(page: Page, line: Line, offsets: list[float], half: float) -> list[float]:
    """Glyph centres along the line, where possible so that no border of a crop cuts a glyph of that half extent."""
    border = CROP / page.canvas.scale
    first, last = line.along[0] + half + 1, line.along[1] - half - 1 - offsets[-1]
    places = offsets
    for _ in range(12):
        start = page.rng.uniform(first, max(first, last))
        places = [start + offset for offset in offsets]
        if all(abs((place + border / 2) % border - border / 2) > 0.7 * half for place in places):
            break
    return places


def draw_text(page: Page, lettering: Lettering, text: str, ink: Colour) -> list[Mark]:
    """Draw each glyph on its centre; one mark per glyph."""
    font = load_font(lettering.font, lettering.size)
    cap = CAP_EM * lettering.size
    marks = []
    for order, (glyph, (x, y)) in enumerate(zip(text, lettering.centres, strict=True)):
        half = glyph_width_em(lettering.font, glyph) * lettering.size / 2
        page.draw.text((x, y + cap / 2), glyph, font=font, fill=ink, anchor="ms")
        marks.append(Mark(kind="glyph", name=glyph, order=order, box=(x - half, y - cap / 2, x + half, y + cap / 2)))
    return marks


def draw_plate(page: Page, marks: list[Mark], region: Box, ground: Colour) -> None:
    """Draw the plate of a sign behind the place of its glyphs, inside the region."""
    pad = page.rng.randint(3, 12)
    box = (
        max(region[0], min(m.box[0] for m in marks) - pad),
        max(region[1], min(m.box[1] for m in marks) - pad),
        min(region[2], max(m.box[2] for m in marks) + pad),
        min(region[3], max(m.box[3] for m in marks) + pad),
    )
    page.draw.rounded_rectangle(box, radius=page.rng.choice((0, 4, 10)), fill=ground)


def draw_sign(page: Page, region: Box, text: str) -> list[Mark] | None:
    """Draw a text on a filled region or on a plate; None, and nothing drawn, when it does not fit."""
    lettering = next((plan for plan in (plan_text(page, region, text) for _ in range(6)) if plan), None)
    if lettering is None:
        return None
    ink, ground = text_colours(page.rng)
    if page.rng.random() < 0.5:
        page.draw.rectangle(region, fill=ground)
    else:
        draw_plate(page, draw_text(page, lettering, text, ground), region, ground)
    return draw_text(page, lettering, text, ink)
