"""From views to the rows the decoder reads: tower, separators, projector, for training and for measuring.

R rows of a picture = useful_h * (useful_w + 1) + 1 + 6 * 7, tiles first, then the global view
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalImageEmbedding

from edgephi.images.crops import ImageViews, useful_grid
from edgephi_nano.sight import WIDTH, pooled_features
from edgephi_nano.views import GRID


def assemble(features: Tensor, views: ImageViews, image_embed: Phi4MultimodalImageEmbedding) -> Tensor:
    """Rows of one picture before projection.

    Args:
        features: float32 [N, 36, 128] of its views, the global one first.
        views: Says how the tiles lie and which part of them is in use.
        image_embed: Holds the separators.

    Returns:
        float32 [R, 128].
    """
    line = image_embed.sub_img_feature_extensor.reshape(1, 1, WIDTH)
    height, width = useful_grid(views)
    tiles = features[1:].reshape(views.tile_rows, views.tile_columns, GRID, GRID, WIDTH)
    tiles = tiles.transpose(1, 2).reshape(views.tile_rows * GRID, views.tile_columns * GRID, WIDTH)[:height, :width]
    overview = features[0].reshape(GRID, GRID, WIDTH)
    parts = [torch.cat((grid, line.expand(len(grid), 1, WIDTH)), 1).reshape(-1, WIDTH) for grid in (tiles, overview)]
    return torch.cat((parts[0], image_embed.global_img_feature_extensor.reshape(1, WIDTH), parts[1]))


def project(rows: Tensor, image_embed: Phi4MultimodalImageEmbedding) -> Tensor:
    """[R, 128] to [R, 256]: Linear, exact GELU, Linear."""
    return image_embed.img_projection_down(nn.functional.gelu(image_embed.img_projection_up(rows)))


def tower_features(pictures: list[ImageViews], image_embed: Phi4MultimodalImageEmbedding) -> list[Tensor]:
    """float32 [N, 36, 128] of each picture, all views in one batch."""
    pixels = [p.pixels[1:] if is_doubled(p) else p.pixels for p in pictures]
    masks = [p.patch_mask[len(p.pixels) - len(kept) :] for p, kept in zip(pictures, pixels, strict=True)]
    features = pooled_features(
        image_embed.img_processor, torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(masks))
    )
    found = features.split([len(kept) for kept in pixels])
    return [f.expand(len(p.pixels), -1, -1) for f, p in zip(found, pictures, strict=True)]


def is_doubled(views: ImageViews) -> bool:
    """Whether the only tile is the global view itself, so that one run of the tower serves both."""
    return len(views.pixels) == 2 and bool(views.patch_mask.all())


def projected_rows(
    features: list[Tensor], pictures: list[ImageViews], image_embed: Phi4MultimodalImageEmbedding
) -> list[Tensor]:
    """float32 [R, 256] of each picture, from its features [N, 36, 128]."""
    rows = [assemble(f, p, image_embed) for f, p in zip(features, pictures, strict=True)]
    return list(project(torch.cat(rows), image_embed).float().split([len(r) for r in rows]))


def encode(pictures: list[ImageViews], image_embed: Phi4MultimodalImageEmbedding) -> list[Tensor]:
    """float32 [R, 256] of each picture."""
    return projected_rows(tower_features(pictures, image_embed), pictures, image_embed)
