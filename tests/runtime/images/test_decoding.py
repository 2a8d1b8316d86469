"""What users hand in as images: decoded right, or refused with one clear line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgephi.base.errors import CapacityError, ConfigError
from edgephi.images import decoding as image_module
from edgephi.images.crops import load_image
from support.bad_media import png, saved
from support.media_files import assert_refused

# Two rows of three: every corner differs, so no flip or turn goes ignore_step.
CORNERS = np.array([[[255, 0, 0], [9, 9, 9], [0, 255, 0]], [[0, 0, 255], [7, 7, 7], [255, 255, 0]]], np.uint8)


def test_every_kind_of_source_gives_the_same_image(tmp_path):
    """A server's bytes and a shell's path must show the model the same."""
    image = Image.fromarray(CORNERS)
    path = tmp_path / "sign é.dat"  # the content decides, not the name
    path.write_bytes(saved(image))
    for source in (path, str(path), path.read_bytes(), image, CORNERS, np.asfortranarray(CORNERS), CORNERS[:, :, :]):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(loaded), CORNERS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_formats(kind):
    """Phones and scanners write these."""
    assert load_image(saved(Image.new("RGB", (40, 30), (200, 30, 60)), kind)).size == (40, 30)


def test_exif_orientation_is_applied():
    """A phone held upright stores its image lying down; unturned, its text cannot be read."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored rows run from top to bottom of the right side
    data = saved(Image.fromarray(CORNERS), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(data)), np.rot90(CORNERS, -1))
    opened = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(np.asarray(load_image(opened)), np.rot90(CORNERS, -1))
    assert opened.size == (3, 2)  # the caller's image is left as it was


def test_every_exif_orientation():
    """All eight, undone by Pillow's own function; a mirrored number reads as nonsense."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        opened = Image.open(io.BytesIO(saved(Image.fromarray(CORNERS), "PNG", exif=exif)))
        np.testing.assert_array_equal(np.asarray(load_image(opened)), np.asarray(ImageOps.exif_transpose(opened)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("block", [b"Exif\0\0no such header", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"])
def test_a_damaged_exif_block_is_passed_over(kind, block):
    """Editors and messengers damage metadata; the image itself is fine and shown by every viewer."""
    assert load_image(saved(Image.new("RGB", (40, 30)), kind, exif=block)).size == (40, 30)


def _transparent(mode: str) -> bytes:
    """Black on the left, hidden black on the right."""
    if mode in ("LA", "RGBA"):
        image = Image.new(mode, (4, 2), (0,) * (len(mode) - 1) + (255,))
        image.paste((0,) * len(mode), (2, 0, 4, 2))
        return saved(image)
    image = Image.new(mode, (4, 2), 0 if mode != "RGB" else (0, 0, 0))
    if mode == "P":
        image.putpalette([0] * 6)
    image.paste(1 if mode != "RGB" else (0, 0, 1), (2, 0, 4, 2))
    return saved(image, "PNG", transparency=1 if mode != "RGB" else (0, 0, 1))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "L", "P", "RGB"])
def test_what_is_transparent_becomes_white(mode):
    """The black lettering of a logo without background would stand on black."""
    loaded = np.asarray(load_image(_transparent(mode)))
    np.testing.assert_array_equal(loaded[:, :2], 0)
    np.testing.assert_array_equal(loaded[:, 2:], 255)


def test_half_transparent_pixels_are_blended():
    """A soft edge must stay soft."""
    assert load_image(Image.new("RGBA", (1, 1), (0, 100, 200, 128))).getpixel((0, 0)) == (127, 177, 227)


def test_grey_palette_and_bilevel_images():
    """Scans and icons are rarely stored as RGB."""
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(load_image(saved(Image.fromarray(grey)))), expected)
    palette = Image.fromarray(CORNERS).quantize(6)
    np.testing.assert_array_equal(np.asarray(load_image(saved(palette))), CORNERS)
    bilevel = load_image(saved(Image.fromarray(grey > 100)))
    np.testing.assert_array_equal(np.asarray(bilevel)[:, :, 0], (grey > 100) * 255)
    assert load_image(saved(Image.new("CMYK", (4, 4)), "TIFF")).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(saved(Image.new("CMYK", (4, 4)), "JPEG")).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_shades(kind):
    """Pillow alone saturates 16-bit scans to white, and a white page says nothing."""
    deep = (np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000).astype(np.uint16)
    loaded = np.asarray(load_image(saved(Image.fromarray(deep), kind)))
    np.testing.assert_array_equal(loaded[:, :, 1], deep // 256)


def test_palette_transparency_gives_no_warning():
    """Pillow warns about it; a library user's log must stay clean (warnings are errors here)."""
    palette = Image.fromarray(CORNERS).quantize(6)
    data = saved(palette, "PNG", transparency=bytes([0, 255, 255, 255, 255, 255]))
    assert load_image(data).size == (3, 2)
    assert load_image(Image.open(io.BytesIO(data))).size == (3, 2)


