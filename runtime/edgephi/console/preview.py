"""Previews of images and audio for a terminal."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import click
import numpy as np

_HALF_BLOCK = "\N{UPPER HALF BLOCK}"
_LEVELS = "▁▂▃▄▅▆▇█"
#: Pixels of an image's preview: a line of text shows two rows of them.
_MOST_WIDTH, _MOST_HEIGHT = 60, 20
_SHADES = 16  # of each primary colour, so that an even area is one piece of text
_AUDIO_COLUMNS = 64
_CUBE_STEPS = (0, 95, 135, 175, 215, 255)  # of the 256-colour palette


def can_preview() -> bool:
    """Whether stdout is a terminal that shows colours and block characters."""
    stream = sys.stdout
    if stream is None or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def image_preview(path: Path, columns: int) -> list[str]:
    """Lines of an image, each character two pixels, one above the other.

    Args:
        path: Of an image that can be read.
        columns: Of the terminal.

    Raises:
        ConfigError: It cannot be read.
    """
    from edgephi.images.decoding import load_image

    image = load_image(path)
    scale = min(1.0, _MOST_WIDTH / image.width, _MOST_HEIGHT / image.height, max(columns, 1) / image.width)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale / 2), 1) * 2)
    pixels = np.asarray(image.convert("RGB").resize(size)) // _SHADES * _SHADES + _SHADES // 2
    return [
        _line(list(zip(*rows, strict=True))) for rows in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True)
    ]


def audio_preview(path: Path, columns: int) -> str:
    """One line of a recording's loudness over time, the loudest part a full block.

    Args:
        path: Of audio that can be read.
        columns: Of the terminal.

    Raises:
        ConfigError: It cannot be read.
    """
    from edgephi.audio.decoding import load_audio

    samples = load_audio(path).samples
    parts = np.array_split(np.abs(samples), max(min(columns, _AUDIO_COLUMNS, len(samples)), 1))
    loudness = np.sqrt([float(np.square(part).mean()) for part in parts])
    top = float(loudness.max()) or 1.0
    return "".join(_LEVELS[min(int(value / top * len(_LEVELS)), len(_LEVELS) - 1)] for value in loudness)


def _line(cells: list[tuple[list[int], list[int]]]) -> str:
    """Pairs of colours, equal neighbours in one piece."""
    return "".join(_piece(top, bottom, len(list(same))) for (top, bottom), same in itertools.groupby(cells))


def _piece(top: list[int], bottom: list[int], count: int) -> str:
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return click.style(_HALF_BLOCK * count, fg=(top[0], top[1], top[2]), bg=(bottom[0], bottom[1], bottom[2]))
    return click.style(_HALF_BLOCK * count, fg=_palette(top), bg=_palette(bottom))


def _palette(colour: list[int]) -> int:
    """The nearest colour of the 6 x 6 x 6 cube."""
    red, green, blue = (min(range(6), key=lambda step: abs(_CUBE_STEPS[step] - value)) for value in colour)
    return 16 + 36 * red + 6 * green + blue
