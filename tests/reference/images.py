"""The reference's image preparation, written from its published rules with torch's own resize.

transformers' processor needs torchvision, which is not part of the `reference` extra. It goes from an image to the
tensors that `Phi4MultimodalForCausalLM` takes. Shares no code with the runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """Tensors of one image: `pixels` [1 + tiles, 3, C, C], `mask` [1 + tiles, P, P], padded size in pixels."""

    pixels: torch.Tensor
    mask: torch.Tensor
    height: int
    width: int
    num_rows: int


def prepare_image(image: NDArray[np.uint8], *, crop: int, patch: int, max_crops: int) -> PreparedImage:
    """Fit an image into whole crops and cut it.

    Args:
        image: uint8 [height, width, 3].
        crop: Side of a crop in pixels, C.
        patch: Side of a patch in pixels.
        max_crops: Most crops of one image, the global view not counted.
    """
    height, width = image.shape[:2]
    columns, rows = choose_grid(width, height, crop, max_crops)
    fitted, pad_right, pad_bottom = _fit(image, columns * crop, rows * crop)
    side = crop // patch
    mask = torch.ones(rows * side, columns * side)
    if pad_right >= patch:
        mask[:, -(pad_right // patch) :] = 0
    if pad_bottom >= patch:
        mask[-(pad_bottom // patch) :, :] = 0
    pixels = (torch.from_numpy(fitted).permute(2, 0, 1).float() / 255.0 - 0.5) / 0.5
    overview = torch.nn.functional.interpolate(
        pixels[None], size=(crop, crop), mode="bicubic", align_corners=False, antialias=False
    )
    tiles = [
        pixels[:, r * crop : (r + 1) * crop, c * crop : (c + 1) * crop] for r in range(rows) for c in range(columns)
    ]
    masks = [mask[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(rows) for c in range(columns)]
    useful = mask[::2, ::2]
    useful_rows, useful_columns = int(useful[:, 0].sum()), int(useful[0].sum())
    pooled = side // 2
    return PreparedImage(
        pixels=torch.cat([overview, torch.stack(tiles)]),
        mask=torch.cat([torch.ones(1, side, side), torch.stack(masks)]),
        height=rows * crop,
        width=columns * crop,
        num_rows=pooled * pooled + 1 + useful_rows * useful_columns + useful_rows + pooled,
    )


def choose_grid(width: int, height: int, crop: int, max_crops: int) -> tuple[int, int]:
    """(columns, rows) of crops for an image of this size."""
    columns, rows = math.ceil(width / crop), math.ceil(height / crop)
    if columns * rows <= max_crops:
        return columns, rows
    grids = [(i, j) for i in range(1, max_crops + 1) for j in range(1, max_crops + 1) if i * j <= max_crops]
    best, best_difference = (1, 1), math.inf
    for i, j in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - i / j)
        if difference < best_difference:
            best, best_difference = (i, j), difference
        elif difference == best_difference and width * height > 0.5 * crop * crop * i * j:
            best = (i, j)
    return best


def _fit(image: NDArray[np.uint8], target_width: int, target_height: int) -> tuple[NDArray[np.uint8], int, int]:
    """Scale to fit and pad with white: (image, padding on the right, padding at the bottom)."""
    height, width = image.shape[:2]
    if target_width / width < target_height / height:
        size = (target_width, int(height * (target_width / width)))
    else:
        size = (int(width * (target_height / height)), target_height)
    scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    padded = np.full((target_height, target_width, 3), 255, np.uint8)
    padded[: size[1], : size[0]] = scaled
    return padded, target_width - size[0], target_height - size[1]
