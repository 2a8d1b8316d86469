"""Media files as they come from broken disks, cut downloads and people who mean harm; the same bytes on every run.

Good files of every format, and files that were never good; damage to good files is in damage.py.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import soundfile
from PIL import Image

from support.signals import random_audio, random_image

_RECORDINGS = {
    "WAV": ("PCM_16", "PCM_24", "DOUBLE", "ULAW", "IMA_ADPCM"),
    "RF64": ("PCM_16",),
    "FLAC": ("PCM_16",),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
    "AIFF": ("PCM_24",),
    "CAF": ("ALAC_16",),
    "AU": ("PCM_16",),
}
#: Pillow's format, the image's mode, and options of the writer.
_PHOTOS: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "png": ("PNG", "RGB", {}),
    "palette.png": ("PNG", "P", {}),
    "alpha.png": ("PNG", "RGBA", {}),
    "jpeg": ("JPEG", "RGB", {}),
    "progressive.jpeg": ("JPEG", "CMYK", {"progressive": True}),
    "webp": ("WEBP", "RGB", {}),
    "lossless.webp": ("WEBP", "RGBA", {"lossless": True}),
    "gif": ("GIF", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "tiff": ("TIFF", "RGB", {}),
    "lzw.tiff": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "fax.tiff": ("TIFF", "1", {"compression": "group4"}),
    "ppm": ("PPM", "RGB", {}),
}
_WITH_EXIF = ("PNG", "JPEG", "WEBP", "TIFF")


@functools.cache
def recordings() -> dict[str, bytes]:
    """Good recordings of half a second, by format."""
    samples = np.stack([random_audio("left", 0.5, 16000), random_audio("right", 0.5, 16000)], axis=1)
    made = {}
    for kind, subtypes in _RECORDINGS.items():
        for subtype in subtypes:
            buffer = io.BytesIO()
            soundfile.write(buffer, samples, 16000, format=kind, subtype=subtype)
            made[f"{kind} {subtype}"] = buffer.getvalue()
    return made


@functools.cache
def photos() -> dict[str, bytes]:
    """Good images of 90x60, by format."""
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {}
    for name, (kind, mode, options) in _PHOTOS.items():
        extra = {"exif": exif} if kind in _WITH_EXIF else {}
        made[name] = saved(Image.fromarray(random_image(name, 90, 60)).convert(mode), kind, **extra, **options)
    return made


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, pixels: bytes = b"\0", extra: bytes = b"") -> bytes:
    """A PNG that claims a size and holds any bytes in place of its pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")


def wav(data: bytes = bytes(16000), *, size: int | None = None, **fields: int) -> bytes:
    """A WAV of any claims: `tag`, `channels`, `rate`, `align`, `bits` of its format and `size` of its samples."""
    claims = {"tag": 1, "channels": 1, "rate": 16000, "align": 2, "bits": 16} | fields
    second = claims["rate"] * claims["align"] & 0xFFFFFFFF
    form = struct.pack(
        "<HHIIHH", claims["tag"], claims["channels"], claims["rate"], second, claims["align"], claims["bits"]
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data) if size is None else size)
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data


def _floats(value: float, dtype: str = "<f4") -> bytes:
    samples = np.zeros(8000, dtype)
    samples[77] = value
    return wav(samples.tobytes(), tag=3, align=samples.itemsize, bits=8 * samples.itemsize)


