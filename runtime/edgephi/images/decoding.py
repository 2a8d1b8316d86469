"""Decoding of images: a file, bytes, a Pillow image or an array becomes an upright RGB image."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from edgephi.base.errors import CapacityError, ConfigError
from edgephi.sources.open_files import plain_source
from edgephi.sources.source import ImageSource, media_name, open_media, silence_library_output

__all__ = ["MAX_PIXELS", "ImageSource", "load_image"]

#: 100 megapixels are 300 MB of RGB; the model sees at most 36 crops of 448x448, 7 megapixels.
MAX_PIXELS = 100_000_000
# Named, because Pillow would start Ghostscript for EPS; an appliance must not run what an image says.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
#: Brands of the HEIF family that hold HEVC, which the images of many telephones do.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
#: What turns an image of each EXIF orientation upright; 1 is upright, any other number means nothing.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# Pillow logs oddities of TIFF files; a program that has set up no logging would print them on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def load_image(source: ImageSource) -> Image.Image:
    """Decode an image and turn it upright as its EXIF orientation says.

    What is transparent becomes white, as a viewer shows it. This departs from the checkpoint's own processor on
    purpose: that one calls `convert("RGB")`, which shows the colour stored in hidden pixels, so that the black
    lettering of a drawing without background stands on black. Grey images of 16 bits keep their upper 8 (Pillow
    alone would saturate them to white). Of an animation or of several pages the first is taken. An EXIF block that
    cannot be read is passed over.

    Args:
        source: A path, the bytes or an open binary file of PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF or, with the
            extra `media`, HEIC; a Pillow image (not modified), or a uint8 array [H, W, 3].

    Raises:
        ConfigError: The source is missing, not an image, truncated, empty, of 32-bit pixels, or an array of another
            type or shape. The message names the source.
        CapacityError: More than 100 million pixels.
    """
    source = plain_source(source, "image")
    name = media_name(source, "image")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise ConfigError(
            f"image is a {type(source).__name__}; give a path, the bytes of a file, a Pillow image or a uint8 array"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about size and metadata; what matters is checked here
        if isinstance(source, Image.Image):
            return _upright_rgb(source, name)
        with open_media(source, "image") as stream, _open(stream, name) as image:
            return _upright_rgb(image, name)


def _open(stream: BinaryIO, name: str) -> Image.Image:
    """Read the header; pixels are decoded later."""
    try:
        return Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError:
        return _open_heic(stream, name)
    except Image.DecompressionBombError as error:
        pixels = int(re.sub(r"\D*(\d+).*", r"\1", str(error)))  # Pillow's own limit is another
        raise _too_large(name, f"{pixels:,} pixels") from None
    except Exception as error:
        raise _damaged(name, error) from error


def _open_heic(stream: BinaryIO, name: str) -> Image.Image:
    """An image that Pillow alone does not know, if it is of the kind that its companion reads."""
    stream.seek(0)
    head = stream.read(32)
    if head[4:8] != b"ftyp" or _HEIC_BRANDS.isdisjoint({head[8:12], head[16:20], head[20:24], head[24:28]}):
        raise ConfigError(f"{name}: not an image; give one of {', '.join(_FORMATS)}")
    try:
        import pillow_heif  # noqa: PLC0415 - an extra, needed by few
    except ModuleNotFoundError:
        raise ConfigError(
            f'{name}: a HEIC image; run: pip install "edgephi[media]", or save it as JPEG: heif-convert A.heic A.jpg'
        ) from None
    stream.seek(0)
    try:
        pillow_heif.register_heif_opener()
        return Image.open(stream, formats=("HEIF",))
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ConfigError(
            f"image array is {pixels.dtype} with shape {list(pixels.shape)}; give uint8 [height, width, 3]"
        )
    _check_size(pixels.shape[1], pixels.shape[0], "image array")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    _check_size(image.width, image.height, name)
    deep_grey = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if image.mode in ("I", "F") and not deep_grey:
        raise ConfigError(f"{name}: 32-bit pixels, whose white is unknown; save it with 8 or 16 bits per pixel")
    try:
        with silence_library_output() if image.format == "TIFF" else nullcontext():  # libtiff comments on damage
            image.load()
        turn = _TURNS.get(_orientation(image))
        if deep_grey:
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image if turn is None else image.transpose(turn)
        return _on_white(image) if image.has_transparency_data else image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _orientation(image: Image.Image) -> Any:
    """The orientation that the EXIF block states, 1 if it cannot be read: the pixels are no worse for it."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's parser raises almost any class
        return 1


def _on_white(image: Image.Image) -> Image.Image:
    """RGB of an image with an alpha channel, a transparent colour or palette."""
    blended = Image.new("RGB", image.size, "white")
    visible = image.convert("RGBA")
    blended.paste(visible, mask=visible)
    return blended


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ConfigError(f"{name}: {width}x{height} pixels; an image needs at least one in each direction")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width}x{height} is {width * height:,} pixels")


def _too_large(name: str, size: str) -> CapacityError:
    return CapacityError(f"{name}: {size}; the limit is {MAX_PIXELS:,}: scale it down", reason="media")


def _damaged(name: str, error: Exception) -> ConfigError:
    # Pillow's decoders raise almost any class on damaged data, so the callers of this catch `Exception`.
    reason = " ".join(str(error).split()) or type(error).__name__
    return ConfigError(f"{name}: damaged image ({reason[:200]}); copy or save it again")
