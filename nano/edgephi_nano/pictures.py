"""Pictures of signs, numbers, shapes and bar charts, drawn with Pillow, and where each readable thing lies.

A text is laid out so that, after the whole picture has been squeezed into one
view (the global view), the centres of neighbouring glyphs are still more than one pooled cell (28 px) apart.

    picture pixel * Canvas.global_x (or _y) = pixel of the 168 x 168 global view
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from edgephi_nano.sentences import is_held_out
from edgephi_nano.sign_words import SIGN_WORDS

CROP = 168  # pixels along one side of a view
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SHAPES = ("circle", "square", "triangle", "star")
RANKS = ("tallest", "middle", "shortest")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "yellow": (240, 215, 40),
    "orange": (240, 130, 30),
    "purple": (135, 50, 165),
    "black": (25, 25, 25),
    "white": (245, 245, 245),
}
FONT_DIR = Path("/usr/share/fonts/truetype/dejavu")  # Debian and Ubuntu package fonts-dejavu
FONTS = ("Sans-Bold", "Sans", "Serif-Bold", "SansMono-Bold", "SansCondensed-Bold", "Serif")
CAP_EM = 0.729  # height of an upper-case letter of DejaVu, in units of the font size
MIN_STEP = 28.5  # least distance of neighbouring glyph or bar centres, in pixels of the global view

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One readable thing.

    Attributes:
        kind: "glyph", "shape" or "bar".
        name: The glyph, the shape's name, or the bar's rank among the bars.
        colour: Colour name of a shape or bar; "" for glyphs.
        order: Place in its text or chart, from 0.
        box: (left, top, right, bottom) in picture pixels.
    """

    kind: str
    name: str
    colour: str = ""
    order: int = 0
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture with everything readable in it; `text` is "" where nothing is written."""

    image: Image.Image
    marks: tuple[Mark, ...]
    scene: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Size of a picture and how the picture rules will scale it."""

    width: int
    height: int

    @property
    def crops(self) -> tuple[int, int]:
        """Number of views (across, down) the picture is cut into."""
        return math.ceil(self.width / CROP), math.ceil(self.height / CROP)

    @property
    def scale(self) -> float:
        """Factor by which the picture grows to fit its crops."""
        across, down = self.crops
        return min(across * CROP / self.width, down * CROP / self.height)

    @property
    def global_x(self) -> float:
        """Pixels of the global view per picture pixel, across."""
        return self.scale / self.crops[0]

    @property
    def global_y(self) -> float:
        """Pixels of the global view per picture pixel, down."""
        return self.scale / self.crops[1]


@lru_cache(maxsize=4096)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """DejaVu font of that style.

    Raises:
        FileNotFoundError: The fonts are not installed.
    """
    path = FONT_DIR / f"DejaVu{name}.ttf"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; install the package fonts-dejavu")
    return ImageFont.truetype(str(path), size)


@lru_cache(maxsize=1024)
def glyph_width_em(name: str, glyph: str) -> float:
    """Width of the drawn glyph in units of the font size."""
    left, _, right, _ = load_font(name, 100).getbbox(glyph)
    return (right - left) / 100


def sample_canvas(rng: random.Random, kind: str | None = None) -> Canvas:
    """A single-view, wide or tall canvas."""
    kind = kind or rng.choices(("single", "wide", "tall"), (6, 2, 2))[0]
    if kind == "single":
        if rng.random() < 0.5:
            return Canvas(width=CROP, height=CROP)
        return Canvas(width=rng.randint(112, CROP), height=rng.randint(112, CROP))
    across = 3 if rng.random() < 0.15 else 2
    long, short = rng.randint(across * CROP - 50, across * CROP), rng.randint(140, CROP)
    return Canvas(width=long, height=short) if kind == "wide" else Canvas(width=short, height=long)


def sample_text(rng: random.Random, kind: str, *, held_out: bool) -> str:
    """A text of kind "number" (1-5 digits), "word" (a real one) or "letters" (random), on one side of the split."""
    while True:
        if kind == "number":
            text = "".join(rng.choices("0123456789", k=rng.choices((1, 2, 3, 4, 5), (1, 3, 4, 4, 3))[0]))
        elif kind == "word":
            text = rng.choice(SIGN_WORDS)
        else:
            text = "".join(rng.choices(GLYPHS[:26], k=rng.randint(2, 5)))
        if is_held_out(text) == held_out:
            return text


def jitter(rng: random.Random, colour: Colour, amount: int = 18) -> Colour:
    """The colour, each channel moved a little."""
    r, g, b = (min(255, max(0, c + rng.randint(-amount, amount))) for c in colour)
    return r, g, b


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0 to 255."""
    return 0.30 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def sample_background(rng: random.Random, *, unlike: tuple[Colour, ...] = ()) -> Colour:
    """A pale, grey or dark colour clearly different from the given ones."""
    for _ in range(100):
        base = rng.choices((rng.randint(215, 255), rng.randint(150, 215), rng.randint(20, 70)), (6, 2, 2))[0]
        colour = jitter(rng, (base, base, base), 10)
        if all(sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 110 for other in unlike):
            return colour
    return (128, 128, 128)


def text_colours(rng: random.Random) -> tuple[Colour, Colour]:
    """(ink, ground), at least 100 levels of luminance apart."""
    while True:
        named = [jitter(rng, c) for c in COLOURS.values()]
        plain = sample_background(rng)
        ink, ground = (rng.choice(named), plain) if rng.random() < 0.6 else (plain, rng.choice(named))
        if abs(luminance(ink) - luminance(ground)) >= 100:
            return ink, ground


def add_noise(rng: random.Random, image: Image.Image) -> Image.Image:
    """The picture with a little Gaussian noise, or unchanged."""
    if rng.random() < 0.4:
        return image
    pixels = np.asarray(image).astype(np.int16).reshape(-1)
    pool = noise_pool()
    start = rng.randrange(len(pool) - pixels.size)
    noise = (pool[start : start + pixels.size] * rng.randint(1, 7)) >> 6
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(noisy.reshape(image.height, image.width, 3))


@lru_cache(maxsize=1)
def noise_pool() -> np.ndarray:
    """int16 [1000000] normal noise with a standard deviation of 64, always the same."""
    return (np.random.default_rng(7).standard_normal(1_000_000) * 64).astype(np.int16)
