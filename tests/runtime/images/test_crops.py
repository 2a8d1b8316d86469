"""Crops, masks, positions and row counts against tables worked out by hand from the rules.

An image of W x H becomes w x h crops of side C. It is scaled by the smaller of w*C/W and h*C/H, cut to whole pixels;
what is left of the crops is white. Every 14 whole white pixels hide one column or row of patches. Rows of embeddings:
the global view g*g + g, one separator, and for the tiles U*(V + 1), where U and V count every second unhidden patch.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from edgephi.base.errors import ConfigError
from edgephi.images.crops import num_image_rows, plan_crops, position_ids, resize_bicubic, split_views, useful_grid

# C = 448, at most 36 crops, g = 16: rows = 273 + U * (V + 1)
#  size              crops    scaled        white       U    V   rows
TABLE = [
    ((448, 448), (1, 1), (448, 448), (0, 0), (16, 16), 545),  # exactly one crop
    ((1, 1), (1, 1), (448, 448), (0, 0), (16, 16), 545),  # scaled up 448 times
    ((100, 50), (1, 1), (448, 224), (0, 224), (8, 16), 409),  # 224 / 14 = 16 rows hidden
    ((50, 100), (1, 1), (224, 448), (224, 0), (16, 8), 417),
    ((10, 448), (1, 1), (10, 448), (438, 0), (16, 1), 305),  # the thinnest that is taken: 31 of 32 columns hidden
    (
        (449, 448),
        (2, 1),
        (449, 448),
        (447, 0),
        (16, 17),
        561,
    ),  # 1 px into the second crop: 33 columns, every second: 17
    ((448, 449), (1, 2), (448, 449), (0, 447), (17, 16), 562),
    ((450, 10), (2, 1), (896, 19), (0, 429), (1, 32), 306),  # 10 * 896/450 = 19.9
    ((640, 480), (2, 2), (896, 672), (0, 224), (24, 32), 1065),
    ((1000, 700), (3, 2), (1280, 896), (64, 0), (32, 46), 1777),  # scaled by 896/700 = 1.28; 64 / 14 = 4 columns hidden
    ((1920, 1080), (5, 3), (2240, 1260), (0, 84), (45, 80), 3918),  # scaled by 7/6
    ((2000, 1000), (5, 3), (2240, 1120), (0, 224), (40, 80), 3513),
    ((10000, 300), (23, 1), (10304, 309), (0, 139), (12, 368), 4701),  # 9 rows hidden, 23 left: 12
    ((3000, 30), (7, 1), (3136, 31), (0, 417), (2, 112), 499),
    ((30, 3000), (1, 7), (31, 3136), (417, 0), (112, 2), 609),
    ((16128, 448), (36, 1), (16128, 448), (0, 0), (16, 576), 9505),  # 36 crops: the most without choosing
    ((448, 16128), (1, 36), (448, 16128), (0, 0), (576, 16), 10065),
    # More than 36 crops would be needed: the grid with the closest ratio.
    ((4000, 3000), (4, 3), (1792, 1344), (0, 0), (48, 64), 3393),  # 4:3; 8:6 would be 48 crops
    ((3000, 4000), (3, 4), (1344, 1792), (0, 0), (64, 48), 3409),
    ((5000, 5000), (6, 6), (2688, 2688), (0, 0), (96, 96), 9585),  # 1:1 ... 6:6 tie: the largest that is filled
    ((10000, 5000), (8, 4), (3584, 1792), (0, 0), (64, 128), 8529),  # 2:1 ... 8:4 tie
    ((10000, 9000), (6, 5), (2488, 2240), (200, 0), (80, 89), 7473),  # 1.11: 6/5 is 0.09 away, 1 is 0.11; 14 hidden
    ((9000, 10000), (5, 6), (2240, 2488), (0, 200), (89, 80), 7482),  # 0.9: 5/6 is 0.07 away
    ((20000, 400), (36, 1), (16128, 322), (0, 126), (12, 576), 7197),  # 50:1 is nearest to 36:1
    ((40000, 1000), (36, 1), (16128, 403), (0, 45), (15, 576), 8928),  # 3 rows hidden, 29 left: 15
]

# Other crop sizes: (C, size) with patches of 14; g = C / 28, rows = g*g + g + 1 + U * (V + 1)
OTHER_CROPS = [
    ((168, (168, 168)), (1, 1), (168, 168), (0, 0), (6, 6), 85),
    ((168, (300, 100)), (2, 1), (336, 112), (0, 56), (4, 12), 95),
    ((168, (60, 170)), (1, 2), (118, 336), (50, 0), (12, 5), 115),  # 60 * 336/170 = 118.6; 3 of 12 columns hidden
    ((56, (56, 56)), (1, 1), (56, 56), (0, 0), (2, 2), 13),
    ((56, (100, 60)), (2, 2), (112, 67), (0, 45), (3, 4), 22),  # 60 * 1.12 = 67.2; 3 of 8 rows hidden
]


def white(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


@pytest.mark.parametrize(("size", "crops", "scaled", "padding", "useful", "rows"), TABLE)
def test_crops_and_rows(size, crops, scaled, padding, useful, rows):
    """One row more or less than the reference shifts every later token of the prompt."""
    plan = plan_crops(*size, crop_size=448, max_crops=36)
    assert (plan.tile_columns, plan.tile_rows) == crops
    assert (plan.width, plan.height) == scaled
    assert (plan.pad_right, plan.pad_bottom) == padding
    hidden_columns, hidden_rows = padding[0] // 14, padding[1] // 14
    assert useful == (math.ceil((32 * crops[1] - hidden_rows) / 2), math.ceil((32 * crops[0] - hidden_columns) / 2))
    assert rows == 273 + useful[0] * (useful[1] + 1)


@pytest.mark.parametrize(
    ("size", "crops", "useful", "rows"), [(r[0], r[1], r[4], r[5]) for r in TABLE if r[1][0] * r[1][1] <= 6]
)
def test_views_have_the_rows_of_the_table(size, crops, useful, rows):
    """The mask that the encoder gets and the slots that the prompt reserves come from the same image."""
    views = split_views(white(*size), crop_size=448, patch_size=14, max_crops=36)
    tiles = crops[0] * crops[1]
    assert (views.tile_columns, views.tile_rows) == crops
    assert (views.pixels.shape, views.pixels.dtype) == ((1 + tiles, 3, 448, 448), np.float32)
    assert (views.patch_mask.shape, views.patch_mask.dtype) == ((1 + tiles, 32, 32), np.bool_)
    assert useful_grid(views) == useful
    assert num_image_rows(views) == rows
    np.testing.assert_array_equal(views.pixels, 1.0)  # white in, and white padding


@pytest.mark.parametrize(("image", "crops", "scaled", "padding", "useful", "rows"), OTHER_CROPS)
def test_other_crop_sizes(image, crops, scaled, padding, useful, rows):
    """The rules hold for every crop size, so a small model is a true rehearsal of the large one."""
    crop_size, size = image
    plan = plan_crops(*size, crop_size=crop_size, max_crops=36)
    assert ((plan.tile_columns, plan.tile_rows), (plan.width, plan.height)) == (crops, scaled)
    assert (plan.pad_right, plan.pad_bottom) == padding
    views = split_views(white(*size), crop_size=crop_size, patch_size=14, max_crops=36)
    assert useful_grid(views) == useful
    assert num_image_rows(views) == rows


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((1, 2000), "1x2240"), ((9, 448), "9x448"), ((100_000, 20), "16128x3"), ((50_000, 1), "16128x0")],
)
def test_extreme_ratios_are_refused(size, scaled):
    """A strip of under 10 px holds nothing to read; the reference refuses it too."""
    with pytest.raises(ConfigError, match=rf"image is {size[0]}x{size[1]} pixels.*would be {scaled}.*under 10 pixels"):
        plan_crops(*size, crop_size=448, max_crops=36)


def test_empty_images_are_refused():
    with pytest.raises(ConfigError, match=r"image is 0x5 pixels"):
        plan_crops(0, 5, crop_size=448, max_crops=36)


def test_masked_patches_are_those_that_show_only_padding():
    """100x60 on 56 px crops: 67 px high on 112, so patch rows 5, 6 and 7 of 8 are white."""
    views = split_views(white(100, 60), crop_size=56, patch_size=14, max_crops=36)
    full = np.ones((4, 4), np.bool_)
    lower = np.array([[True] * 4] + [[False] * 4] * 3)
    np.testing.assert_array_equal(views.patch_mask, [full, full, full, lower, lower])


def test_tiles_are_in_reading_order_and_normalized():
    """Swapped tiles would read a page's right half before its left."""
    pixels = np.zeros((112, 168, 3), np.uint8)
    for row in range(2):
        for column in range(3):
            pixels[56 * row : 56 * row + 56, 56 * column : 56 * column + 56] = (51 * row, 51 * column, 255)
    views = split_views(Image.fromarray(pixels), crop_size=56, patch_size=14, max_crops=36)
    assert views.pixels.shape == (7, 3, 56, 56)
    for row in range(2):
        for column in range(3):
            expected = np.array([0.4 * row - 1, 0.4 * column - 1, 1])  # 51 / 255 = 0.2, and (0.2 - 0.5) / 0.5 = -0.6
            tile = views.pixels[1 + 3 * row + column]
            np.testing.assert_allclose(tile, np.broadcast_to(expected[:, None, None], tile.shape), atol=1e-6)
    assert views.pixels[0, 1, 28, 2] < views.pixels[0, 1, 28, 28] < views.pixels[0, 1, 28, 53]  # the whole, from left