def strangers() -> dict[str, bytes]:
    """Files of other kinds, which someone renamed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(30_000_000))
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    noise = np.random.default_rng(9).bytes(5000)
    return {
        "nothing": b"",
        "one byte": b"\0",
        "zip bomb": packed.getvalue(),
        "gzip bomb": gzip.compress(bytes(30_000_000)),
        "xml bomb": f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{laughs}]><svg>&l9;</svg>'.encode(),
        "page": b"<html><body>404 not found</body></html>" * 40,
        "script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "document": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" * 9,
        "noise": noise,
        "zeros": bytes(5000),
    }


def bad_recordings() -> dict[str, bytes]:
    """Recordings that never were any, or whose claims are absurd."""
    noise = np.random.default_rng(8).bytes(5000)
    flac = bytearray(recordings()["FLAC PCM_16"])
    flac[21:26] = bytes([flac[21] | 15, 255, 255, 255, 255])  # 2**36 - 1 samples
    starts = {b"RIFF": "riff", b"fLaC": "flac", b"OggS": "ogg", b"ID3\x04": "id3", b"\xff\xfb\x90\x00": "mp3"}
    starts |= {b"FORM": "form", b"caff\0\1\0\0": "caf", b".snd": "au", b"RF64": "rf64", b"riff.\x91\xcf\x11": "w64"}
    made = {f"{name} then noise": start + noise for start, name in starts.items()}
    made |= {f"{name} then nothing": start for start, name in starts.items()}
    made |= {
        f"{field} {value}": wav(**{field: value})
        for field, values in {
            "channels": (0, 2000, 65535),
            "rate": (0, 1, 7999, 800_000, 0x7FFFFFFF, 0xFFFFFFFF),
            "align": (0, 1, 65535),
            "bits": (0, 1, 7, 99, 65535),
            "tag": (0, 2, 0x55, 0x1234, 0xFFFE),
            "size": (20_000, 0x10000000),
        }.items()
        for value in values
    }
    return made | {
        "no samples": wav(b""),
        "three samples": wav(bytes(6)),
        "not a number": _floats(float("nan")),
        "infinite": _floats(float("inf")),
        "loud": _floats(1e30),
        "very loud": _floats(1e300, "<f8"),
        "no format": wav().replace(b"fmt ", b"junk"),
        "no data": wav().replace(b"data", b"junk"),
        "long flac": bytes(flac),
        "id3 of 256 MB": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + noise,
        "an image": saved(Image.fromarray(random_image("wav", 90, 60))),
        **strangers(),
    }


def bad_images() -> dict[str, bytes]:
    """Images that never were any, or whose claims are absurd."""
    noise = np.random.default_rng(7).bytes(5000)
    starts = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff\xe0": "jpeg", b"GIF89a": "gif", b"BM": "bmp"}
    starts |= {b"II*\0\x08\0\0\0": "tiff", b"MM\0*": "big-endian tiff", b"RIFF\0\1\0\0WEBPVP8 ": "webp", b"P6 ": "ppm"}
    made = {f"{name} then noise": start + noise for start, name in starts.items()}
    made |= {f"{name} then nothing": start for start, name in starts.items()}
    sizes = [(0, 0), (0, 9), (9, 0), (10_001, 10_000), (60_000, 60_000), (0x7FFFFFFF, 0x7FFFFFFF), (1, 0x7FFFFFFF)]
    made |= {f"png of {width}x{height}": png(width, height) for width, height in sizes}
    text_bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    loop = struct.pack("<HHHIIHHIII", 2, 256, 4, 1, 9, 257, 4, 1, 9, 8)  # its next directory is itself
    return made | {
        "pixels of another size": png(90, 60, pixels=bytes(30_000_000)),
        "text bomb": png(9, 9, pixels=bytes(252), extra=text_bomb),
        "no pixels": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)),
        "gif of 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        "bmp of 2**31": b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 0x7FFFFFFF, -0x7FFFFFFF, 1, 24, *[0] * 6),
        "ppm of 10**8": b"P6 99999999 99999999 255\n" + noise,
        "ppm of depth 0": b"P6 9 9 0\n" + noise,
        "tiff that loops": b"II*\0\x08\0\0\0" + loop,
        "1x3000": saved(Image.new("RGB", (1, 3000))),
        "3000x1": saved(Image.new("RGB", (3000, 1))),
        "floating point": saved(Image.new("F", (9, 9)), "TIFF"),
        "a recording": wav(),
        **strangers(),
    }
