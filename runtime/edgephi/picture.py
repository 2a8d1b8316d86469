"""Decoding of pictures: a file, bytes, a Pillow image or an array becomes an upright RGB picture.

Owns Pillow, its limits and its many ways to fail. Knows nothing about crops or the model.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edgephi.errors import CapacityError, ConfigError
from edgephi.media import media_name, open_media

#: A path, the bytes of a file, a Pillow image, or uint8 [H, W, 3].
ImageSource = str | Path | bytes | Image.Image | NDArray[Any]

#: 100 megapixels are 300 MB of RGB; the model sees at most 36 crops of 448x448, 7 megapixels.
MAX_PIXELS = 100_000_000
# Named, because Pillow would start Ghostscript for EPS; an appliance must not run what a picture says.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


def load_image(source: ImageSource) -> Image.Image:
    """Decode a picture and turn it upright as its EXIF orientation says.

    Transparency is dropped, not blended: hidden pixels keep the colour stored in them, as in the checkpoint's own
    processor, which calls `convert("RGB")`. Grey pictures of 16 bits keep their upper 8 (Pillow alone would clip them
    to white). Of an animation the first frame is taken.

    Args:
        source: A path or the bytes of a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM file, a Pillow image (not modified), or
            a uint8 array [H, W, 3].

    Raises:
        ConfigError: The source is missing, not a picture, truncated, empty, of 32-bit pixels, or an array of another
            type or shape. The message names the source.
        CapacityError: More than 100 million pixels.
    """
    name = media_name(source, "picture")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise ConfigError(
            f"picture is a {type(source).__name__}; give a path, the bytes of a file, a Pillow image or a uint8 array"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about size and metadata; what matters is checked here
        if isinstance(source, Image.Image):
            return _upright_rgb(source, name)
        with open_media(source, "picture") as stream, _open(stream, name) as picture:
            return _upright_rgb(picture, name)


def _open(stream: BinaryIO, name: str) -> Image.Image:
    """Read the header; pixels are decoded later."""
    try:
        return Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ConfigError(f"{name}: not a picture; give one of {', '.join(_FORMATS)}") from None
    except Image.DecompressionBombError as error:
        raise CapacityError(f"{name}: {error}; the limit is {MAX_PIXELS:,} pixels: scale it down") from None
    except Exception as error:
        raise _damaged(name, error) from error


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ConfigError(
            f"picture array is {pixels.dtype} with shape {list(pixels.shape)}; give uint8 [height, width, 3]"
        )
    _check_size(pixels.shape[1], pixels.shape[0], "picture array")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    _check_size(picture.width, picture.height, name)
    if picture.mode in ("I", "F"):
        raise ConfigError(f"{name}: 32-bit pixels, whose white is unknown; save it with 8 or 16 bits per pixel")
    try:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I;16"):
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        return upright.convert("RGB")
    except Exception as error:
        raise _damaged(name, error) from error


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ConfigError(f"{name}: {width}x{height} pixels; a picture needs at least one in each direction")
    if width * height > MAX_PIXELS:
        raise CapacityError(
            f"{name}: {width}x{height} is {width * height:,} pixels; the limit is {MAX_PIXELS:,}: scale it down"
        )


def _damaged(name: str, error: Exception) -> ConfigError:
    # Pillow's decoders raise almost any class on damaged data, so the callers of this catch `Exception`.
    reason = " ".join(str(error).split()) or type(error).__name__
    return ConfigError(f"{name}: damaged picture ({reason[:200]}); copy or save it again")