def test_first_frame_of_an_animation():
    """An animation, or a scan of several pages, is answered by its first, not refused."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind, options in {"GIF": {}, "WEBP": {"lossless": True}, "TIFF": {}, "PNG": {}}.items():
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert load_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (13_000, 13_000), (60_000, 60_000)])
def test_decompression_bombs_are_refused_before_decoding(width, height):
    """A 100-byte file must not take gigabytes; below and above Pillow's own two limits."""
    with pytest.raises(CapacityError, match=r"image of \d+ bytes: .*pixels.*limit is 100,000,000.*scale it down"):
        load_image(png(width, height))


def test_the_pixel_limit_holds_for_arrays_and_images_too():
    """Memory does not care where the pixels came from."""
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (20_000, 20_000, 3), (0, 0, 0), writeable=False)
    with pytest.raises(CapacityError, match=r"20000x20000 is 400,000,000 pixels") as caught:
        load_image(huge)
    assert caught.value.reason == "media"


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8))


REFUSED_FILES = {
    "text.png": (b"this is not an image" * 9, r"not an image; give one of PNG, JPEG, WEBP"),
    "page.jpg": (b"<html>404</html>", r"not an image"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"not an image"),
    "cut.png": (saved(_noise())[:5000], r"damaged image \(.*\); copy or save it again"),
    "cut.jpg": (saved(_noise(), "JPEG")[:2000], r"damaged image \(.*truncated"),
    "cut.webp": (saved(_noise(), "WEBP")[:900], r"damaged image|not an image"),
    "zero.png": (png(0, 5), r"damaged image|not an image|0x5 pixels"),
    "deep.tiff": (
        saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        r"32-bit pixels, whose white is unknown",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_unusable_files_are_refused_by_name(tmp_path, name):
    assert_refused(load_image, tmp_path / name, *REFUSED_FILES[name])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 with shape \[4, 4\]; give uint8 \[height, width, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \[4, 4, 4\]"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \[3, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32 with shape"),
        (np.zeros((4, 4, 3), np.int64), r"int64 with shape"),
        (np.zeros((0, 4, 3), np.uint8), r"4x0 pixels; an image needs at least one in each direction"),
        (np.zeros((4, 0, 3), np.uint8), r"0x4 pixels"),
    ],
)
def test_other_arrays_are_refused(pixels, message):
    """Floats in 0...1 cast to uint8 would be a black image."""
    with pytest.raises(ConfigError, match=message):
        load_image(pixels)


@pytest.mark.parametrize("source", [None, 3, [[1, 2, 3]], {b"x"}, ("a", "b")])
def test_other_types_are_refused(source):
    with pytest.raises(ConfigError, match=r"give a path, the bytes of a file, a Pillow image or a uint8 array"):
        load_image(source)


def test_unusable_pillow_images_are_refused(monkeypatch):
    """An image whose file was closed, or of no size, must not end in a traceback."""
    with pytest.raises(ConfigError, match=r"image: 0x5 pixels"):
        load_image(Image.new("RGB", (0, 5)))
    closed = Image.open(io.BytesIO(saved(_noise())))
    closed.close()
    with pytest.raises(ConfigError, match=r"image: damaged image"):
        load_image(closed)
    monkeypatch.setattr(image_module, "MAX_PIXELS", 4800)
    assert load_image(_noise()).size == (80, 60)
    monkeypatch.setattr(image_module, "MAX_PIXELS", 100)
    with pytest.raises(CapacityError, match=r"80x60 is 4,800 pixels; the limit is 100"):
        load_image(_noise())
