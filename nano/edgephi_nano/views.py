"""What each pooled cell of a view shows, as labels to pretrain the image tower with.

The cutting itself is the product's. A view is 168 x 168 pixels = 12 x 12 patches = 6 x 6
pooled cells of 28 px. Labels name only what the tower can see in that one view; IGNORE marks cells not to learn from.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from edgephi.images.crops import ImageViews, split_views
from edgephi_nano.pictures import COLOURS, CROP, GLYPHS, RANKS, SHAPES, Canvas, Mark, Picture

PATCH, CELL, GRID = 14, 28, 6
MAX_CROPS = 36
IGNORE = -100
NEAR_BORDER = 4.0  # a centre closer than this to a cell's border may be reported by either cell, px
KINDS = ("nothing", *SHAPES, *RANKS)
HEADS: dict[str, int] = {  # label name -> number of classes
    "glyph": 1 + len(GLYPHS),  # 0 = no glyph's centre here
    "kind": len(KINDS),
    "colour": len(COLOURS),
    "order": 8,  # place among the glyphs or bars of the view
    "left": 8,  # how many follow
}
_COLOUR_IDS = {name: i for i, name in enumerate(COLOURS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How picture pixels map to one view: view = picture * scale + offset, per axis (x, y)."""

    scale: tuple[float, float]
    offset: tuple[float, float]

    def place(self, mark: Mark) -> tuple[float, float, float]:
        """(x, y) of the mark's anchor in view pixels, and the fraction of its box inside the view."""
        left, top, right, bottom = mark.box
        x0, x1 = (v * self.scale[0] + self.offset[0] for v in (left, right))
        y0, y1 = (v * self.scale[1] + self.offset[1] for v in (top, bottom))
        seen_x = (min(x1, CROP) - max(x0, 0)) / (x1 - x0)
        seen_y = (min(y1, CROP) - max(y0, 0)) / (y1 - y0)
        y = y0 + min(10.0, (y1 - y0) / 2) if mark.kind == "bar" else (y0 + y1) / 2
        return (x0 + x1) / 2, y, max(seen_x, 0) * max(seen_y, 0)


def cut(image: Image.Image) -> ImageViews:
    """The picture's views by the product's own rules: the global one first, then the crops row by row."""
    return split_views(image, crop_size=CROP, patch_size=PATCH, max_crops=MAX_CROPS)


def windows(canvas: Canvas) -> list[Window]:
    """The window of each view, in the order of `cut`."""
    across, down = canvas.crops
    scale = canvas.scale
    out = [Window(scale=(scale / across, scale / down), offset=(0.0, 0.0))]
    for row in range(down):
        out += [Window(scale=(scale, scale), offset=(-CROP * column, -CROP * row)) for column in range(across)]
    return out


def neighbours(x: float, y: float) -> set[tuple[int, int]]:
    """Cells (row, column) that a centre at (x, y) falls in, or nearly falls in."""
    near = (-NEAR_BORDER, 0.0, NEAR_BORDER)
    cells = {(int((y + dy) // CELL), int((x + dx) // CELL)) for dx in near for dy in near}
    return {(r, c) for r, c in cells if 0 <= r < GRID and 0 <= c < GRID}


def label_view(marks: tuple[Mark, ...], window: Window, *, ordered: bool) -> dict[str, np.ndarray]:
    """What each cell of a view shows.

    Args:
        marks: Everything readable in the picture.
        window: Which part of the picture the view shows.
        ordered: False when the marks are no single text or chart, so places have no meaning.

    Returns:
        int64 [6, 6] for each name of HEADS.
    """
    labels = {name: np.full((GRID, GRID), 0 if name in ("glyph", "kind") else IGNORE, np.int64) for name in HEADS}
    placed = [(m, *window.place(m)) for m in marks]
    cut = {m.kind for m, _, _, seen in placed if 0.02 < seen <= (0.75 if m.kind == "glyph" else 0.97)}
    whole = [p for p in placed if p[3] > (0.75 if p[0].kind == "glyph" else 0.97)]
    for mark, x, y, seen in placed:
        if seen > 0.02:
            for cell in neighbours(min(max(x, 0), CROP - 1), min(max(y, 0), CROP - 1)):
                labels["glyph" if mark.kind == "glyph" else "kind"][cell] = IGNORE
    for mark, x, y, _ in whole:
        peers = sorted(p[0].order for p in whole if p[0].kind == mark.kind)
        cell = int(y // CELL), int(x // CELL)
        if mark.kind == "glyph":
            labels["glyph"][cell] = 1 + GLYPHS.index(mark.name)
        else:
            labels["kind"][cell] = IGNORE if mark.kind in cut else KINDS.index(mark.name)
            labels["colour"][cell] = _COLOUR_IDS[mark.colour]
        if ordered and mark.kind not in cut and mark.kind != "shape":
            labels["order"][cell] = peers.index(mark.order)
            labels["left"][cell] = len(peers) - 1 - peers.index(mark.order)
    return labels


def picture_labels(picture: Picture) -> np.ndarray:
    """int64 [N, len(HEADS), 36]: what the cells of each of a picture's N views show."""
    canvas = Canvas(width=picture.image.width, height=picture.image.height)
    ordered = picture.scene != "crowd"
    labels = [label_view(picture.marks, window, ordered=ordered) for window in windows(canvas)]
    return np.stack([np.stack([view[name].reshape(-1) for name in HEADS]) for view in labels])


def training_view(rng: random.Random, picture: Picture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One view of a picture, the global one more often, for pretraining.

    Returns:
        float32 [3, 168, 168], bool [12, 12] and int64 [len(HEADS), 36].
    """
    views = cut(picture.image)
    index = 0 if rng.random() < 0.6 else rng.randrange(1, len(views.pixels))
    return views.pixels[index], views.patch_mask[index], picture_labels(picture)[index]
