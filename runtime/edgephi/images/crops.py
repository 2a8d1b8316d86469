"""A file, bytes or an array becomes the crops that the vision encoder takes.

Crop rules, resampling, patch masks and position ids; decoding is in decoding.py.

    C crop side in pixels (448) | P patches per crop side (32) | N views: the global one, then tile_rows x tile_columns
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgephi.base.errors import ConfigError
from edgephi.images.decoding import ImageSource, load_image

__all__ = [
    "CropPlan",
    "ImageSource",
    "ImageViews",
    "load_image",
    "num_image_rows",
    "plan_crops",
    "position_ids",
    "resize_bicubic",
    "split_views",
    "useful_grid",
]

_MIN_SIDE = 10

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """Where an image of a given size lands: a grid of crops, the scaled size inside it, white to the right and below.

    Attributes:
        tile_columns: Crops side by side.
        tile_rows: Crops one above the other.
        width: Of the scaled image, in pixels.
        height: Of the scaled image, in pixels.
        pad_right: White columns.
        pad_bottom: White rows.
    """

    tile_columns: int
    tile_rows: int
    width: int
    height: int
    pad_right: int
    pad_bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageViews:
    """One image as the vision encoder reads it; `len` is N. Tiles stay bytes until read: a quarter of the memory.

    Attributes:
        overview: float32 [3, C, C] in -1 ... 1, the global view.
        tiles: uint8 [N - 1, 3, C, C], row by row; 0 ... 255 stands for -1 ... 1.
        patch_mask: bool [N, P, P], False where a patch shows only padding.
        tile_rows: Rows of tiles; N = 1 + tile_rows * tile_columns.
        tile_columns: Tiles in a row.
        width: Of the image as it is scaled into its tiles, in pixels.
        height: Likewise.
    """

    overview: NDArray[np.float32]
    tiles: NDArray[np.uint8]
    patch_mask: NDArray[np.bool_]
    tile_rows: int
    tile_columns: int
    width: int
    height: int

    def __len__(self) -> int:
        return 1 + len(self.tiles)

    def view(self, index: int) -> NDArray[np.float32]:
        """float32 [3, C, C] in -1 ... 1 of one view: the global one for 0, then the tiles."""
        return self.overview if index == 0 else _normalized(self.tiles[index - 1])

    @property
    def pixels(self) -> NDArray[np.float32]:
        """float32 [N, 3, C, C], all views at once, computed anew each time: 2.4 MB per view of the real model."""
        return np.concatenate([self.overview[None], _normalized(self.tiles)])


def plan_crops(width: int, height: int, *, crop_size: int, max_crops: int) -> CropPlan:
    """Choose the crop grid and the scaled size of an image of `width` x `height` pixels.

    Formula: the checkpoint's image processor (`dynamic_preprocess` in `processing_phi4mm.py`).

    Raises:
        ConfigError: The image is empty, or so long and thin that a side would be under 10 pixels.
    """
    if width < 1 or height < 1:
        raise ConfigError(f"image is {width}x{height} pixels; it needs at least one in each direction")
    columns, rows = -(-width // crop_size), -(-height // crop_size)
    if columns * rows > max_crops:
        columns, rows = _closest_grid(width, height, crop_size, max_crops)
    target_width, target_height = columns * crop_size, rows * crop_size
    if (scale_x := target_width / width) < (scale_y := target_height / height):
        scaled = target_width, int(height * scale_x)
    else:
        scaled = int(width * scale_y), target_height
    if min(scaled) < _MIN_SIDE:
        raise ConfigError(
            f"image is {width}x{height} pixels; scaled for the model it would be {scaled[0]}x{scaled[1]}, "
            f"and a side under {_MIN_SIDE} pixels cannot be read: cut it into less extreme pieces"
        )
    return CropPlan(
        tile_columns=columns,
        tile_rows=rows,
        width=scaled[0],
        height=scaled[1],
        pad_right=target_width - scaled[0],
        pad_bottom=target_height - scaled[1],
    )


def split_views(image: Image.Image, *, crop_size: int, patch_size: int, max_crops: int) -> ImageViews:
    """Scale an image into its crop grid, pad it with white, and cut it into views.

    Args:
        image: RGB. Not modified.
        crop_size: C, a multiple of twice `patch_size`.
        patch_size: Side of a patch in pixels.
        max_crops: Most tiles an image may become.

    Raises:
        ConfigError: As in `plan_crops`.
    """
    plan = plan_crops(image.width, image.height, crop_size=crop_size, max_crops=max_crops)
    canvas = Image.new("RGB", (plan.width + plan.pad_right, plan.height + plan.pad_bottom), "white")
    canvas.paste(image.resize((plan.width, plan.height), Image.Resampling.BILINEAR))
    pixels = np.asarray(canvas).transpose(2, 0, 1)
    patches = crop_size // patch_size
    mask = np.ones((plan.tile_rows * patches, plan.tile_columns * patches), np.bool_)
    mask[:, mask.shape[1] - plan.pad_right // patch_size :] = False
    mask[mask.shape[0] - plan.pad_bottom // patch_size :] = False
    # Channel by channel, because the whole image in floating point takes four times its bytes.
    overview = [resize_bicubic(_normalized(channel)[None], crop_size) for channel in pixels]
    return ImageViews(
        overview=np.concatenate(overview),
        tiles=_tiles(pixels, crop_size),
        patch_mask=np.concatenate([np.ones((1, patches, patches), np.bool_), _tiles(mask[None], patches)[:, 0]]),
        tile_rows=plan.tile_rows,
        tile_columns=plan.tile_columns,
        width=plan.width,
        height=plan.height,
    )


def resize_bicubic(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Resize [channels, height, width] to [channels, side, side] by cubic convolution.

    Keys' kernel with a = -0.75, pixel centres at half coordinates, edge pixels repeated, no antialiasing: every
    output pixel mixes 4x4 inputs even when shrinking (Keys 1981, doi 10.1109/TASSP.1981.1163711).
    """
    rows, row_weights = _cubic_taps(image.shape[1], side)
    columns, column_weights = _cubic_taps(image.shape[2], side)
    wide = np.zeros((image.shape[0], side, image.shape[2]), np.float32)
    for tap in range(4):
        wide += image[:, rows[tap]] * row_weights[tap][:, None]
    result = np.zeros((image.shape[0], side, side), np.float32)
    for tap in range(4):
        result += wide[:, :, columns[tap]] * column_weights[tap]
    return result