def test_global_view_shows_the_padding_too():
    """The reference shrinks the padded image; shrinking the bare one would show another shape."""
    views = split_views(Image.new("RGB", (56, 28), "black"), crop_size=56, patch_size=14, max_crops=36)
    np.testing.assert_allclose(views.pixels[0, :, :26], -1.0, atol=1e-6)
    np.testing.assert_allclose(views.pixels[0, :, 30:], 1.0, atol=1e-6)


def test_scaling_down_averages_over_what_is_left_out():
    """Halving: a column weighs 3/8 in the pixel over it and 1/8 in the next (triangle filter); thin lines must stay."""
    pixels = np.zeros((112, 112, 3), np.uint8)
    pixels[:, 20] = 255
    tile = split_views(Image.fromarray(pixels), crop_size=56, patch_size=14, max_crops=1).pixels[1]
    levels = np.round((tile[0, 30] + 1) * 127.5)
    assert levels[8:12].tolist() == [0, 32, 96, 0]


def loop_bicubic(line: list[float], side: int) -> list[float]:
    """Cubic convolution of one line, a = -0.75, written as the piecewise polynomial."""

    def kernel(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    result = []
    for out in range(side):
        centre = (out + 0.5) * len(line) / side - 0.5
        base = math.floor(centre)
        taps = range(base - 1, base + 3)
        result.append(sum(line[min(max(t, 0), len(line) - 1)] * kernel(centre - t) for t in taps))
    return result


@pytest.mark.parametrize(("height", "width", "side"), [(24, 24, 24), (24, 48, 24), (56, 168, 28), (10, 7, 24)])
def test_bicubic_against_loops(height, width, side):
    """An antialiased global view would be sharper than what the model was trained on."""
    image = np.random.default_rng(height).uniform(-1, 1, (2, height, width)).astype(np.float32)
    expected = np.empty((2, side, side))
    for channel in range(2):
        lines = [loop_bicubic(list(map(float, line)), side) for line in image[channel]]
        expected[channel] = np.array([loop_bicubic(list(column), side) for column in zip(*lines, strict=True)]).T
    assert np.abs(resize_bicubic(image, side) - expected).max() < 1e-5


def test_position_ids_of_a_full_view_count_up():
    np.testing.assert_array_equal(position_ids(np.ones((2, 32, 32), np.bool_)), [np.arange(1024)] * 2)


def test_position_ids_of_a_partial_view_are_stretched():
    """2 of 4 rows used: they take learned rows 0 and 2; 3 of 4 columns: 0, 1/3 and 2/3 fall into buckets 0, 1 and 2."""
    mask = np.zeros((1, 4, 4), np.bool_)
    mask[0, :2, :3] = True
    np.testing.assert_array_equal(
        position_ids(mask).reshape(4, 4), [[0, 1, 2, 0], [8, 9, 10, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    )


def test_position_ids_of_24_columns_in_32():
    """Column k of 24 takes floor(4k / 3), worked out here for the first and last: 0 1 2 4 5 6 8 ... 28 29 30."""
    mask = np.zeros((1, 32, 32), np.bool_)
    mask[0, :1, :24] = True
    ids = position_ids(mask)[0]
    assert ids[:7].tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert ids[21:24].tolist() == [28, 29, 30]
    assert not ids[24:].any()


def test_as_many_crops_as_are_allowed_are_kept():
    """One more than a crop wide needs two; only beyond the limit the closest ratio, here 1:1, is taken instead."""
    kept, closest = (plan_crops(449, 448, crop_size=448, max_crops=limit) for limit in (2, 1))
    assert (kept.tile_columns, kept.tile_rows, kept.width, kept.height) == (2, 1, 449, 448)
    assert (closest.tile_columns, closest.tile_rows) == (1, 1)


def test_a_square_is_rounded_down_in_its_width_alone():
    """55 * (448 / 55) is a little under 448; of equal scales the original takes the one that keeps the height whole."""
    plan = plan_crops(55, 55, crop_size=448, max_crops=36)
    assert (plan.width, plan.height, plan.pad_right, plan.pad_bottom) == (447, 448, 1, 0)
