"""Draws the scenes: a sign, a number, a shape, a bar chart, or pages crowded with glyphs for pretraining."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from edgephi_nano.lettering import Page, draw_sign
from edgephi_nano.pictures import (
    COLOURS,
    FONTS,
    GLYPHS,
    MIN_STEP,
    SHAPES,
    Box,
    Colour,
    Mark,
    Picture,
    add_noise,
    jitter,
    sample_background,
    sample_canvas,
    sample_text,
)  # fmt: skip

TEXT_SCENES = ("word", "letters", "number")


def new_page(rng: random.Random, fonts: int, *, unlike: tuple[Colour, ...] = ()) -> Page:
    """An empty page whose ground differs clearly from the given colours."""
    canvas = sample_canvas(rng)
    image = Image.new("RGB", (canvas.width, canvas.height), sample_background(rng, unlike=unlike))
    return Page(rng=rng, canvas=canvas, image=image, draw=ImageDraw.Draw(image), fonts=fonts)


def corners(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    """Corner points of a square, triangle or star of radius r around (x, y)."""
    if shape == "square":
        a = r * 0.85
        return [(x - a, y - a), (x + a, y - a), (x + a, y + a), (x - a, y + a)]
    if shape == "triangle":
        return [(x, y - r), (x + r, y + r * 0.8), (x - r, y + r * 0.8)]
    points = []
    for i in range(10):
        radius, angle = r if i % 2 == 0 else r * 0.42, math.pi * (i / 5 - 0.5)
        points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


def draw_shape(page: Page, region: Box, colour: str) -> list[Mark]:
    """Draw one shape of that colour somewhere in the region."""
    rng, (left, top, right, bottom) = page.rng, region
    biggest = min(right - left, bottom - top) / 2 - 2
    r = rng.uniform(min(biggest, 22 / min(page.canvas.global_x, page.canvas.global_y)), biggest)
    x, y = rng.uniform(left + r + 1, right - r - 1), rng.uniform(top + r + 1, bottom - r - 1)
    shape, fill = rng.choice(SHAPES), jitter(rng, COLOURS[colour])
    if shape == "circle":
        page.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    else:
        page.draw.polygon(corners(shape, x, y, r), fill=fill)
    return [Mark(kind="shape", name=shape, colour=colour, box=(x - r, y - r, x + r, y + r))]


def sample_heights(rng: random.Random, count: int) -> list[float]:
    """Bar heights in 0.15 .. 1 with one clearly tallest and one clearly shortest."""
    while True:
        heights = [rng.uniform(0.15, 1.0) for _ in range(count)]
        ordered = sorted(heights)
        if ordered[-1] - ordered[-2] > 0.1 and ordered[1] - ordered[0] > 0.08:
            return heights


def draw_bars(page: Page, colours: list[str]) -> list[Mark]:
    """Draw a bar chart with one bar per colour, on a ground line."""
    rng, width, height = page.rng, page.canvas.width, page.canvas.height
    step = rng.uniform(MIN_STEP / page.canvas.global_x, (width - 4) / len(colours))
    half = step * rng.uniform(0.25, 0.42)
    start = rng.uniform(2 + step / 2, width - 2 - step * (len(colours) - 0.5))
    base = rng.uniform(0.75 * height, height - 6)
    shares = sample_heights(rng, len(colours))
    full = (base - 6) * rng.uniform(0.75, 1.0)
    marks = []
    for i, (colour, share) in enumerate(zip(colours, shares, strict=True)):
        rank = "tallest" if share == max(shares) else "shortest" if share == min(shares) else "middle"
        x = start + i * step
        box = (x - half, base - share * full, x + half, base)
        page.draw.rectangle(box, fill=jitter(rng, COLOURS[colour]))
        marks.append(Mark(kind="bar", name=rank, colour=colour, order=i, box=box))
    ink = (0, 0, 0) if sum(page.image.getpixel((0, 0))) > 300 else (255, 255, 255)
    ends = (marks[0].box[0] - 5, base + 1, marks[-1].box[2] + 5, base + 1)
    page.draw.line(ends, fill=ink, width=rng.choice((1, 2, 3)))
    return marks


def crowd(rng: random.Random, fonts: int = len(FONTS)) -> Picture:
    """A page crowded with lines of glyphs: for pretraining only."""
    page = new_page(rng, fonts)
    width, height = page.canvas.width, page.canvas.height
    lines = rng.randint(1, max(1, int(height * page.canvas.global_y / 40)))
    marks: list[Mark] = []
    for i in range(lines):
        alphabet = GLYPHS[:26] if rng.random() < 0.65 else GLYPHS[26:]
        for length in range(rng.randint(2, 6), 1, -1):
            region = (0.0, i * height / lines, float(width), (i + 1) * height / lines)
            if drawn := draw_sign(page, region, "".join(rng.choices(alphabet, k=length))):
                marks += drawn
                break
    return Picture(image=add_noise(rng, page.image), marks=tuple(marks), scene="crowd")


def split_region(page: Page) -> tuple[Box, Box]:
    """Two parts of a page, one over the other or side by side, in random order."""
    left, top, right, bottom = page.whole
    share = page.rng.uniform(0.42, 0.6)
    if right > 1.5 * bottom:
        parts = (left, top, right * share, bottom), (right * share, top, right, bottom)
    else:
        parts = (left, top, right, bottom * share), (left, bottom * share, right, bottom)
    return parts if page.rng.random() < 0.5 else (parts[1], parts[0])


def chart(rng: random.Random) -> Picture | None:
    """A bar chart of two to five bars; None when the page is too small for them."""
    colours = rng.sample(sorted(COLOURS), rng.randint(2, 5))
    page = new_page(rng, 1, unlike=tuple(COLOURS[c] for c in colours))
    if page.canvas.width * page.canvas.global_x < MIN_STEP * len(colours) + 6:
        return None
    marks = draw_bars(page, colours)
    return Picture(image=add_noise(rng, page.image), marks=tuple(marks), scene="bars")


def notice(rng: random.Random, scene: str, *, held_out: bool, fonts: int) -> Picture | None:
    """A text, a shape, or a shape beside a text; None when the text does not fit."""
    colour = rng.choice(sorted(COLOURS))
    page = new_page(rng, fonts, unlike=() if scene in TEXT_SCENES else (COLOURS[colour],))
    marks: list[Mark] = []
    text, rest = "", page.whole
    if scene != "shape":
        text = sample_text(rng, rng.choice(TEXT_SCENES) if scene == "labelled" else scene, held_out=held_out)
        region, rest = split_region(page) if scene == "labelled" else (page.whole, page.whole)
        signed = draw_sign(page, region, text)
        if signed is None:
            return None
        marks += signed
    if scene not in TEXT_SCENES:
        marks += draw_shape(page, rest, colour)
    return Picture(image=add_noise(rng, page.image), marks=tuple(marks), scene=scene, text=text)


def compose(rng: random.Random, scene: str, *, held_out: bool = False, fonts: int = len(FONTS)) -> Picture:
    """Draw one picture of a scene: "word", "letters", "number", "shape", "labelled" (shape and text) or "bars"."""
    while True:
        picture = chart(rng) if scene == "bars" else notice(rng, scene, held_out=held_out, fonts=fonts)
        if picture is not None:
            return picture
