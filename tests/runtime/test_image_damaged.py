"""Damaged pictures: each is decoded or refused with one line; nothing else ever comes out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgephi.errors import EdgeError
from edgephi.image import load_image
from support.damage import damaged

KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM"]


def photo(kind: str) -> bytes:
    y, x = np.mgrid[0:90, 0:120]
    noise = np.random.default_rng(6).integers(0, 30, (90, 120, 3))
    pixels = np.stack([x * 2, y * 2, (x + y) % 200], axis=2) + noise
    exif = Image.Exif()
    exif[0x0112] = 3
    buffer = io.BytesIO()
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_decode_or_are_refused(tmp_path, kind):
    """One bad file in a folder of thousands must not end the run with a traceback (warnings are errors here)."""
    original, outcomes = photo(kind), set()
    for seed in range(60):
        data = damaged(original, seed, header_bytes=200)
        path = tmp_path / "photo.bin"
        path.write_bytes(data)
        for source in (data, path):
            try:
                picture = load_image(source)
            except EdgeError as error:
                outcomes.add("refused")
                lines = str(error).splitlines()
            else:
                assert picture.mode == "RGB", seed
                outcomes.add("decoded")
                lines = ["fine"]
            assert len(lines) == 1, seed
    assert "refused" in outcomes