def position_ids(patch_mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which of the P*P learned positions each patch takes: a partly used view is stretched over all of them.

    Along each axis patch k of n used ones takes position floor(k * P / n) (the fractional coordinates of NaViT,
    Dehghani et al. 2023, arXiv 2307.06304).

    Args:
        patch_mask: bool [N, P, P]; the used patches of a view form a rectangle in its upper left corner.

    Returns:
        int64 [N, P*P], row major; masked patches have 0.
    """
    side = patch_mask.shape[-1]
    ids = np.zeros(patch_mask.shape, np.int64)
    for view, mask in zip(ids, patch_mask, strict=True):
        height, width = int(mask[:, 0].sum()), int(mask[0].sum())
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        view[:height, :width] = rows[:, None] * side + columns
    return ids.reshape(len(ids), -1)


def useful_grid(views: ImageViews) -> tuple[int, int]:
    """Height and width of the part of the tile grid that shows the image, counted on every second patch."""
    side = views.patch_mask.shape[-1] // 2
    grid = views.patch_mask[1:, ::2, ::2].reshape(views.tile_rows, views.tile_columns, side, side)
    return int(grid[:, 0, :, 0].sum()), int(grid[0, :, 0].sum())


def num_image_rows(views: ImageViews) -> int:
    """Embedding rows of an image: its tiles and its global view, a separator after each row and between the two."""
    side: int = views.patch_mask.shape[-1] // 2
    height, width = useful_grid(views)
    return height * (width + 1) + 1 + side * (side + 1)


def _normalized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(v / 255 - 0.5) / 0.5."""
    levels = ((np.arange(256, dtype=np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)
    return levels[pixels]


def _closest_grid(width: int, height: int, crop_size: int, max_crops: int) -> tuple[int, int]:
    """(columns, rows) of the closest ratio; of equal ratios the largest grid that the image would half fill."""
    aspect, best, best_difference = width / height, (1, 1), float("inf")
    grids = [(i, j) for i in range(1, max_crops + 1) for j in range(1, max_crops // i + 1)]
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(aspect - columns / rows)
        # The original's clause. It decides nothing: what fills less than half is long and thin, with one closest grid.
        fills = width * height > 0.5 * crop_size * crop_size * columns * rows
        if difference < best_difference or (difference == best_difference and fills):
            best, best_difference = (columns, rows), difference
    return best


def _tiles(image: NDArray[_Scalar], side: int) -> NDArray[_Scalar]:
    """[channels, rows * side, columns * side] -> [rows * columns, channels, side, side]."""
    channels, height, width = image.shape
    grid = image.reshape(channels, height // side, side, width // side, side)
    return grid.transpose(1, 3, 0, 2, 4).reshape(-1, channels, side, side)


def _cubic_taps(size: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Source indices [4, side] and weights [4, side] along one axis."""
    scale = np.float32(size) / np.float32(side)
    centre = scale * (np.arange(side, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    first = np.floor(centre)
    distance = np.abs(centre - first + np.array([[1], [0], [-1], [-2]], np.float32))
    a = np.float32(-0.75)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    indices = np.clip(first.astype(np.int64) + np.array([[-1], [0], [1], [2]]), 0, size - 1)
    return indices, np.where(distance <= 1, near, far).astype(np.float32)
