"""Views of an image that show the same: they need be encoded only once."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from edgephi.images.crops import ImageViews


def first_equal_views(views: ImageViews) -> list[int]:
    """For each view the first that is equal to it in all pixels and in its mask: itself, unless it is repeated.

    Blank parts of a page give equal tiles. An image that fills a single tile gives the tile as its overview.
    """
    first: dict[bytes, int] = {}
    found = [0]
    for index in range(1, len(views)):
        tile, mask = views.tiles[index - 1], views.patch_mask[index]
        digest = blake2b(np.ascontiguousarray(tile).data, digest_size=16)
        digest.update(np.ascontiguousarray(mask).data)
        found.append(first.setdefault(digest.digest(), index))
    same_mask = np.array_equal(views.patch_mask[0], views.patch_mask[-1])
    if len(views) == 2 and same_mask and np.array_equal(views.overview, views.view(1)):
        found[1] = 0
    return found
